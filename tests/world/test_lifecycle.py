import asyncio
import os
import signal
import stat
from pathlib import Path

import pytest

from leeward.base.problem import ProblemsError
from leeward.world.client import World, launch, list_worlds
from leeward.world.places import is_alive
from tests.kit.waiting import until
from tests.world.support import REGIONS, Caller, config, mentioning

pytestmark = pytest.mark.world


async def test_a_world_says_where_everything_is_to_its_owner_only(world: World) -> None:
    info = await world.info()
    assert [region.name for region in info.regions] == list(REGIONS)
    assert info.isolation == "user-namespace"
    assert stat.S_IMODE(world.directory.stat().st_mode) == 0o700
    for file in ("control.sock", "operator/tls.key", "operator/token"):
        assert stat.S_IMODE((world.directory / file).stat().st_mode) & 0o077 == 0, file
    # In a world of root the region is a user of its own, and reads its key by its group.
    status = (world.directory / "regions/us/identity/tls.key").stat()
    shared = 0o040 if os.getuid() == 0 else 0
    assert stat.S_IMODE(status.st_mode) == 0o600 | shared
    assert status.st_gid == (world.directory / "regions/us/volumes").stat().st_gid


async def test_nobody_in_a_region_is_root(world: World) -> None:
    _pid, uid = (world.directory / "regions" / "us" / "volumes" / "started").read_text().split()
    assert int(uid) == (os.getuid() or 65534)


@pytest.mark.parametrize("victims", [("supervisor",), ("janitor",), ("wan",), ("supervisor", "janitor")])
async def test_whoever_is_killed_nothing_is_left(home: Path, victims: tuple[str, ...]) -> None:
    world = await launch(config("doomed"))
    async with world:
        info = await world.info()
    # All stand still first: between two kills a janitor could clear away what the first one left.
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for victim in victims:
            os.kill(getattr(info, f"{victim}_pid"), number)
    await until(lambda: not mentioning(str(home)), "every process is gone")
    if len(victims) == 2:
        assert (home / "doomed").exists(), "nobody was left to remove it"
        # The kernel takes the memory of whoever is killed, with the command line, before the lock.
        await until(lambda: list_worlds() == (), "nobody holds it")
    await until(lambda: not (home / "doomed").exists(), "the directory is gone")
    await world.down()


async def test_a_tethered_world_ends_with_whoever_launched_it(home: Path) -> None:
    world = await launch(config("tethered"), tethered=True)
    await world.info()
    await world.close()
    await until(lambda: not mentioning(str(home)), "every process is gone")
    assert not (home / "tethered").exists()
    await world.down()


async def test_a_tethered_world_that_is_kept_goes_on(home: Path) -> None:
    world = await launch(config("kept"), tethered=True)
    world.keep()
    await world.close()
    assert [region.state for region in (await world.info()).regions] == ["running"] * 3
    await world.down()


async def test_what_killed_guards_left_is_no_obstacle(home: Path) -> None:
    first = await launch(config("again"))
    info = await first.info()
    os.kill(info.janitor_pid, signal.SIGSTOP)
    os.kill(info.supervisor_pid, signal.SIGKILL)
    os.kill(info.janitor_pid, signal.SIGKILL)
    await until(lambda: not mentioning(str(home)), "every process is gone")
    await until(lambda: not is_alive(home / "again"), "nobody holds it")
    assert (home / "again" / "world.json").exists()
    await first.close()
    second = await launch(config("again"))
    assert (await second.info()).supervisor_pid != info.supervisor_pid
    await second.down()


async def test_two_worlds_do_not_see_each_other(world: World) -> None:
    second = await launch(config("second"))
    assert list_worlds() == ("first", "second")
    await world.kill("us")
    assert [region.state for region in (await second.info()).regions] == ["running"] * 3
    async with await Caller.inside(second, "us", "eu") as caller:
        await caller.ping_s()
    urls = [region.gateway_url for one in (world, second) for region in (await one.info()).regions]
    assert len(set(urls)) == 6
    await second.down()
    assert list_worlds() == ("first",)


async def test_a_name_is_given_once(world: World) -> None:
    with pytest.raises(ProblemsError, match="world-exists"):
        await launch(config("first"))
    assert (await world.info()).region("us").state == "running"


async def test_there_is_no_world_to_open(home: Path) -> None:
    with pytest.raises(ProblemsError, match="no-world"):
        World.open("nowhere")


# That nothing is left is for the fixture ``home`` to check.
async def test_a_region_that_fails_says_its_last_output_and_nothing_is_left(home: Path) -> None:
    with pytest.raises(ProblemsError, match=r"(?s)region-failed.*the dog ate the disk"):
        await launch(config("sick", "fail"))


async def test_a_region_that_is_never_ready_is_given_up(home: Path) -> None:
    with pytest.raises(ProblemsError, match=r"not ready after 0\.5 s"):
        await launch(config("slow", "silent", ready_timeout_s=0.5))


async def test_interrupted_while_starting_nothing_is_left(home: Path) -> None:
    started = asyncio.Event()
    launching = asyncio.create_task(launch(config("slow", "silent"), lambda _text: started.set()))
    await started.wait()
    launching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launching
