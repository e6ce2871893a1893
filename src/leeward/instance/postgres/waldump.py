"""How pg_waldump is asked for a stretch of WAL, or for one record.

It always gets the files to read. Given only a directory and a timeline, it takes the size of segments from
whichever file the directory lists first, and fails when that one is a segment that PostgreSQL has prepared and not
written yet: all of its bytes are zero.
"""

from collections.abc import Iterable
from pathlib import Path

from leeward.base.units import lsn_text

SEGMENT_BYTES = 16 * 1024 * 1024

Stretch = tuple[int, int, int]
"""(timeline, first LSN, last LSN)."""


def segment_names(stretches: Iterable[Stretch]) -> tuple[str, ...]:
    """Return the names of the files that hold these stretches, oldest first. Pure."""
    return tuple(
        f"{timeline:08X}{number >> 8:08X}{number & 0xFF:08X}"
        for timeline, start_lsn, end_lsn in stretches
        for number in range(start_lsn // SEGMENT_BYTES, (end_lsn - 1) // SEGMENT_BYTES + 1)
    )


def stretch_command(binaries: Path, directory: Path, stretch: Stretch) -> tuple[str, ...]:
    """Return what prints each record of a stretch. Pure."""
    _, start_lsn, end_lsn = stretch
    names = segment_names((stretch,))
    return (
        str(binaries / "pg_waldump"),
        f"--path={directory}",
        f"--start={lsn_text(start_lsn)}",
        f"--end={lsn_text(end_lsn)}",
        names[0],
        names[-1],
    )


def record_command(binaries: Path, directory: Path, timeline: int, lsn: int) -> tuple[str, ...]:
    """Return what prints the record at ``lsn``. It may go on in the next segment, if there is one."""
    first, following = segment_names(((timeline, lsn, lsn + SEGMENT_BYTES + 1),))[:2]
    names = [first, following] if (directory / following).exists() else [first]
    return (str(binaries / "pg_waldump"), f"--path={directory}", f"--start={lsn_text(lsn)}", "--limit=1", *names)
