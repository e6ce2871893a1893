"""What makes commits wait for less than promised is found and reported."""

import pytest

from leeward.instance.durability import REMEMBERED_S, weakened
from tests.instance.conftest import StartFleet
from tests.instance.instances import lead

DATABASE = "database payments has synchronous_commit = off"
ROLE = "role payments in database payments has synchronous_commit = local"
SESSION = "a session of role payments in database payments sets synchronous_commit"


def test_a_session_is_reported_for_a_while_and_a_setting_while_it_is_there() -> None:
    seen = weakened({}, [DATABASE, SESSION], 100.0)
    assert seen == {DATABASE: 100.0, SESSION: 100.0}
    assert weakened(seen, [], 101.0) == {SESSION: 100.0}
    assert weakened(seen, [SESSION], 101.0) == {SESSION: 101.0}
    assert weakened(seen, [], 100.0 + REMEMBERED_S) == {}


@pytest.mark.engine
async def test_what_the_owner_and_its_sessions_set_is_in_the_status(start_fleet: StartFleet) -> None:
    (node,) = await start_fleet("eu")
    async with node.leased(1):
        await lead(node)
        assert (await node.client.status(timeout_s=20)).weakened == ()
        await node.execute("ALTER DATABASE payments SET synchronous_commit = off")
        await node.execute("ALTER ROLE payments IN DATABASE payments SET synchronous_commit = local")
        await node.until(lambda status: set(status.weakened) == {DATABASE, ROLE})
        await node.execute("ALTER DATABASE payments SET synchronous_commit = remote_apply")
        await node.execute("ALTER ROLE payments IN DATABASE payments RESET synchronous_commit")
        await node.until(lambda status: status.weakened == ())
        async with await node.connect() as session:
            await session.execute("SET SESSION synchronous_commit TO off")
            await node.until(lambda status: status.weakened == (SESSION,))
