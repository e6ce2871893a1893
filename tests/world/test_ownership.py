import os
import socket
from collections.abc import Callable
from pathlib import Path, PurePath

import pytest

from leeward.world.ownership import ForeignError, open_directory, open_within, peer_uid, pin
from tests.world.strangers import STRANGER, acting_as


def opens(path: Path, *, create: bool = False) -> bool:
    """Whether the directory is opened; it is closed again."""
    os.close(open_directory(path, create=create))
    return True


def opens_within(parent: Path, name: str, flags: int = os.O_RDONLY) -> bool:
    handle = open_directory(parent)
    try:
        os.close(open_within(handle, name, flags))
    finally:
        os.close(handle)
    return True


def test_what_is_missing_is_made_for_us_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert opens(tmp_path / "a" / "b", create=True)
    finally:
        os.umask(before)
    assert [(tmp_path / each).stat().st_mode & 0o777 for each in ("a", "a/b")] == [0o700, 0o700]
    with pytest.raises(FileNotFoundError):
        open_directory(tmp_path / "a" / "c")


def test_links_of_our_own_lead_on_but_not_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "real" / "home").mkdir(parents=True, mode=0o700)
    (tmp_path / "relative").symlink_to("real/../real")
    (tmp_path / "absolute").symlink_to(tmp_path / "relative")
    (tmp_path / "last").symlink_to(tmp_path / "real")
    assert opens(tmp_path / "absolute" / "home")
    assert opens(tmp_path / "absolute" / "made", create=True)
    assert (tmp_path / "real" / "made").is_dir()
    with pytest.raises(ForeignError, match="symbolic link"):
        open_directory(tmp_path / "last")


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(ForeignError, match="symbolic link"):
        open_directory(tmp_path / "circle" / "home")


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "home"):
        with pytest.raises(ForeignError, match="not a directory"):
            open_directory(path)


@pytest.mark.parametrize("mode", [0o777, 0o702, 0o1777])
def test_others_may_not_write_where_worlds_are(tmp_path: Path, mode: int) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home").chmod(mode)
    with pytest.raises(ForeignError, match="may write"):
        open_directory(tmp_path / "home")


def test_on_the_way_others_may_write_only_where_they_cannot_exchange_anything(tmp_path: Path) -> None:
    (tmp_path / "open" / "home").mkdir(parents=True, mode=0o700)
    (tmp_path / "open").chmod(0o1777)
    assert opens(tmp_path / "open" / "home")
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(ForeignError, match="may write"):
        open_directory(tmp_path / "open" / "home")


@pytest.mark.root
def test_a_group_with_other_members_counts_as_others(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", 0, STRANGER)
    (tmp_path / "home").chmod(0o770)
    with pytest.raises(ForeignError, match="may write"):
        open_directory(tmp_path / "home")


@pytest.mark.root
@pytest.mark.parametrize("level", ["", "home", "home/below"])
def test_a_directory_of_somebody_else_is_refused_at_every_level(tmp_path: Path, level: str) -> None:
    (tmp_path / "home" / "below").mkdir(parents=True, mode=0o700)
    os.chown(tmp_path / level, STRANGER, STRANGER)
    with pytest.raises(ForeignError, match=f"uid {STRANGER}"):
        open_directory(tmp_path / "home" / "below")


@pytest.mark.root
@pytest.mark.parametrize("create", [False, True])
def test_a_link_that_somebody_else_planted_on_the_way_is_refused(tmp_path: Path, create: bool) -> None:
    (tmp_path / "victim" / "home").mkdir(parents=True, mode=0o700)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    (tmp_path / "open" / "link").symlink_to(tmp_path / "victim")
    os.lchown(tmp_path / "open" / "link", STRANGER, STRANGER)
    with pytest.raises(ForeignError, match=f"uid {STRANGER}"):
        open_directory(tmp_path / "open" / "link" / "home", create=create)


@pytest.mark.root
def test_a_link_of_ours_through_what_somebody_else_planted_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim" / "home").mkdir(parents=True, mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "planted")
    (tmp_path / "planted").symlink_to(tmp_path / "victim")
    os.lchown(tmp_path / "planted", STRANGER, STRANGER)
    with pytest.raises(ForeignError, match=f"uid {STRANGER}"):
        open_directory(tmp_path / "link" / "home")


PLANTS: dict[str, Callable[[Path], None]] = {
    "link": lambda path: path.symlink_to("/etc/passwd"),
    "pipe": os.mkfifo,
    "directory": Path.mkdir,
    "open to all": lambda path: os.close(os.open(path, os.O_CREAT, 0o666)),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_only_a_file_of_ours_is_opened(tmp_path: Path, plant: str) -> None:
    (tmp_path / "file").touch(0o600)
    assert opens_within(tmp_path, "file", os.O_RDWR)
    before = os.umask(0)
    PLANTS[plant](tmp_path / "planted")
    os.umask(before)
    with pytest.raises(OSError, match="planted"):
        opens_within(tmp_path, "planted")


@pytest.mark.root
def test_a_file_of_somebody_else_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o600)
    os.chown(tmp_path / "file", STRANGER, STRANGER)
    with pytest.raises(ForeignError, match=f"uid {STRANGER}"):
        opens_within(tmp_path, "file")


def test_a_pinned_directory_stays_the_same_whatever_is_exchanged(tmp_path: Path) -> None:
    (tmp_path / "volumes" / "data").mkdir(parents=True)
    (tmp_path / "victim" / "data").mkdir(parents=True)
    (tmp_path / "logs").mkdir()
    pinned = pin(tmp_path, PurePath("volumes/data"), like="logs")
    (tmp_path / "volumes").rename(tmp_path / "moved")
    (tmp_path / "volumes").symlink_to(tmp_path / "victim")
    (pinned / "file").touch()
    assert (tmp_path / "moved" / "data" / "file").exists()
    with pytest.raises(NotADirectoryError):
        pin(tmp_path, PurePath("volumes/data"), like="logs")


def test_what_is_missing_of_a_pinned_directory_is_made_for_those_it_belongs_to(tmp_path: Path) -> None:
    owner = STRANGER if os.geteuid() == 0 else os.geteuid()
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs").chmod(0o750)
    os.chown(tmp_path / "logs", owner, -1)
    before = os.umask(0o077)
    try:
        pinned = pin(tmp_path, PurePath("volumes/system/data"), like="logs")
    finally:
        os.umask(before)
    assert os.path.samefile(pinned, tmp_path / "volumes/system/data")
    for made in ("volumes", "volumes/system", "volumes/system/data"):
        status = (tmp_path / made).stat()
        assert (made, status.st_uid, status.st_mode & 0o777) == (made, owner, 0o750)


def test_nothing_is_made_behind_a_link_in_a_pinned_directory(tmp_path: Path) -> None:
    for name in ("logs", "volumes", "victim"):
        (tmp_path / name).mkdir()
    (tmp_path / "volumes" / "system").symlink_to(tmp_path / "victim")
    with pytest.raises(NotADirectoryError):
        pin(tmp_path, PurePath("volumes/system/data"), like="logs")
    assert not list((tmp_path / "victim").iterdir())


def test_the_kernel_names_the_other_end() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer_uid(one.fileno()) == os.geteuid()


@pytest.mark.root
def test_the_kernel_names_another_user_at_the_other_end() -> None:
    with acting_as(STRANGER):
        one, other = socket.socketpair()
    with one, other:
        assert peer_uid(one.fileno()) == STRANGER
