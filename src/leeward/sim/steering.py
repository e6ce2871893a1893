"""Which pair of fault and phase the next world is led to: the one that was met least in this run.

How often a pair was tried counts as much as how often it was met: one that no world can meet is not chosen for ever.
Not here: how a world is led there (``plan``). What is printed of a failing world, its seed and its pair, replays it.
"""

from collections import Counter

from leeward.core.values import Phase
from leeward.sim.coverage import Coverage
from leeward.sim.faults import Kind
from leeward.sim.plan import PAIRS, Pair


class Steering:
    """Chooses by what was met so far."""

    def __init__(self, met: Coverage, tried: Counter[Pair]) -> None:
        self._met = met
        self._tried = tried

    def next_pair(self) -> Pair:
        """Return the pair to lead the next world to, and count it as tried."""
        pair = min(PAIRS, key=lambda each: self._met.phases[each[0], each[1]] + self._tried[each])
        self._tried[pair] += 1
        return pair


def pair_text(pair: Pair) -> str:
    """Return a pair as it is printed: ``fault/phase``."""
    return f"{pair[0]}/{pair[1]}"


def parse_pair(text: str) -> Pair:
    """Return the pair that ``pair_text`` printed. Raises ValueError."""
    kind, _, phase = text.partition("/")
    return Kind(kind), Phase(phase)
