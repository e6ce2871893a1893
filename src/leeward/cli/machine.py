"""Look at this machine, one aspect after the other, for what a world of three regions needs.

Nothing here needs the network, and nothing takes longer than a second.
"""

import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from leeward.cli.render import size

DISK_MIN = 2 << 30
MEMORY_MIN = 3 << 29
"""What three regions use together, as issue 2 bounds it."""
SOCKET_PATH_MAX = 107
LONGEST_SOCKET = "/regions/longest-region-name/pods/longest-pod-name-postgres-0/run/.s.PGSQL.5432"


class Outcome(StrEnum):
    """How a check ended. Only ``failed`` keeps a world from starting."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; ``fix`` says what to do unless it is ok."""

    group: str
    name: str
    outcome: Outcome
    detail: str
    fix: str | None = None


def examine() -> list[Check]:
    """Return every finding, in the order to show them in."""
    looks: tuple[Callable[[], Iterator[Check]], ...] = (_python, _resources, _ports)
    with ThreadPoolExecutor(len(looks)) as pool:
        return [check for found in pool.map(lambda look: list(look()), looks) for check in found]


def _python() -> Iterator[Check]:
    yield Check("Python", "version", Outcome.OK, f"{platform.python_version()} at {sys.executable}")
    if sys.platform == "linux":
        yield Check("Python", "system", Outcome.OK, f"Linux {platform.release()} {platform.machine()}")
    else:
        yield Check(
            "Python",
            "system",
            Outcome.FAILED,
            f"{sys.platform} has no namespaces",
            "run leeward on Linux, for example in a virtual machine",
        )


def _resources() -> Iterator[Check]:
    home = Path("/tmp")
    existing = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    yield Check(
        "Resources",
        "disk",
        Outcome.OK if free >= DISK_MIN else Outcome.FAILED,
        f"{size(free)} free below {existing}",
        None if free >= DISK_MIN else f"free {size(DISK_MIN)} there, or set LEEWARD_HOME",
    )
    available = psutil.virtual_memory().available
    yield Check(
        "Resources",
        "memory",
        Outcome.OK if available >= MEMORY_MIN else Outcome.WARNING,
        f"{size(available)} available, a world of three regions takes up to {size(MEMORY_MIN)}",
        None if available >= MEMORY_MIN else "stop other programs, or expect the kernel to end processes",
    )


def _ports() -> Iterator[Check]:
    try:
        with socket.socket() as front_door:
            front_door.bind(("127.0.0.1", 0))
    except OSError as error:
        yield Check(
            "Network",
            "front-doors",
            Outcome.FAILED,
            f"cannot listen on 127.0.0.1: {error}",
            "bring up the loopback",
        )
    else:
        yield Check("Network", "front-doors", Outcome.OK, "127.0.0.1 has free ports")
