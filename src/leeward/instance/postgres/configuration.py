"""PostgreSQL's configuration files, rendered from the settings and the role in force."""

import contextlib
import re
import shutil
from pathlib import Path

from leeward.core.values import Region, Synchronous
from leeward.instance.machine.values import Duty
from leeward.instance.settings import Endpoint, ManagerSettings, slot_name

SUPERUSER = "postgres"
"""Founds the database cluster, and is there for an operator at the instance. The manager works without it."""
MANAGER = "leeward"
"""Observes, promotes, makes checkpoints and slots, records epochs. Connects to our own database only."""
READER = "leeward_reader"
"""Reads an application's tables when orphaned writes are saved, and writes nothing."""
REPLICATOR = "replicator"
"""Streams, copies and rewinds from another region, and reads its epochs."""
OWN_DATABASE = "leeward"
"""Holds the record of epochs. No application may connect to it."""

# Small enough for three on a laptop; the same everywhere, because a standby must not have less than its primary.
# A connection that is not there costs 50 kB; a synchronous commit holds one for a round trip.
_FIXED = """\
max_connections = 300
superuser_reserved_connections = 3
reserved_connections = 5
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

RETENTION_MIN_MB = 64
_KEPT = re.compile(r"^max_slot_wal_keep_size = (\d+)MB$", re.MULTILINE)
RETENTION_UNASKED_MB = 256
"""Kept without a slot that asks for it: for a region that connects to this one for the first time."""
CHECKPOINT_WAL_MB = 1024

# How long replay on a standby waits for a session that reads. One that is cut is to promise and to be promoted, and
# waits for none; a primary replays nothing.
_READERS_DELAY = "30s"


def write(settings: ManagerSettings, duty: Duty, replication_password: str) -> None:
    """Write all files for this duty. Without an upstream the password is removed *first*: from then on no
    WAL receiver that is still to connect can log in anywhere.
    """
    layout = settings.layout
    layout.configuration.mkdir(mode=0o700, exist_ok=True)
    if duty.upstream is None:
        layout.password_file.unlink(missing_ok=True)
    else:
        write_password(layout.password_file, settings.wal_sources[duty.upstream], replication_password)
    _replace(settings, "pg_hba.conf", access_rules(settings, admits=duty.admits))
    _replace(settings, "postgresql.conf", render(settings, duty))


def _replace(settings: ManagerSettings, name: str, text: str) -> None:
    path = settings.layout.configuration / name
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.rename(path)


def write_password(path: Path, address: Endpoint, replication_password: str) -> None:
    """Write the file from which libpq takes the replicator's password at an address."""
    escaped = replication_password.replace("\\", "\\\\").replace(":", "\\:")
    path.touch(mode=0o600)
    path.write_text(f"{address.host}:{address.port}:*:{REPLICATOR}:{escaped}\n", encoding="utf-8")


def render(settings: ManagerSettings, duty: Duty) -> str:
    """Return postgresql.conf for this duty."""
    readers_delay = _READERS_DELAY if duty.upstream else "0"
    lines = [
        f"listen_addresses = {quote(settings.postgres.host if duty.tcp else '')}",
        f"port = {settings.postgres.port}",
        f"unix_socket_directories = {quote(str(settings.layout.socket))}",
        f"hba_file = {quote(str(settings.layout.configuration / 'pg_hba.conf'))}",
        f"synchronous_standby_names = {quote(synchronous_names(duty.synchronous))}",
        f"primary_conninfo = {quote(upstream_conninfo(settings, duty.upstream))}",
        f"max_standby_streaming_delay = {readers_delay}",
        f"max_standby_archive_delay = {readers_delay}",
        f"primary_slot_name = {quote(slot_name(settings.region) if duty.upstream else '')}",
        *_retention(settings),
    ]
    return _FIXED + "\n".join(lines) + "\n"


def _retention(settings: ManagerSettings) -> tuple[str, ...]:
    """Return how much WAL is kept for replicas that are away: a share of what is free, with what is kept already.

    Beyond it their slots are lost, and they are copied again; the primary goes on writing. ``volume`` has it follow.
    """
    slots_mb = retained_mb(settings)
    return (
        f"max_slot_wal_keep_size = {slots_mb}MB",
        f"wal_keep_size = {min(slots_mb, RETENTION_UNASKED_MB)}MB",
        f"max_wal_size = {min(slots_mb, CHECKPOINT_WAL_MB)}MB",
    )


def configured_mb(settings: ManagerSettings) -> int | None:
    """Return how much WAL PostgreSQL is configured to keep for replicas that are away; None before it is at all."""
    with contextlib.suppress(FileNotFoundError):
        text = (settings.layout.configuration / "postgresql.conf").read_text(encoding="utf-8")
        found = _KEPT.search(text)
        return None if found is None else int(found[1])
    return None


def retained_mb(settings: ManagerSettings) -> int:
    """Return how much WAL may be kept for replicas that are away, by what is free now."""
    layout, used_bytes = settings.layout, 0
    for path in (layout.data / "pg_wal").glob("*"):
        with contextlib.suppress(FileNotFoundError):  # PostgreSQL recycles them meanwhile
            used_bytes += path.stat().st_size
    kept_mb = int((shutil.disk_usage(layout.root).free + used_bytes) * settings.wal_retention) // 2**20
    return max(kept_mb, RETENTION_MIN_MB)


def access_rules(settings: ManagerSettings, *, admits: bool) -> str:
    """Return pg_hba.conf; unless it ``admits``, every login of the application is rejected.

    The unix socket's directory is private to the manager. Replication uses the method with the fewest
    round trips that still authenticates: between regions it travels inside the gateways' mTLS.
    What no line admits is rejected: the application's role reaches its own database and no other.
    """
    database, owner = (f'"{name}"' for name in (settings.database, settings.owner))
    return "\n".join(
        (
            f"local all {SUPERUSER} trust",
            f"local {OWN_DATABASE} {MANAGER} trust",
            f"local all {READER} trust",
            f"host replication {REPLICATOR} all password",
            f"host {OWN_DATABASE} {REPLICATOR} all password",
            f"host {database} {owner} all {'scram-sha-256' if admits else 'reject'}",
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
