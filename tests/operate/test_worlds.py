"""Which certificate commands show to agents, and what is wrong with one that is named."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from leeward.core.identities import CA, CERTIFICATE, Grant, Right
from leeward.operate import worlds
from leeward.operate.outcome import OperationError
from leeward.world import identity
from leeward.world.client import World

DAY_S = 86400.0


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world's directory with its operator, and alice, named by LEEWARD_IDENTITY."""
    made = identity.create("atlas", {"us": 1, "eu": 2, "jp": 3})
    identity.put(tmp_path / "operator", made.operator)
    identity.put(tmp_path / "alice", made.operator_of("alice", [Grant("payments", Right.STEER)]))
    monkeypatch.setenv(worlds.IDENTITY_VARIABLE, str(tmp_path / "alice"))
    return cast("World", SimpleNamespace(operator_directory=tmp_path / "operator", directory=tmp_path))


def refusal(world: World) -> str:
    with pytest.raises(OperationError) as caught:
        worlds.identity_of(world)
    (problem,) = caught.value.problems
    return problem.code


def test_the_named_one_and_else_the_worlds_own(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert worlds.identity_of(world) == tmp_path / "alice"
    monkeypatch.delenv(worlds.IDENTITY_VARIABLE)
    assert worlds.identity_of(world) == tmp_path / "operator"


def test_one_that_has_expired(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = time.time()
    monkeypatch.setattr("leeward.operate.worlds.time.time", lambda: now_s + DAY_S + 3600)
    assert refusal(world) == "identity-expired"


def test_one_of_another_world(world: World, tmp_path: Path) -> None:
    identity.put(tmp_path / "operator", identity.create("atlas", {"us": 1, "eu": 2, "jp": 3}).operator)
    assert refusal(world) == "identity-of-another-world"


def test_one_that_lacks_a_file(world: World, tmp_path: Path) -> None:
    (tmp_path / "alice" / CERTIFICATE).unlink()
    assert refusal(world) == "no-identity"


def test_one_issued_before_an_exchange_counts_until_the_old_authority_is_removed(world: World, tmp_path: Path) -> None:
    new = identity.create("atlas", {"us": 1}).operator[CA]
    old = (tmp_path / "operator" / CA).read_text()
    for trusted in (old + new, new + old):
        (tmp_path / "operator" / CA).write_text(trusted)
        assert worlds.identity_of(world) == tmp_path / "alice"
    (tmp_path / "operator" / CA).write_text(new)
    assert refusal(world) == "identity-of-another-world"
