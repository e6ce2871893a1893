"""Who the regions of a world of root are, and what they see of the machine."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from leeward.world import shelter, users
from leeward.world.client import World, launch
from leeward.world.model import WorldConfig
from leeward.world.shelter import plan
from tests.world.support import config

ALLOWED = ("read its own key", "write to its volumes")


def planned(
    needed: list[Path], closed: list[Path], links: dict[Path, Path] | None = None
) -> tuple[list[str], list[tuple[str, str]]]:
    """Return what is covered and opened when only these directories may not be passed."""
    for path in needed:
        path.mkdir(parents=True, exist_ok=True)
    for link, target in (links or {}).items():
        link.symlink_to(target)
    covers, openings = plan([str(path) for path in [*needed, *(links or {})]], lambda path: Path(path) not in closed)
    return list(covers), list(openings)


def test_nothing_is_covered_where_everything_may_be_passed(tmp_path: Path) -> None:
    assert planned([tmp_path / "a" / "b"], []) == ([], [])


def test_a_closed_directory_is_covered_and_what_is_needed_in_it_is_open(tmp_path: Path) -> None:
    home, python = tmp_path / "home", tmp_path / "home" / "python"
    assert planned([python, tmp_path / "other"], [home]) == ([str(home)], [(str(python), str(python))])


def test_only_the_outermost_is_covered(tmp_path: Path) -> None:
    home = tmp_path / "home"
    deep, shallow = home / "world" / "regions" / "us", home / "python"
    covers, openings = planned([deep, shallow], [home, home / "world"])
    assert covers == [str(home)]
    assert openings == [(str(shallow), str(shallow)), (str(deep), str(deep))], "the nearer first"


def test_a_closed_directory_that_is_needed_itself_is_left_to_its_mode(tmp_path: Path) -> None:
    assert planned([tmp_path / "home"], [tmp_path / "home"]) == ([], [])


def test_what_a_link_leads_to_is_open_by_both_paths(tmp_path: Path) -> None:
    home = tmp_path / "home"
    real, link = home / "python-3.11.7", home / "python"
    covers, openings = planned([real], [home], {link: real})
    assert covers == [str(home)]
    assert openings == [(str(real), str(link)), (str(real), str(real))]


def test_what_is_missing_or_no_path_is_not_needed(tmp_path: Path) -> None:
    assert plan(["", "python", str(tmp_path / "nowhere")], lambda _path: False) == ((), ())


@pytest.mark.parametrize(
    ("maps", "first", "count"),
    [
        pytest.param("0 0 4294967295\n", users.UNUSED_FIRST, users.WORLD_IDS, id="the machine itself"),
        pytest.param(
            "0 1000 1\n1 100000 65536\n", 65537 - users.WORLD_IDS, users.WORLD_IDS, id="a container: its last ones"
        ),
        pytest.param("0 1000 1\n1 100000 2\n", 1, 2, id="a container with two others"),
        pytest.param("0 1000 1\n", 1, 0, id="nobody but us"),
    ],
)
def test_the_ids_outside_are_some_that_are_known_there(tmp_path: Path, maps: str, first: int, count: int) -> None:
    (tmp_path / "map").write_text(maps)
    assert users._known_ids(str(tmp_path / "map"), users.UNUSED_FIRST) == range(first, first + count)


def test_only_root_has_others_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert users.outside_ids("/w", 3) is None


def known(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let root know so many others beginning with the wanted one."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(users, "_known_ids", lambda _path, wanted: range(wanted, wanted + count))


def test_two_regions_of_root_are_two_users_and_so_are_those_of_two_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, users.WORLD_IDS)
    one, other = users.outside_ids("/w/one", 3), users.outside_ids("/w/two", 3)
    assert one is not None
    assert other is not None
    assert len({*one, *other}) == 6


def test_regions_share_a_user_where_there_are_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, 2)
    found = users.outside_ids("/w", 3)
    assert found is not None
    assert found[0] == found[2] != found[1]


def test_a_region_owns_what_it_writes_and_only_reads_what_it_is_lent(tmp_path: Path) -> None:
    (tmp_path / "identity" / "store").mkdir(parents=True, mode=0o700)
    (tmp_path / "identity" / "store" / "tls.key").touch(0o600)
    uid, gid = (os.geteuid(), os.getegid()) if os.geteuid() else (12345, 12346)
    for _start in range(2):
        shelter.lend(tmp_path, uid, gid)
        seen = {}
        for path in (tmp_path, *tmp_path.rglob("*")):
            status = path.stat()
            seen[str(path.relative_to(tmp_path))] = status.st_uid, status.st_gid, status.st_mode & 0o777
        ours, theirs = os.geteuid(), (uid, gid, 0o700)
        assert seen == {
            ".": (ours, tmp_path.stat().st_gid, 0o711),
            "identity": (ours, gid, 0o750),
            "identity/store": (ours, gid, 0o750),
            "identity/store/tls.key": (ours, gid, 0o640),
            **dict.fromkeys(("volumes", "pods", "logs"), theirs),
        }


@pytest.mark.root
def test_a_link_in_the_place_of_a_volume_is_not_given_away(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "volumes").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="volumes"):
        shelter.lend(tmp_path, 12345, 12345)
    assert (tmp_path / "victim").stat().st_uid == 0


@pytest.mark.root
@pytest.mark.world
def test_code_in_a_pod_of_root_reads_and_changes_nothing_of_root(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Case 6."""
    monkeypatch.setenv("OPERATORS_SECRET", "secret")
    precious = Path("/tmp") / f"{home.name}-precious"
    precious.touch(0o600)
    try:
        world = asyncio.run(launched(config("mine", f"pry:{home / 'mine'}:{precious}")))
        pid = json.loads((world / "world.json").read_text())["regions"][0]["pid"]
        pried = json.loads((world / "regions/us/volumes/pried").read_text())
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        asyncio.run(World(world).down())
    finally:
        precious.unlink()
    assert [name for name, came in pried.items() if came == "done"] == list(ALLOWED)
    outside = users.outside_ids(str(world), 2)
    assert outside is not None
    assert status["Uid"].split() == [str(outside[0][0])] * 4
    assert status["Gid"].split() == [str(outside[0][1])] * 4
    assert (status["Groups"].split(), status["NoNewPrivs"].strip(), int(status["CapEff"], 16)) == ([], "1", 0)
    assert b"PATH=" in environment
    assert b"OPERATORS_SECRET" not in environment


async def launched(wanted: WorldConfig) -> Path:
    """Start a world, and return its directory."""
    async with await launch(wanted) as world:
        return world.directory
