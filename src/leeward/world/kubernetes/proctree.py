"""The processes below us, as /proc lists them.

/proc may be that of an outer pid namespace (mounting one's own is not allowed everywhere). Paths then use the
outer numbers, and ``NSpid`` translates them into the numbers that we can signal.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Entry:
    """One process below us, in the pid numbers of our own namespace."""

    pid: int
    session: int
    ancestors: frozenset[int]
    """Its parents up to, not including, this process."""
    cpu_s: float
    zombie: bool
    directory: Path


def below() -> Iterator[Entry]:
    """Yield every descendant of this process; nothing where the kernel does not list them."""
    try:
        depth = len(_numbers(_PROC / "self", "NSpid"))
    except (OSError, ValueError):
        return
    yield from _walk(_PROC / "self", depth, frozenset())


def processes_of(pid: int, variable: str, value: str) -> list[int]:
    """Return the live processes that a child started: below it, in its session, or marked by their environment."""
    mark = f"{variable}={value}".encode()
    return [
        entry.pid
        for entry in below()
        if not entry.zombie and (pid in (entry.pid, entry.session) or pid in entry.ancestors or _is_marked(entry, mark))
    ]


def cpu_by_root() -> dict[int, dict[int, float]]:
    """Return, for each of our children, the CPU seconds of every process of its tree."""
    trees: dict[int, dict[int, float]] = {}
    for entry in below():
        root = next(iter(entry.ancestors & trees.keys()), entry.pid)
        trees.setdefault(root, {})[entry.pid] = entry.cpu_s
    return trees


def _walk(directory: Path, depth: int, ancestors: frozenset[int]) -> Iterator[Entry]:
    try:
        children = [
            number for task in (directory / "task").iterdir() for number in (task / "children").read_text().split()
        ]
    except OSError:
        return
    for number in children:
        child = _PROC / number
        try:
            # pid (name) state ppid pgrp session ... utime is the 14th, stime the 15th; names may hold spaces.
            fields = (child / "stat").read_text().rpartition(")")[2].split()
            entry = Entry(
                pid=_numbers(child, "NSpid")[depth - 1],
                session=_numbers(child, "NSsid")[depth - 1],
                ancestors=ancestors,
                cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS_PER_S,
                zombie=fields[0] == "Z",
                directory=child,
            )
        except (OSError, ValueError, IndexError):
            continue  # It ended while we looked.
        yield entry
        yield from _walk(child, depth, ancestors | {entry.pid})


def _numbers(directory: Path, field: str) -> list[int]:
    for line in (directory / "status").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name == field:
            return [int(number) for number in numbers.split()]
    raise ValueError(f"{directory} has no {field}")


def _is_marked(entry: Entry, mark: bytes) -> bool:
    try:
        return mark in (entry.directory / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
