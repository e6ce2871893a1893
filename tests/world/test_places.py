import signal
import subprocess
import sys
from pathlib import Path

import pytest

from leeward.base.problem import ProblemsError
from leeward.world import places
from leeward.world.places import Claim
from tests.kit.waiting import block_until
from tests.world.support import PATIENCE_S, mentioning


@pytest.mark.parametrize("name", ["", "Upper", "a/b", "..", "-a", "a-", "a" * 33, "ä"])
def test_names_that_are_no_names_are_refused(home: Path, name: str) -> None:
    with pytest.raises(ProblemsError, match="world-name"):
        places.directory(name)


def test_paths_too_long_for_sockets_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEEWARD_HOME", "/" + "x" * 100)
    with pytest.raises(ProblemsError, match="path-too-long"):
        places.directory("first")


def test_a_claim_is_exclusive_until_it_is_abandoned(home: Path) -> None:
    claim = Claim("first")
    assert places.living() == (home / "first",)
    with pytest.raises(ProblemsError, match="world-exists"):
        Claim("first")
    claim.abandon()
    assert places.is_gone(home / "first")


def test_a_guarded_claim_goes_with_whoever_is_killed(home: Path) -> None:
    program = "import signal; from leeward.world.places import Claim; Claim('first').guard(); signal.raise_signal(9)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    block_until(lambda: mentioning(str(home)), accept=lambda found: not found, within_s=PATIENCE_S, every_s=0.01)
    assert not (home / "first").exists()


def test_a_guarded_claim_is_abandoned_at_once(home: Path) -> None:
    claim = Claim("first")
    claim.guard()
    (claim.directory / "regions" / "us").mkdir(parents=True)
    (claim.directory / "regions" / "us" / "lock").touch()
    claim.abandon()
    assert not (home / "first").exists()


def test_what_a_dead_world_left_is_taken_over(home: Path) -> None:
    dead = Claim("first")
    (dead.directory / "regions").mkdir()
    dead.release()
    claim = Claim("first")
    assert not (claim.directory / "regions").exists()
    claim.abandon()


def test_only_dead_worlds_are_removed(home: Path) -> None:
    Claim("dead").release()
    claim = Claim("alive")
    (home / "other").mkdir()
    assert places.remove_dead() == ("dead",)
    assert (home / "other").exists(), "nothing says that it is a world"
    (home / "other").rmdir()
    claim.abandon()


def test_the_home_of_somebody_else_is_not_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "real").mkdir()
    (home / "link").symlink_to(home / "real")
    monkeypatch.setenv("LEEWARD_HOME", str(home / "link"))
    with pytest.raises(ProblemsError, match="home-not-ours"):
        Claim("first")
    (home / "link").unlink()
    (home / "real").rmdir()


def test_a_full_disk_is_said_before_anything_starts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "DISK_FREE_MIN", 1 << 60)
    with pytest.raises(ProblemsError, match="disk-full"):
        Claim("first")


def test_a_home_of_our_own_goes_with_its_last_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LEEWARD_HOME", raising=False)
    monkeypatch.setattr(places, "ROOT_HOME", tmp_path / "leeward")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(places, "HOME_PATH_MAX", 4096)
    monkeypatch.setattr(places, "SOCKET_PATH_MAX", 4096)
    first, second = Claim("first"), Claim("second")
    first.abandon()
    assert places.living() == (second.directory,)
    second.abandon()
    assert list(tmp_path.iterdir()) == []
