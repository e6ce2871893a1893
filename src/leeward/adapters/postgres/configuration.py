"""PostgreSQL's configuration files, rendered from the settings and the role in force."""

from dataclasses import dataclass

from leeward.adapters.postgres.settings import Endpoint, ManagerSettings, slot_name
from leeward.core.values import Region, Synchronous

SUPERUSER = "postgres"
REPLICATOR = "replicator"

# Small enough for three on a laptop; the same everywhere, because a standby must not have less than its primary.
# A connection that is not there costs 50 kB; a synchronous commit holds one for a round trip.
_FIXED = """\
max_connections = 300
superuser_reserved_connections = 5
shared_buffers = 64MB
huge_pages = off
io_method = sync
jit = off
max_worker_processes = 2
max_parallel_workers = 0
max_logical_replication_workers = 0
autovacuum_max_workers = 1
autovacuum_worker_slots = 2
wal_level = replica
hot_standby = on
hot_standby_feedback = off
wal_log_hints = on
fsync = on
full_page_writes = on
synchronous_commit = on
max_wal_senders = 16
max_replication_slots = 16
wal_keep_size = 256MB
max_slot_wal_keep_size = 1GB
wal_sender_timeout = 5s
wal_receiver_timeout = 5s
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 100ms
recovery_target_timeline = 'latest'
allow_alter_system = off
password_encryption = 'scram-sha-256'
unix_socket_permissions = 0700
logging_collector = off
log_destination = 'stderr'
log_line_prefix = '%m postgres[%p] '
log_checkpoints = off
timezone = 'UTC'
log_timezone = 'UTC'
"""


@dataclass(frozen=True, slots=True)
class Duty:
    """The part of the configuration that changes with the order."""

    upstream: Region | None = None
    synchronous: Synchronous | None = None
    tcp: bool = True
    """Whether it listens for clients and other regions at all."""


def write(settings: ManagerSettings, duty: Duty, replication_password: str) -> None:
    """Write all files for this duty. Without an upstream the password is removed *first*: from then on no
    WAL receiver that is still to connect can log in anywhere.
    """
    layout = settings.layout
    layout.configuration.mkdir(mode=0o700, exist_ok=True)
    if duty.upstream is None:
        layout.password_file.unlink(missing_ok=True)
    else:
        _write_password(settings, settings.wal_sources[duty.upstream], replication_password)
    _replace(settings, "pg_hba.conf", access_rules(settings))
    _replace(settings, "postgresql.conf", render(settings, duty))


def _replace(settings: ManagerSettings, name: str, text: str) -> None:
    path = settings.layout.configuration / name
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.rename(path)


def _write_password(settings: ManagerSettings, address: Endpoint, replication_password: str) -> None:
    escaped = replication_password.replace("\\", "\\\\").replace(":", "\\:")
    path = settings.layout.password_file
    path.touch(mode=0o600)
    path.write_text(f"{address.host}:{address.port}:*:{REPLICATOR}:{escaped}\n", encoding="utf-8")


def render(settings: ManagerSettings, duty: Duty) -> str:
    """Return postgresql.conf for this duty."""
    lines = [
        f"listen_addresses = {quote(settings.postgres.host if duty.tcp else '')}",
        f"port = {settings.postgres.port}",
        f"unix_socket_directories = {quote(str(settings.layout.socket))}",
        f"hba_file = {quote(str(settings.layout.configuration / 'pg_hba.conf'))}",
        f"synchronous_standby_names = {quote(synchronous_names(duty.synchronous))}",
        f"primary_conninfo = {quote(upstream_conninfo(settings, duty.upstream))}",
        f"primary_slot_name = {quote(slot_name(settings.region) if duty.upstream else '')}",
    ]
    return _FIXED + "\n".join(lines) + "\n"


def access_rules(settings: ManagerSettings) -> str:
    """Return pg_hba.conf.

    The unix socket's directory is private to the manager. Replication uses the method with the fewest
    round trips that still authenticates: between regions it travels inside the gateways' mTLS.
    """
    database, owner = (f'"{name}"' for name in (settings.database, settings.owner))
    return "\n".join(
        (
            f"local replication {SUPERUSER} trust",
            f"local all {SUPERUSER} trust",
            f"host all {SUPERUSER} all reject",
            f"host replication {REPLICATOR} all password",
            f"host all {REPLICATOR} all password",
            f"host {database} {owner} all scram-sha-256",
            "",
        )
    )


def synchronous_names(synchronous: Synchronous | None) -> str:
    """Return the value of synchronous_standby_names; empty is asynchronous."""
    if synchronous is None or synchronous.required == 0:
        return ""
    names = ", ".join('"' + member.replace('"', '""') + '"' for member in synchronous.members)
    return f"{synchronous.method.upper()} {synchronous.required} ({names})"


def upstream_conninfo(settings: ManagerSettings, upstream: Region | None) -> str:
    """Return primary_conninfo for streaming from a region; empty for none."""
    if upstream is None:
        return ""
    return conninfo(
        settings.wal_sources[upstream],
        application_name=settings.region,
        passfile=str(settings.layout.password_file),
    )


def conninfo(address: Endpoint, **extra: str) -> str:
    """Return how the replicator reaches an address. No TLS, no GSS: each would cost a round trip."""
    words = {
        "host": address.host,
        "port": str(address.port),
        "user": REPLICATOR,
        "sslmode": "disable",
        "gssencmode": "disable",
        "connect_timeout": "5",
        **extra,
    }
    return " ".join(f"{key}={_conninfo_word(value)}" for key, value in words.items())


def _conninfo_word(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def quote(value: str) -> str:
    """Return a quoted string for postgresql.conf."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
