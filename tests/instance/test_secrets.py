"""What runs inside PostgreSQL as its superuser reads none of the instance manager's secrets."""

from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from leeward.instance.postgres import connection
from leeward.instance.postgres.configuration import OWN_DATABASE
from leeward.kit.kernel import hiding_works
from tests.instance.conftest import StartFleet
from tests.instance.instances import Node, lead

pytestmark = pytest.mark.engine


async def read_by_server(node: Node, path: str) -> str:
    """Return what a program that PostgreSQL starts reads of a file: nothing where it may not."""
    async with await connection.as_superuser(node.settings, OWN_DATABASE) as session:
        await session.execute("CREATE TEMP TABLE stolen (line text)")
        with suppress(psycopg.errors.ExternalRoutineException):
            await session.execute(f"COPY stolen FROM PROGRAM 'cat {path}'".encode())
        return "".join(str(line) for (line,) in await (await session.execute("SELECT line FROM stolen")).fetchall())


def manager_of(node: Node) -> int:
    """Return the id of the manager's process as PostgreSQL's programs see it in /proc."""
    return node.tree()[0].pid


async def test_the_server_sees_no_secret_of_its_manager(start_fleet: StartFleet, tmp_path: Path) -> None:
    hides = hiding_works([str(tmp_path)])
    (us,) = await start_fleet("us")
    assert ("can read the manager's secrets" in us.log.read_text()) is not hides
    async with us.leased(1):
        await lead(us)
        assert "wal_level" in await read_by_server(us, str(us.settings.layout.configuration / "postgresql.conf"))
        settings = us.settings
        logged = us.log.read_text()
        for secret in (settings.identity_dir / "tls.key", settings.password_file, settings.replication_password_file):
            assert secret.read_bytes(), "it is there for its manager"
            assert not any(line in logged for line in secret.read_text().splitlines() if "-----" not in line), secret
            for way in (str(secret), f"/proc/{manager_of(us)}/root{secret}"):
                assert (await read_by_server(us, way) == "") is hides, way
