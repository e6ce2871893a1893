"""The drill ``supervisor-kill``: kill the world's supervisor and check that nothing of the world is left.

It ends the world, so there is one run without load or ledger; the result has the same shape as that of other drills.

Anything left for good breaks the rule. Anything removed too late breaks it as well, except on an overloaded machine,
where it is inconclusive.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from leeward.core.values import App, Region, ReplicationMode
from leeward.drill import host_load
from leeward.drill.faults import SUPERVISOR_KILL
from leeward.drill.summary import Objective, Percentiles, Result
from leeward.ports.clock import Clock, SystemClock
from leeward.world.client import World

GONE_TIMEOUT_S = 15.0
WATCHED_S = 120.0
"""Anything left after this time counts as left for good."""
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What was left of a world, watched until nothing was."""

    late: tuple[str, ...] = ()
    """After GONE_TIMEOUT_S."""
    left: tuple[str, ...] = ()
    """After WATCHED_S."""

    def broken(self, overloaded: str | None) -> tuple[str, ...]:
        """Return a sentence for each violation. ``overloaded``: why the machine may be the cause."""
        if self.left:
            return tuple(f"{thing} is left {WATCHED_S:g} s after its supervisor was killed" for thing in self.left)
        return self._late() if overloaded is None else ()

    def inconclusive(self, overloaded: str | None) -> tuple[str, ...]:
        """Return a sentence for each late removal that an overloaded machine may have caused."""
        blamed = overloaded is not None and not self.left
        return tuple(f"{sentence}; {overloaded}" for sentence in self._late()) if blamed else ()

    def _late(self) -> tuple[str, ...]:
        return tuple(f"{thing} is left {GONE_TIMEOUT_S:g} s after its supervisor was killed" for thing in self.late)


async def kill_supervisor(
    world: World,
    app: App,
    region: Region,
    mode: ReplicationMode,
    progress: Callable[[str], None],
    clock: Clock | None = None,
) -> Result:
    """SIGKILL the supervisor, wait for its world to go, and judge what was left after GONE_TIMEOUT_S and for good."""
    clock = clock or SystemClock()
    info = await world.info()
    everything = _processes(info.janitor_pid, info.supervisor_pid)
    load_before = host_load.sample()
    os.kill(info.supervisor_pid, signal.SIGKILL)
    progress(f"killed the supervisor (pid {info.supervisor_pid}); the world has {len(everything)} processes")
    leftovers = await _watch(lambda: _left(everything, info.directory), progress, clock)
    return _result(app, region, mode, leftovers, host_load.sample().since(load_before).because)


async def _watch(look: Callable[[], tuple[str, ...]], progress: Callable[[str], None], clock: Clock) -> Leftovers:
    """Return when nothing is left, at the latest after WATCHED_S."""
    began_s = clock.now_s()
    late: tuple[str, ...] = ()
    while left := look():
        waited_s = clock.now_s() - began_s
        if waited_s >= GONE_TIMEOUT_S and not late:
            late = left
            progress(f"+{waited_s:.2f} s left: {', '.join(left)}")
        if waited_s >= WATCHED_S:
            break
        await asyncio.sleep(POLL_S)
    progress(f"+{clock.now_s() - began_s:.2f} s {'left: ' + ', '.join(left) if left else 'nothing is left'}")
    return Leftovers(late, left)


def _result(app: App, region: Region, mode: ReplicationMode, leftovers: Leftovers, overloaded: str | None) -> Result:
    broken, inconclusive = leftovers.broken(overloaded), leftovers.inconclusive(overloaded)
    return Result(
        drill=SUPERVISOR_KILL,
        app=app,
        region=region,
        replication=mode,
        runs=1,
        inconclusive=inconclusive,
        rto_write_s=Percentiles(),
        rto_read_s=Percentiles(),
        dns_s=Percentiles(),
        timeline=(),
        waterfall=(),
        acknowledged=0,
        lost=0,
        duplicated=0,
        unknown_present=0,
        unknown_absent=0,
        orphaned=0,
        rpo_s=0.0,
        failed_requests=0,
        attempts_not_acknowledged=0,
        failovers=0,
        switchover_gap_s=Percentiles(),
        switchover_failed_requests=0,
        objectives=(Objective("left-behind", 0, len(broken), "things", not broken),),
        targets=(),
        broken=broken,
        passed=None if inconclusive else not broken,
    )


def _processes(*roots: int) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    for root in roots:
        try:
            process = psutil.Process(root)
            found |= {each.pid: each for each in (process, *process.children(recursive=True))}
        except psutil.NoSuchProcess:
            continue
    return list(found.values())


def _left(processes: list[psutil.Process], directory: str) -> tuple[str, ...]:
    left = [f"process {process.pid}" for process in processes if _lives(process)]
    return (*left, *([directory] if Path(directory).exists() else ()))


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
