import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from leeward.world import removal
from leeward.world.ownership import ForeignError
from leeward.world.removal import remove
from tests.world.strangers import STRANGER

AT_FDCWD = -100
RENAME_EXCHANGE = 2
_LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A directory outside, with a file at every level; nothing of it may go."""
    path = tmp_path / "victim"
    (path / "deep" / "deeper").mkdir(parents=True)
    files = [path / "lock", path / "kept", path / "deep" / "kept", path / "deep" / "deeper" / "kept"]
    for file in files:
        file.write_text("precious")
    yield path
    assert [file.read_text() for file in files] == ["precious"] * len(files)


def world_at(path: Path) -> Path:
    """Make what looks like a dead world, two levels deep."""
    (path / "a" / "b").mkdir(parents=True, mode=0o700)
    path.chmod(0o700)
    for file in ("lock", "config.json", "a/file", "a/b/file"):
        (path / file).touch()
    return path


def exchange(one: Path, other: Path) -> None:
    """Exchange two entries in one step; no harm when one of them is gone."""
    _LIBC.renameat2(AT_FDCWD, bytes(one), AT_FDCWD, bytes(other), RENAME_EXCHANGE)


def test_everything_goes(tmp_path: Path) -> None:
    remove(str(world_at(tmp_path / "w")))
    assert list(tmp_path.iterdir()) == []
    remove(str(tmp_path / "w"))
    remove(str(tmp_path / "nowhere" / "w"))


def test_links_go_and_what_they_lead_to_stays(tmp_path: Path, victim: Path) -> None:
    world = world_at(tmp_path / "w")
    for level in (world, world / "a", world / "a" / "b"):
        (level / "to-directory").symlink_to(victim)
        (level / "to-file").symlink_to(victim / "kept")
        (level / "circle").symlink_to(level)
        (level / "dangling").symlink_to("nowhere")
    remove(str(world))
    assert not world.exists()


def test_a_link_in_the_place_of_a_world_is_not_followed(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "w").symlink_to(victim)
    with pytest.raises(ForeignError, match="symbolic link"):
        remove(str(tmp_path / "w"))


def test_a_link_in_the_place_of_the_home_is_not_followed(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "home").symlink_to(tmp_path)
    with pytest.raises(ForeignError, match="symbolic link"):
        remove(str(tmp_path / "home" / "victim"))


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_nothing_is_removed_where_others_may_write(tmp_path: Path, mode: int) -> None:
    world = world_at(tmp_path / "home" / "w")
    (tmp_path / "home").chmod(mode)
    with pytest.raises(ForeignError, match="may write"):
        remove(str(world))
    assert (world / "a" / "b" / "file").exists()


@pytest.mark.root
@pytest.mark.parametrize("level", ["home", "home/w"])
def test_nothing_of_somebody_else_is_removed(tmp_path: Path, level: str) -> None:
    world = world_at(tmp_path / "home" / "w")
    os.chown(tmp_path / level, STRANGER, STRANGER)
    with pytest.raises(ForeignError, match=f"uid {STRANGER}"):
        remove(str(world))
    assert (world / "a" / "b" / "file").exists()


@pytest.mark.parametrize("level", ["a", "a/b"])
def test_a_directory_that_becomes_a_link_meanwhile_is_not_followed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, victim: Path, level: str
) -> None:
    """Somebody exchanges a directory in the world for a link to the victim's, and back, as fast as they can."""
    monkeypatch.setattr(removal, "REMOVE_PAUSE_S", 0.001)
    world, planted = tmp_path / "w", tmp_path / "planted"
    ended = threading.Event()

    def keep_exchanging() -> None:
        while not ended.is_set():
            exchange(world / level, planted)

    for _round in range(20):
        world_at(world)
        for number in range(50):
            (world / level / f"more-{number}").touch()
        planted.symlink_to(victim)
        ended.clear()
        exchanging = threading.Thread(target=keep_exchanging)
        exchanging.start()
        with suppress(OSError):  # what is exchanged all the time may stay
            remove(str(world))
        ended.set()
        exchanging.join()
        remove(str(world))
        assert not world.exists()
        if planted.is_symlink():
            planted.unlink()
        elif planted.exists():  # the directory was outside in the end
            planted.chmod(0o700)
            remove(str(planted))
