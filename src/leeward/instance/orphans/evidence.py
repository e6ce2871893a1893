"""The raw data that is kept when some of the orphaned rows could not be read."""

import os
import shutil
from pathlib import Path

from leeward.core.values import Orphans
from leeward.instance.settings import Layout
from leeward.instance.state import sync_directory, sync_file

_SEGMENTS_BYTES_MAX = 1 << 30


def data_to_keep(layout: Layout, orphans: Orphans) -> Path | None:
    """Return where to move the data directory as evidence; None when it is not needed."""
    path = _kept_data(layout, orphans.epoch)
    return path if orphans.evidence == str(path) else None


def _kept_data(layout: Layout, epoch: int) -> Path:
    return layout.orphans / f"epoch-{epoch}.pgdata"


def keep_evidence(layout: Layout, epoch: int, segments: tuple[str, ...]) -> str:
    """Keep the raw data as far as the disk allows; return its path, which a data directory is moved to later.

    The whole data directory costs nothing but the room for the copy that replaces it: as much again has to stay free
    after that. Otherwise the WAL after the fork is copied: PostgreSQL will overwrite the files themselves.
    """
    data = _kept_data(layout, epoch)
    free_bytes = shutil.disk_usage(layout.root).free
    if not data.exists() and free_bytes >= 2 * _size_bytes(layout.data):
        return str(data)
    present = [path for name in segments if (path := layout.data / "pg_wal" / name).exists()]
    size_bytes = sum(path.stat().st_size for path in present)
    if not present or size_bytes > min(_SEGMENTS_BYTES_MAX, free_bytes // 4):
        return ""
    target = layout.orphans / f"epoch-{epoch}.segments"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(mode=0o700)
    for path in present:
        shutil.copyfile(path, target / path.name)
        sync_file(target / path.name)
    sync_directory(target)
    return str(target)


def fits_aside(layout: Layout) -> bool:
    """Return whether as much as the data again stays free beside the copy that replaces it. Raises OSError."""
    return shutil.disk_usage(layout.root).free >= 2 * _size_bytes(layout.data)


def set_data_aside(layout: Layout) -> str:
    """Move data that PostgreSQL does not start on, in one step; return its path. Raises OSError.

    Nothing may start PostgreSQL meanwhile: call it where nothing else runs.
    """
    layout.orphans.mkdir(mode=0o700, exist_ok=True)
    kept = _next(layout, "pgdata")
    os.rename(layout.data, kept)
    sync_directory(layout.orphans)
    return str(kept)


def set_wal_aside(layout: Layout) -> str:
    """Copy the WAL of data that PostgreSQL does not start on, before it is replaced; return the path.

    May be interrupted and repeated. Raises OSError where there is no room for that.
    """
    layout.orphans.mkdir(mode=0o700, exist_ok=True)
    free_bytes = shutil.disk_usage(layout.root).free
    wal = layout.data / "pg_wal"
    size_bytes = _size_bytes(wal)
    if size_bytes > free_bytes // 4:
        raise OSError(f"no room to keep the local data: {size_bytes} bytes of WAL, and {free_bytes} bytes are free")
    kept, partial = _next(layout, "wal"), layout.orphans / "unusable.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    for path in sorted(each for each in wal.iterdir() if each.is_file()):
        shutil.copyfile(path, partial / path.name)
        sync_file(partial / path.name)
    sync_directory(partial)
    partial.rename(kept)
    sync_directory(layout.orphans)
    return str(kept)


def _next(layout: Layout, suffix: str) -> Path:
    """Return a path that no earlier data has, also when the operator removed some of it."""
    numbers = (path.stem.rpartition("-")[2] for path in layout.orphans.glob("unusable-*"))
    return layout.orphans / f"unusable-{1 + max(map(int, filter(str.isdigit, numbers)), default=0)}.{suffix}"


def _size_bytes(directory: Path) -> int:
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total
