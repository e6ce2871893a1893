"""Every position an instance reports names its timeline: that of the last record it holds."""

import pytest

from leeward.core.values import InstanceStatus, Role
from tests.instance.conftest import StartFleet
from tests.instance.instances import Node
from tests.instance.test_replication import A, B, C, caught_up, first_pair, pay

pytestmark = pytest.mark.engine


def on(timeline: int, status: InstanceStatus) -> bool:
    return status.wal is not None and status.wal.timeline == timeline


async def settled_on(timeline: int, node: Node, role: Role) -> InstanceStatus:
    return await node.until(lambda status: status.settled and status.role is role and on(timeline, status))


async def test_a_promotion_begins_a_timeline_and_whoever_follows_reports_it(start_fleet: StartFleet) -> None:
    a, b, c = await start_fleet(A, B, C)
    async with a.leased(1):
        await first_pair(a, b)
        await c.settle(1, Role.STANDBY, a)
        for node, role in ((a, Role.PRIMARY), (b, Role.STANDBY), (c, Role.STANDBY)):
            await settled_on(1, node, role)
        # What ``c`` promises is behind the fork, and stays there whatever it has heard of a later timeline.
        await c.settle(2, Role.DETACHED)
        await pay(a, 2)
        await caught_up(b, 2)
    await a.settle(2, Role.STOPPED)
    await settled_on(1, a, Role.STOPPED)
    async with b.leased(3):
        await b.order(3, Role.PRIMARY)
        await settled_on(2, b, Role.PRIMARY)
        await pay(b, 3)
        history = (b.root / "volume" / "pgdata" / "pg_wal" / "00000002.history").read_bytes()
        (c.root / "volume" / "pgdata" / "pg_wal" / "00000002.history").write_bytes(history)
        await c.restart()
        await settled_on(1, c, Role.DETACHED)
        for node in (a, c):
            await node.order(3, Role.STANDBY, b)
            await caught_up(node, 3)
            await settled_on(2, node, Role.STANDBY)
    # A promise made after that, and one after a restart, names it too.
    for node in (b, c):
        await node.order(4, Role.DETACHED)
        await settled_on(2, node, Role.DETACHED)
    await c.restart()
    await settled_on(2, c, Role.DETACHED)
    await c.settle(4, Role.STOPPED)
    assert (await settled_on(2, c, Role.STOPPED)).has_data
    # Asked several times a second for all of that time, over a protocol that takes no prepared statement.
    assert "extended query protocol" not in b.log.read_text()
