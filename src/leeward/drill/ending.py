"""The drill ``supervisor-kill``: the world's supervisor is killed, and nothing of the world may be left.

It ends the world, so there is one run, no load and no ledger; the result has the same shape as any other.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil

from leeward.core.values import App, Region, ReplicationMode
from leeward.drill.faults import SUPERVISOR_KILL
from leeward.drill.summary import Objective, Percentiles, Result
from leeward.ports.clock import Clock, SystemClock
from leeward.world.client import World

GONE_TIMEOUT_S = 15.0
POLL_S = 0.05


async def kill_supervisor(
    world: World,
    app: App,
    region: Region,
    mode: ReplicationMode,
    say: Callable[[str], None],
    clock: Clock | None = None,
) -> Result:
    """SIGKILL the supervisor, and return what was left of its world after GONE_TIMEOUT_S."""
    clock = clock or SystemClock()
    info = await world.info()
    everything = _processes(info.janitor_pid, info.supervisor_pid)
    began_s = clock.now_s()
    os.kill(info.supervisor_pid, signal.SIGKILL)
    say(f"killed the supervisor, pid {info.supervisor_pid}, of a world of {len(everything)} processes")
    left = _left(everything, info.directory)
    while left and clock.now_s() - began_s < GONE_TIMEOUT_S:
        await asyncio.sleep(POLL_S)
        left = _left(everything, info.directory)
    took_s = clock.now_s() - began_s
    say(f"+{took_s:.2f} s {'left: ' + ', '.join(left) if left else 'nothing is left'}")
    return Result(
        drill=SUPERVISOR_KILL,
        app=app,
        region=region,
        replication=mode,
        runs=1,
        inconclusive=(),
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
        objectives=(Objective("left-behind", 0, len(left), "things", not left),),
        targets=(),
        broken=tuple(f"{thing} is left {GONE_TIMEOUT_S:g} s after its supervisor" for thing in left),
        passed=not left,
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


def _left(processes: list[psutil.Process], directory: str) -> list[str]:
    left = [f"process {process.pid}" for process in processes if _lives(process)]
    return left + ([directory] if Path(directory).exists() else [])


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
