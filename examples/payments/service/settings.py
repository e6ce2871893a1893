"""What the service is told by its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

POOL_SIZE = 5


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a PostgreSQL answers."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment, read once."""

    primary: Endpoint
    """The gateway's route to the current primary, wherever it is. Cut at every change of primary."""
    local: Endpoint
    """This region's own replica: perhaps read-only, perhaps down."""
    database: str
    user: str
    password_file: Path | None
    region: str
    identity_dir: Path | None
    pool_size: int
    """Connections to the primary. A payment holds one while it waits for the standby that acknowledges."""
    listen_host: str
    listen_port: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Return the settings. Raises KeyError with the name of a variable that is missing."""
        password_file = environment.get("PASSWORD_FILE")
        identity_dir = environment.get("IDENTITY_DIR")
        primary = Endpoint(environment["DATABASE_HOST"], int(environment.get("DATABASE_PORT", "5432")))
        return cls(
            primary=primary,
            local=Endpoint(
                environment.get("DATABASE_READ_HOST", primary.host),
                int(environment.get("DATABASE_READ_PORT", str(primary.port))),
            ),
            database=environment.get("DATABASE_NAME", "payments"),
            user=environment.get("DATABASE_USER", "payments"),
            password_file=Path(password_file) if password_file else None,
            region=environment.get("REGION", "local"),
            identity_dir=Path(identity_dir) if identity_dir else None,
            pool_size=int(environment.get("POOL_SIZE", str(POOL_SIZE))),
            listen_host=environment.get("POD_IP", "127.0.0.1"),
            listen_port=int(environment.get("PORT", "8000")),
        )

    def password(self) -> str | None:
        """Return the password as it is now: the file may be replaced while we run."""
        return self.password_file.read_text().strip() if self.password_file else None
