"""Measures in which seed each mutation is noticed first, for ``FOUND_IN`` and the table in docs/concepts/simulation.md.

python -m tests.sim.measure_mutations [NAME...]
"""

import sys

import pytest

from leeward.sim import swarm
from tests.sim.mutation import Mutation
from tests.sim.mutations import MUTATIONS


def measure(mutation: Mutation) -> tuple[int | None, str]:
    """Return the first seed whose world breaks with the mutation and is clean without it, and what broke."""
    for seed in range(mutation.seeds):
        with pytest.MonkeyPatch.context() as patch:
            mutation.apply(patch)
            violation = swarm.run(mutation.plan(seed), make=mutation.make).violation
        if violation is not None and swarm.run(mutation.plan(seed)).violation is None:
            return seed, violation
    return None, f"{mutation.seeds} seeds and nothing was noticed"


if __name__ == "__main__":
    for each in MUTATIONS:
        if not sys.argv[1:] or any(name in each.name for name in sys.argv[1:]):
            found, what = measure(each)
            print(f"{each.name!r}: {found},  # {what}", flush=True)
