"""Look at this machine, one aspect after the other, for what a world of three regions needs.

Nothing here needs the network, and all of it together takes at most DEADLINE_S.
"""

import os
import platform
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from leeward.base.problem import ProblemsError
from leeward.base.units import size_text
from leeward.world import engines, places
from leeward.world.model import WorldConfig
from leeward.world.namespaces import Isolation, probe_isolation

MEMORY_MIN = 3 << 29
"""What three regions use together at most."""
DEADLINE_S = 2.5
PORTS_PER_REGION = 4
REGIONS = 3


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


Look = Callable[[], Iterator[Check]]


def examine() -> list[Check]:
    """Return every finding, in the order to show them in; after DEADLINE_S without what is still unknown."""
    found: dict[str, list[Check]] = {}

    def look(group: str, at: Look) -> None:
        found[group] = list(at())

    # Daemons: whoever is late must not keep the command from ending.
    looks = [threading.Thread(target=look, args=each, daemon=True) for each in LOOKS.items()]
    deadline_s = time.monotonic() + DEADLINE_S
    for thread in looks:
        thread.start()
    for thread in looks:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    return [check for group in LOOKS for check in found.get(group, [_late(group)])]


def _late(group: str) -> Check:
    detail = f"no answer within {DEADLINE_S:g} s: the machine is very busy"
    return Check(group, "answer", Outcome.WARNING, detail, "run leeward doctor again when it is less busy")


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


def _engines() -> Iterator[Check]:
    try:
        found = engines.locate()
    except ProblemsError as error:
        for problem in error.problems:
            yield Check("Engines", problem.where, Outcome.FAILED, f"{problem.what}: {problem.why}", problem.fix)
        return
    doubts = {problem.where: problem for problem in found.warnings}
    for name, version, path in (
        ("etcd", found.etcd_version, found.etcd),
        ("envoy", found.envoy_version, found.envoy),
        ("postgres", found.postgres_version, found.postgres_bin),
    ):
        doubt = doubts.get(str(path))
        if doubt is None:
            yield Check("Engines", name, Outcome.OK, f"{version} at {path}")
        else:
            yield Check("Engines", name, Outcome.WARNING, f"{doubt.what}: {doubt.why}", doubt.fix)


def _isolation() -> Iterator[Check]:
    probe = probe_isolation()
    if probe.isolation is Isolation.SHARED:
        missing = ", ".join(probe.not_emulated)
        yield Check(
            "Isolation",
            "namespaces",
            Outcome.WARNING,
            f"{probe.because}; a world runs without: {missing}",
            "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
            "kernel.apparmor_restrict_unprivileged_userns=0), or run as root",
        )
    else:
        yield Check("Isolation", "namespaces", Outcome.OK, f"user, network and pid: {probe.because}")


def _resources() -> Iterator[Check]:
    home = places.home()
    existing = next(path for path in (home, *home.parents) if os.path.exists(path))
    free = shutil.disk_usage(existing).free
    enough = free >= places.DISK_FREE_MIN
    yield Check(
        "Resources",
        "disk",
        Outcome.OK if enough else Outcome.FAILED,
        f"{size_text(free)} free below {existing}",
        None if enough else f"free {size_text(places.DISK_FREE_MIN)} there, or set LEEWARD_HOME",
    )
    available = psutil.virtual_memory().available
    enough = available >= MEMORY_MIN
    yield Check(
        "Resources",
        "memory",
        Outcome.OK if enough else Outcome.WARNING,
        f"{size_text(available)} available; three regions take up to {size_text(MEMORY_MIN)}",
        None if enough else "stop other programs, or expect the kernel to end processes",
    )
    yield _home(home)


def _home(home: Path) -> Check:
    """Look at the directory of worlds without making it."""
    try:
        places.directory("default")
        places.entries()
    except ProblemsError as error:
        problem = error.problems[0]
        return Check("Resources", "directory", Outcome.FAILED, problem.what, problem.fix)
    return Check("Resources", "directory", Outcome.OK, f"{home}")


def _ports() -> Iterator[Check]:
    """A region's front doors want four ports; any others do where these are taken."""
    base = WorldConfig(name="", fleet="", directory="", regions=(), links=()).front_door_base_port
    wanted = [base + 10 * region + door for region in range(1, REGIONS + 1) for door in range(PORTS_PER_REGION)]
    taken = []
    for port in wanted:
        with socket.socket() as door:
            # As the doors do: a port whose last connections are still being forgotten is free.
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                door.bind(("127.0.0.1", port))
            except OSError:
                taken.append(port)
    if taken:
        detail = f"taken: {', '.join(map(str, taken))}; a world takes others instead"
        fix = "nothing to do; `leeward status` lists the ports in use"
        yield Check("Network", "front-doors", Outcome.WARNING, detail, fix)
    else:
        yield Check("Network", "front-doors", Outcome.OK, f"127.0.0.1:{wanted[0]}-{wanted[-1]} are free")


def _worlds() -> Iterator[Check]:
    try:
        entries = [path for path in places.entries() if path.is_dir() and not path.is_symlink()]
        alive = [path.name for path in entries if places.is_alive(path)]
    except ProblemsError as error:
        problem = error.problems[0]
        yield Check("Worlds", "left-behind", Outcome.WARNING, f"not looked for: {problem.what}", problem.fix)
        return
    dead = [path for path in entries if path.name not in alive]
    if dead:
        names = ", ".join(path.name for path in dead)
        fix = f"rm -r {' '.join(map(str, dead))}"
        yield Check("Worlds", "left-behind", Outcome.WARNING, f"nothing runs any more of: {names}", fix)
    else:
        yield Check("Worlds", "left-behind", Outcome.OK, f"nothing; running: {', '.join(alive) or 'none'}")


LOOKS: Mapping[str, Look] = {
    "Python": _python,
    "Engines": _engines,
    "Isolation": _isolation,
    "Resources": _resources,
    "Network": _ports,
    "Worlds": _worlds,
}
"""By group, in the order to show them in."""
