"""Every session that the instance manager opens through psycopg, with its parameters pinned (``pinned``).

- The manager's role works in our own database, which no application may connect to. It is not a superuser.
- The reader's role is the only one that enters an application's database: the rows of orphaned writes are nowhere else.
  It may read every table. It is not a superuser, since an application's types and rules run code of its owner.
- The replicator's role connects to another region's instance, to our own database there.
- The application's own role is tried, to see whether it is admitted; no statement is sent.
- The superuser founds a database cluster: roles, databases and grants need one. Nothing else uses it.
"""

import psycopg
from psycopg.rows import TupleRow

from leeward.instance.postgres.configuration import MANAGER, OWN_DATABASE, READER, REPLICATOR, SUPERUSER
from leeward.instance.postgres.pinned import PINNED, PINNED_BY_SUPERUSER, options
from leeward.instance.settings import Endpoint, ManagerSettings

_LOCAL_TIMEOUT_S = 2
_REMOTE_TIMEOUT_S = 5


class EarlierLayoutError(psycopg.OperationalError):
    """The data directory has neither our role nor our database: it was created by an earlier version."""

    def __init__(self) -> None:
        super().__init__(
            f"the data directory has no role {MANAGER} and database {OWN_DATABASE}: it was created by an earlier "
            "version of Leeward and cannot be used; dump the application's database with that version, then restore it"
        )


async def as_superuser(settings: ManagerSettings, database: str) -> psycopg.AsyncConnection[TupleRow]:
    """Connect to a database of our own PostgreSQL that is being founded. Raises psycopg.Error."""
    return await _local(settings, SUPERUSER, database, options({**PINNED, **PINNED_BY_SUPERUSER}))


async def as_manager(settings: ManagerSettings) -> psycopg.AsyncConnection[TupleRow]:
    """Connect to our own database on our own PostgreSQL. Raises psycopg.Error, EarlierLayoutError."""
    try:
        return await _local(settings, MANAGER, OWN_DATABASE, options())
    except psycopg.OperationalError as error:
        if f'role "{MANAGER}" does not exist' in str(error):
            raise EarlierLayoutError from error
        raise


async def to_read(settings: ManagerSettings, database: str) -> psycopg.AsyncConnection[TupleRow]:
    """Connect to our own PostgreSQL to read an application's tables. Raises psycopg.Error."""
    return await _local(settings, READER, database, options())


async def as_owner(settings: ManagerSettings) -> psycopg.AsyncConnection[TupleRow]:
    """Connect as the application does, over TCP, with no password: do the rules admit it? Raises psycopg.Error."""
    return await psycopg.AsyncConnection.connect(
        host=settings.postgres.host,
        port=settings.postgres.port,
        user=settings.owner,
        dbname=settings.database,
        password="",
        options="",
        sslmode="disable",
        gssencmode="disable",
        connect_timeout=_LOCAL_TIMEOUT_S,
    )


async def for_replication(
    settings: ManagerSettings, address: Endpoint | None, password: str
) -> psycopg.AsyncConnection[TupleRow]:
    """Connect with the replication protocol, which also takes SQL: to an upstream, or to our own for None.

    Raises psycopg.Error.
    """
    if address is None:
        host, port, user = str(settings.layout.socket), settings.postgres.port, MANAGER
    else:
        host, port, user = address.host, address.port, REPLICATOR
    return await psycopg.AsyncConnection.connect(
        host=host,
        port=port,
        user=user,
        password=None if address is None else password,
        dbname=OWN_DATABASE,
        replication="database",
        options=options(),
        sslmode="disable",
        gssencmode="disable",
        connect_timeout=_REMOTE_TIMEOUT_S,
        autocommit=True,
        # A statement that is repeated would be prepared, and this protocol refuses that.
        prepare_threshold=None,
    )


async def _local(
    settings: ManagerSettings, user: str, database: str, parameters: str
) -> psycopg.AsyncConnection[TupleRow]:
    return await psycopg.AsyncConnection.connect(
        host=str(settings.layout.socket),
        port=settings.postgres.port,
        user=user,
        dbname=database,
        application_name="instance-manager",
        options=parameters,
        connect_timeout=_LOCAL_TIMEOUT_S,
        autocommit=True,
    )
