"""Stop every process of a region, including any that are started meanwhile."""

import asyncio
import signal

from leeward.world import processes

SETTLE_S = 0.001
FREEZE_TIMEOUT_S = 15.0


async def freeze(root: int) -> list[int]:
    """Stop a process and all its descendants, walking again until nothing is new. Returns them.

    Raises TimeoutError when one does not stop (it waits for a disk, say); those stopped stay so.
    """
    stopped: set[int] = set()
    async with asyncio.timeout(FREEZE_TIMEOUT_S):
        while True:
            pids = processes.tree(root)
            fresh = [pid for pid in pids if pid not in stopped]
            stopped.update(processes.send(fresh, signal.SIGSTOP))
            if not fresh and all(processes.state(pid) in processes.STOPPED_OR_DEAD for pid in pids):
                return pids
            await asyncio.sleep(SETTLE_S)
