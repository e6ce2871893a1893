"""What is wrong with an instance's volume for a while. Each function returns what ends that."""

from collections.abc import Callable

from leeward.sim.database import Instance
from leeward.sim.hands import Hands


def fill(instance: Instance, *, commits: bool) -> Callable[[], None]:
    """Leave no room on the volume; PostgreSQL ends itself unless it commits in the WAL segment that it has."""
    hands = instance.hands
    hands.full += 1
    if not commits and instance.process.running:
        instance.crash_database()

    def end() -> None:
        hands.full -= 1

    return end


def fail_steps(hands: Hands, extra_s: float) -> Callable[[], None]:
    """Make steps that touch the disk take longer, or fail where that is no time."""
    fails = 0 if extra_s else 1
    hands.failing += fails
    hands.extra_s += extra_s

    def end() -> None:
        hands.failing -= fails
        hands.extra_s = max(0.0, hands.extra_s - extra_s)

    return end
