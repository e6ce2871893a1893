"""Each world is led to what was met least so far, and what is printed of it is enough to see it again."""

from collections import Counter

from leeward.core.values import Phase
from leeward.sim.coverage import Coverage
from leeward.sim.faults import Kind
from leeward.sim.plan import PAIRS, draw
from leeward.sim.steering import Steering, pair_text, parse_pair

RARE = (Kind.HUNG_DISK, Phase.SWITCHING)


def test_the_pair_met_least_is_next() -> None:
    met = Coverage(Counter({(kind, phase): 5 for kind, phase in PAIRS if (kind, phase) != RARE}))
    steering = Steering(met, Counter())
    assert [steering.next_pair() for _ in range(5)] == 5 * [RARE]
    # It was tried as often as the others were met: one that no world can meet is not tried for ever.
    assert steering.next_pair() == PAIRS[0]


def test_what_is_met_meanwhile_counts() -> None:
    met = Coverage()
    steering = Steering(met, Counter())
    first = steering.next_pair()
    met.phases[PAIRS[1]] += 1
    assert [first, steering.next_pair()] == [PAIRS[0], PAIRS[2]]


def test_a_world_is_led_to_its_pair_and_drawn_again_from_what_is_printed() -> None:
    seed = next(seed for seed in range(20) if not draw(seed).calm)
    plan = draw(seed, pair=RARE)
    assert RARE in {(trigger.fault.kind, trigger.phase) for trigger in plan.triggered}
    assert draw(seed, pair=parse_pair(pair_text(RARE))) == plan
    assert draw(seed) != plan


def test_all_pairs_can_be_printed_and_read() -> None:
    assert [parse_pair(pair_text(pair)) for pair in PAIRS] == list(PAIRS)
