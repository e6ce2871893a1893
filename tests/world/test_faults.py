import signal

import pytest

from leeward.base.problem import ProblemsError
from leeward.world import processes
from leeward.world.client import World
from leeward.world.model import RegionState
from tests.kit.waiting import until
from tests.world.support import SILENCE_S, Caller, mentioning, number

pytestmark = pytest.mark.world


async def root(world: World, region: str) -> int:
    pid = (await world.info()).region(region).pid
    assert pid is not None
    return pid


async def until_state(world: World, region: str, state: RegionState) -> None:
    async def found() -> RegionState:
        return (await world.info()).region(region).state

    await until(found, f"{region} is {state}", accept=lambda found: found is state, every_s=0)


async def test_a_killed_region_is_gone_at_once_with_all_it_started(world: World) -> None:
    pids = processes.tree(await root(world, "us"))
    assert len(pids) >= 5
    applied = await world.kill("us")
    assert applied.pids == (pids[0],)
    assert {processes.state(pid) for pid in pids} == {"X"}
    info = await world.info()
    assert [region.state for region in info.regions] == ["lost", "running", "running"]
    assert info.region("us").because == "killed by request"


async def test_connections_to_a_killed_region_end(world: World) -> None:
    async with await Caller.inside(world, "eu", "us") as caller:
        await caller.ping_s()
        await world.kill("us")
        assert await caller.ends() == b""
    async with await Caller.inside(world, "us", "us") as caller:
        assert await caller.ends() == b"", "the front door refuses"


async def test_a_region_starts_again_with_its_disks(world: World) -> None:
    started = world.directory / "regions" / "us" / "volumes" / "started"
    await world.kill("us")
    await world.start("us")
    await until(lambda: len(started.read_text().splitlines()) == 2, "the region is up again")
    await until_state(world, "us", RegionState.RUNNING)
    async with await Caller.inside(world, "eu", "us") as caller:
        await caller.ping_s()


async def test_a_frozen_region_stands_still_until_it_is_thawed(world: World) -> None:
    ticks = world.directory / "regions" / "us" / "volumes" / "ticks"
    async with await Caller.inside(world, "eu", "us") as caller:
        await caller.ping_s()
        frozen = await world.freeze("us")
        assert {processes.state(pid) for pid in frozen.pids} == {"T"}
        assert len(frozen.pids) == len(processes.tree(await root(world, "us")))
        before = number(ticks)
        caller.send(b"hello")
        assert await caller.is_silent()
        assert number(ticks) == before
        assert (await world.info()).region("us").state is RegionState.FROZEN
        thawed = await world.thaw("us")
        assert await caller.read(5) == b"hello"
        assert thawed.at_boot_s - frozen.at_boot_s >= SILENCE_S
        assert (await world.info()).region("us").state is RegionState.RUNNING


async def test_a_frozen_region_can_be_killed(world: World) -> None:
    frozen = await world.freeze("us")
    await world.kill("us")
    assert {processes.state(pid) for pid in frozen.pids} == {"X"}


async def test_a_region_that_ends_by_itself_is_lost_and_says_how(world: World) -> None:
    processes.send([await root(world, "us")], signal.SIGKILL)
    await until_state(world, "us", RegionState.LOST)
    assert (await world.info()).region("us").because == "its program exited with signal SIGKILL"


async def test_processes_are_signalled_by_what_they_are(world: World) -> None:
    applied = await world.signal("us", "etcd", signal.SIGTERM)
    (pid,) = applied.pids
    await until(lambda: processes.state(pid) in "ZX", "etcd has ended")
    assert (await world.info()).region("us").state is RegionState.RUNNING


@pytest.mark.parametrize(
    ("attempt", "why"),
    [
        pytest.param(lambda world: world.signal("us", "postgres"), "no postgres process is running", id="nobody"),
        pytest.param(lambda world: world.start("us"), "it is already running", id="start a running region"),
        pytest.param(lambda world: world.kill("mars"), "its regions are us, eu, ap", id="unknown region"),
        pytest.param(lambda world: world.signal("us", "cron"), "'cron' is not one of", id="unknown match"),
        pytest.param(lambda world: world.set_link("us", "us"), "the same region", id="link to itself"),
        pytest.param(lambda world: world.set_link("us", "eu", delay_ms=-1), "-1 is not between 0", id="negative delay"),
    ],
)
async def test_what_makes_no_sense_is_refused(world: World, attempt, why: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ProblemsError, match=why):
        await attempt(world)


async def test_a_lost_region_cannot_be_killed_again(world: World) -> None:
    await world.kill("us")
    with pytest.raises(ProblemsError, match="start it first"):
        await world.kill("us")
    assert mentioning(str(world.directory / "regions" / "us")) == {}
