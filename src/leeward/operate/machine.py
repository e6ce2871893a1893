"""Check whether this machine has what a world of three regions needs.

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
from leeward.kit import landlock
from leeward.world import engines, places
from leeward.world.model import WorldConfig
from leeward.world.namespaces import Isolation, probe_isolation

MEMORY_MIN = 3 << 29
"""The most that three regions use together."""
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
    """One finding; unless it is ok, ``fix`` is what to do."""

    group: str
    name: str
    outcome: Outcome
    detail: str
    fix: str | None = None


Probe = Callable[[], Iterator[Check]]


def examine() -> list[Check]:
    """Return every finding, in display order; checks that take longer than DEADLINE_S become warnings."""
    found: dict[str, list[Check]] = {}

    def examine_group(group: str, probe: Probe) -> None:
        found[group] = list(probe())

    # Daemon threads: a late check must not keep the command from ending.
    threads = [threading.Thread(target=examine_group, args=each, daemon=True) for each in PROBES.items()]
    deadline_s = time.monotonic() + DEADLINE_S
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    return [check for group in PROBES for check in found.get(group, [_late(group)])]


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
    warnings = {problem.where: problem for problem in found.warnings}
    for name, version, path in (
        ("etcd", found.etcd_version, found.etcd),
        ("envoy", found.envoy_version, found.envoy),
        ("postgres", found.postgres_version, found.postgres_bin),
    ):
        warning = warnings.get(str(path))
        if warning is None:
            yield Check("Engines", name, Outcome.OK, f"{version} at {path}")
        else:
            yield Check("Engines", name, Outcome.WARNING, f"{warning.what}: {warning.why}", warning.fix)


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
    if landlock.can_keep_to_itself():
        yield Check("Isolation", "pods", Outcome.OK, "a pod cannot signal or trace the processes of another one")
    else:
        yield Check(
            "Isolation",
            "pods",
            Outcome.WARNING,
            f"Linux {platform.release()} offers no Landlock scopes: a world's pods can signal and trace one another",
            "use Linux 6.12 or newer, with Landlock among its security modules; a world runs without",
        )


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
        None if enough else "stop other programs, or expect the OOM killer to end processes",
    )
    yield _home(home)


def _home(home: Path) -> Check:
    """Check the directory of worlds without creating it."""
    try:
        places.directory("default")
        places.entries()
    except ProblemsError as error:
        problem = error.problems[0]
        return Check("Resources", "directory", Outcome.FAILED, problem.what, problem.fix)
    return Check("Resources", "directory", Outcome.OK, f"{home}")


def _ports() -> Iterator[Check]:
    """Check the default ports of the front doors; others are used where these are in use."""
    base = WorldConfig(name="", fleet="", directory="", regions=(), links=()).front_door_base_port
    wanted = [base + 10 * region + index for region in range(1, REGIONS + 1) for index in range(PORTS_PER_REGION)]
    taken = []
    for port in wanted:
        with socket.socket() as listener:
            # As the front doors do: a port with connections in TIME_WAIT counts as free.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                taken.append(port)
    if taken:
        detail = f"in use: {', '.join(map(str, taken))}; a world uses others instead"
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
        yield Check("Worlds", "left-behind", Outcome.WARNING, f"not checked: {problem.what}", problem.fix)
        return
    dead = [path for path in entries if path.name not in alive]
    if dead:
        names = ", ".join(path.name for path in dead)
        fix = f"rm -r {' '.join(map(str, dead))}"
        yield Check("Worlds", "left-behind", Outcome.WARNING, f"no longer running, but left on disk: {names}", fix)
    else:
        yield Check("Worlds", "left-behind", Outcome.OK, f"none; running: {', '.join(alive) or 'none'}")


PROBES: Mapping[str, Probe] = {
    "Python": _python,
    "Engines": _engines,
    "Isolation": _isolation,
    "Resources": _resources,
    "Network": _ports,
    "Worlds": _worlds,
}
"""By group, in display order."""
