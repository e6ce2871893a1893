"""What is refused before anything of a world starts."""

import os
from pathlib import Path

import pytest

from leeward.base.problem import ProblemsError
from leeward.operate.assemble import assemble
from leeward.world import places
from tests.world.conftest import home

__all__ = ["home"]

HELLO = Path(__file__).parents[2] / "examples" / "hello"
BELOW = "/w/regions/us/pods/01234567/gateway/admin.sock"
"""Where Envoy of a region listens, by the home of worlds."""


def home_for(home: Path, socket_bytes: int) -> Path:
    """Return a home in which that socket's path has so many bytes."""
    return home / ("x" * (socket_bytes - len(os.fsencode(home)) - len("/") - len(BELOW)))


@pytest.mark.parametrize("too_many", [1, 20])
def test_a_world_whose_gateways_sockets_would_not_fit_is_refused(
    monkeypatch: pytest.MonkeyPatch, home: Path, too_many: int
) -> None:
    worlds = home_for(home, places.SOCKET_PATH_MAX + too_many)
    monkeypatch.setenv("LEEWARD_HOME", str(worlds))
    with pytest.raises(ProblemsError) as refused:
        assemble(HELLO, "w")
    (problem,) = refused.value.problems
    assert (problem.code, problem.where) == ("path-too-long", "world w, region us")
    assert f"{too_many} bytes shorter than {worlds}" in problem.fix
    assert not list(worlds.iterdir())
    worlds.rmdir()


def test_a_world_whose_sockets_just_fit_is_assembled(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    worlds = home_for(home, places.SOCKET_PATH_MAX)
    monkeypatch.setenv("LEEWARD_HOME", str(worlds))
    assembly = assemble(HELLO, "w")
    assembly.claim.abandon()
    assert not list(worlds.iterdir())
    worlds.rmdir()
