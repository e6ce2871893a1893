"""A primary whose commits do not end, as on a disk that stands still, does not say that it accepts writes."""

from contextlib import suppress

import psutil
import pytest

from leeward.core.values import Role
from tests.instance.conftest import StartFleet
from tests.instance.instances import Node, lead
from tests.instance.test_lined_up import ask
from tests.kit.waiting import until

pytestmark = pytest.mark.engine

_CHECKER = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_logical_emit_message%' AND pid <> pg_backend_pid()"


def inner_pid(process: psutil.Process) -> int | None:
    """The id of a process in its own pid namespace, which is what PostgreSQL knows; None of one that has ended."""
    with suppress(OSError), open(f"/proc/{process.pid}/status", encoding="ascii", errors="replace") as status:
        return next((int(line.split()[-1]) for line in status if line.startswith("NSpid:")), None)
    return None


async def checking_backend(node: Node) -> psutil.Process:
    """The backend that commits for the manager's check of writes."""

    async def backend() -> psutil.Process | None:
        found = [pid for (pid,) in await ask(node, _CHECKER)][:1]
        return next((process for process in node.postgres() if inner_pid(process) in found), None)

    return await until(backend, within_s=60, every_s=0.05)


async def test_a_primary_that_commits_nothing_is_reported_as_not_writable_until_it_does(
    start_fleet: StartFleet,
) -> None:
    (node,) = await start_fleet("us-east-1")
    async with node.leased(1, 120.0):
        await lead(node)
        stopped = await checking_backend(node)
        stopped.suspend()
        try:
            status = await node.until(lambda status: not status.writable and status.problem is not None)
            assert status.role is Role.PRIMARY
            assert "no write was committed" in (status.problem or "")
            # All the rest answers: nothing but the commits that fail to end shows it.
            assert await node.column("SELECT 1") == [1]
        finally:
            stopped.resume()
        status = await node.until(lambda status: status.writable and status.problem is None)
        assert status.epoch == 1
