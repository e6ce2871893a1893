"""The directory of PostgreSQL's sockets, when somebody was there first."""

import os
from pathlib import Path

import pytest

from leeward.instance.postgres.private import make_private

STRANGER = 65534


def test_it_is_made_for_us_alone_and_closed_when_it_was_open(tmp_path: Path) -> None:
    path = tmp_path / "a" / "run"
    make_private(path)
    assert path.stat().st_mode & 0o777 == 0o700
    path.chmod(0o777)
    make_private(path)
    assert path.stat().st_mode & 0o777 == 0o700


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir(mode=0o755)
    (tmp_path / "run").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="run"):
        make_private(tmp_path / "run")
    assert (tmp_path / "victim").stat().st_mode & 0o777 == 0o755


@pytest.mark.root
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o777)
    os.chown(tmp_path / "run", STRANGER, STRANGER)
    with pytest.raises(PermissionError, match="another user"):
        make_private(tmp_path / "run")
