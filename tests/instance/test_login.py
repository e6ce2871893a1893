"""How PostgreSQL lets the application in: by SCRAM and by nothing else, and no password is kept in another form."""

import psycopg
import pytest

from leeward.instance.postgres.connection import as_superuser
from tests.instance.conftest import StartFleet
from tests.instance.instances import DATABASE, OWNER, PASSWORD, Node, lead
from tests.instance.test_replication import A

pytestmark = pytest.mark.engine


async def login(node: Node, method: str) -> None:
    """Log in as the application, by one method only. Raises psycopg.OperationalError."""
    address = {"host": "127.0.0.1", "port": node.port, "dbname": DATABASE, "user": OWNER, "password": PASSWORD}
    connection = await psycopg.AsyncConnection.connect(**address, sslmode="disable", require_auth=method)
    await connection.close()


async def test_the_application_logs_in_by_scram_and_by_nothing_else(start_fleet: StartFleet) -> None:
    (a,) = await start_fleet(A)
    async with a.leased(1):
        await lead(a)
        await login(a, "scram-sha-256")
        for method in ("password", "md5", "none"):
            with pytest.raises(psycopg.OperationalError, match=f"authentication method requirement .{method}. failed"):
                await login(a, method)
        assert await a.column("SHOW password_encryption") == ["scram-sha-256"]
        async with await as_superuser(a.settings, "postgres") as connection:
            cursor = await connection.execute(
                "SELECT rolname FROM pg_catalog.pg_authid"
                " WHERE rolpassword IS NOT NULL AND rolpassword NOT LIKE 'SCRAM-SHA-256$%'"
            )
            assert await cursor.fetchall() == []
