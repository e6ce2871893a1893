"""Containers' logs: files that the containers write themselves, kept small by copy and truncate."""

import os
import shutil
from pathlib import Path
from typing import BinaryIO

ROTATE_BYTES = 10 * 1024 * 1024
_BLOCK_BYTES = 64 * 1024


def log_path(logs_dir: Path, namespace: str, pod: str, container: str, *, previous: bool = False) -> Path:
    """Return where a container writes, or where the instance before it wrote."""
    return logs_dir / namespace / pod / f"{container}{'.previous' if previous else ''}.log"


def open_new(path: Path) -> int:
    """Open a fresh log for appending, keeping the last one as the previous; return the descriptor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.replace(path.with_name(f"{path.stem}.previous.log"))
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def rotate(path: Path, *, limit_bytes: int = ROTATE_BYTES) -> None:
    """Move a log that grew past the limit to NAME.log.1. The writer keeps its file (it appends).

    What it writes between the copy and the truncation is lost: the price of having no pipe in between.
    """
    if path.exists() and path.stat().st_size > limit_bytes:
        shutil.copyfile(path, f"{path}.1")
        os.truncate(path, 0)


def seek_tail(file: BinaryIO, lines: int | None) -> None:
    """Move to where the last ``lines`` lines begin; None is the beginning."""
    if lines is None:
        return
    end = file.seek(0, os.SEEK_END)
    if lines == 0:
        return
    position, breaks = end, 0
    while position > 0:
        step = min(_BLOCK_BYTES, position)
        position -= step
        file.seek(position)
        block = file.read(step)
        # The line break that ends the last line does not start one.
        at = len(block) - (1 if position + step == end and block.endswith(b"\n") else 0)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            breaks += 1
            if breaks == lines:
                file.seek(position + at + 1)
                return
    file.seek(0)


def skip_truncation(file: BinaryIO) -> None:
    """Start over when the log was truncated behind the reader's back by a rotation."""
    if file.tell() > os.fstat(file.fileno()).st_size:
        file.seek(0)


def is_replaced(file: BinaryIO, path: Path) -> bool:
    """Return whether the path now leads to another file: the container was restarted."""
    try:
        return os.fstat(file.fileno()).st_ino != path.stat().st_ino
    except FileNotFoundError:
        return True
