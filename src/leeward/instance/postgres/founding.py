"""What a new database cluster gets: roles with the rights they need, our own database, and the application's.

The application's role owns its database, as frameworks and their migrations expect. Nothing of ours is in it.
"""

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from leeward.instance.postgres.configuration import MANAGER, OWN_DATABASE, READER, REPLICATOR
from leeward.instance.postgres.connection import as_superuser
from leeward.instance.settings import ManagerSettings

# pg_monitor: positions, standbys and parameters. pg_checkpoint: the checkpoint before a stop. pg_signal_backend: to end
# sessions that are in the way. pg_use_reserved_connections: to be let in when the application holds every connection.
_OF_MANAGER = ("pg_monitor", "pg_checkpoint", "pg_signal_backend", "pg_use_reserved_connections")
# pg_read_all_data: every table, and large objects through their catalogue.
_OF_READER = ("pg_read_all_data", "pg_use_reserved_connections")
# What pg_rewind calls on its source. Grants on functions belong to the database it connects to: ours.
_OF_REPLICATOR = (
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
)


async def found(settings: ManagerSettings, owner_password: str, replication_password: str) -> None:
    """Create all of it on a PostgreSQL that has just been made. Raises psycopg.Error."""
    async with await as_superuser(settings, "postgres") as connection:
        await _roles(connection, settings.owner, owner_password, replication_password)
        await _databases(connection, settings.database, settings.owner)
    async with await as_superuser(settings, OWN_DATABASE) as connection:
        await _epochs(connection)


async def _roles(
    connection: psycopg.AsyncConnection[TupleRow], owner: str, owner_password: str, replication_password: str
) -> None:
    # Verifiers, not passwords: a failing statement would be logged. Ours log in over the private socket only.
    for role, attributes, password in (
        (owner, "", owner_password),
        (REPLICATOR, "REPLICATION", replication_password),
        (MANAGER, "REPLICATION", None),
        (READER, "BYPASSRLS", None),
    ):
        create = sql.SQL("CREATE ROLE {} LOGIN {}").format(sql.Identifier(role), sql.SQL(attributes))
        if password is not None:
            verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
            create += sql.SQL(" PASSWORD {}").format(sql.Literal(verifier.decode()))
        await connection.execute(create)
    for role, rights in ((MANAGER, _OF_MANAGER), (READER, _OF_READER)):
        for right in rights:
            await connection.execute(f"GRANT {right} TO {role}".encode())
    # The owner may revoke CONNECT from everyone else: then the reader connects by the owner's own right.
    await connection.execute(
        sql.SQL("GRANT {} TO {} WITH INHERIT TRUE, SET FALSE").format(sql.Identifier(owner), sql.Identifier(READER))
    )


async def _databases(connection: psycopg.AsyncConnection[TupleRow], database: str, owner: str) -> None:
    await connection.execute(
        sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(owner))
    )
    await connection.execute(f"CREATE DATABASE {OWN_DATABASE}".encode())
    await connection.execute(f"REVOKE ALL ON DATABASE {OWN_DATABASE} FROM PUBLIC".encode())
    await connection.execute(f"GRANT CONNECT ON DATABASE {OWN_DATABASE} TO {MANAGER}, {REPLICATOR}".encode())


async def _epochs(connection: psycopg.AsyncConnection[TupleRow]) -> None:
    for statement in (
        "DROP SCHEMA public",
        f"CREATE SCHEMA leeward AUTHORIZATION {MANAGER}",
        f"SET ROLE {MANAGER}",
        "CREATE TABLE leeward.epoch (epoch bigint PRIMARY KEY, region text NOT NULL, at timestamptz NOT NULL)",
        f"GRANT USAGE ON SCHEMA leeward TO {REPLICATOR}",
        f"GRANT SELECT ON leeward.epoch TO {REPLICATOR}",
        "RESET ROLE",
        f"GRANT EXECUTE ON FUNCTION pg_catalog.pg_promote(boolean, integer) TO {MANAGER}",
        *(f"GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {REPLICATOR}" for function in _OF_REPLICATOR),
    ):
        await connection.execute(statement.encode())
