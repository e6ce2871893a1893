"""Describe how a region rejoined. Pure."""

from leeward.core.actions import Note
from leeward.core.values import Region, Rejoin, RejoinMethod, Unread

STANDBY_REJOINED = "StandbyRejoined"


def note(region: Region, rejoin: Rejoin) -> Note:
    """Return what goes to the decision log when a replica follows again."""
    return Note(
        STANDBY_REJOINED,
        f"{region} follows {rejoin.upstream} again, {rejoin.took_s:.1f} s after the order: {_how(rejoin)}",
    )


def _how(rejoin: Rejoin) -> str:
    if rejoin.method is RejoinMethod.NOTHING:
        return "histories are compatible; no rewind needed"
    kept = f"{rejoin.orphaned} orphaned transaction{'' if rejoin.orphaned == 1 else 's'} kept"
    if rejoin.unread:
        kept += f" ({_unread(rejoin.unread, rejoin.unread_first)})"
    program = "pg_rewind" if rejoin.method is RejoinMethod.REWIND else "a base backup"
    return f"{rejoin.because}; {kept}, then {program} copied {_size(rejoin.copied_bytes)}"


def _unread(count: int, first: Unread | None) -> str:
    what = f"{count} table{'' if count == 1 else 's'}"
    if first is None:  # the instance manager is of an earlier version
        return f"not all rows of {what} could be read"
    return f"not all rows of {what} could be read; {first.table}: {first.because}"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB"
