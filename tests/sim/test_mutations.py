"""A simulator that finds nothing proves nothing: each weakness put into the protocol is found, and soon."""

import pytest

from leeward.sim import swarm
from tests.sim.mutation import Mutation
from tests.sim.mutations import MUTATIONS


@pytest.mark.simulation
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_broken_protocol_is_found(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        mutation.apply(patch)
        found = next(
            (seed for seed in mutation.order() if swarm.run(mutation.plan(seed), make=mutation.make).violation),
            None,
        )
    assert found is not None, f"{mutation.seeds} seeds and nothing was noticed"
    assert swarm.run(mutation.plan(found)).violation is None, "the same world with the protocol as it is"
