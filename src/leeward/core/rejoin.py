"""Tell how a region came back. Pure."""

from leeward.core.actions import Note
from leeward.core.values import Region, Rejoin, RejoinMethod

STANDBY_REJOINED = "StandbyRejoined"


def note(region: Region, rejoin: Rejoin) -> Note:
    """Return what goes to the decision log when a replica follows again."""
    return Note(
        STANDBY_REJOINED,
        f"{region} follows {rejoin.upstream} again, {rejoin.took_s:.1f} s after it was told to: {_how(rejoin)}",
    )


def _how(rejoin: Rejoin) -> str:
    if rejoin.method is RejoinMethod.NOTHING:
        return "its own is a part of theirs, nothing had to be undone"
    kept = f"{rejoin.orphaned} orphaned transaction{'' if rejoin.orphaned == 1 else 's'} kept"
    program = "pg_rewind" if rejoin.method is RejoinMethod.REWIND else "a base backup"
    return f"{rejoin.because}; {kept}, then {program} copied {_size(rejoin.copied_bytes)}"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB"
