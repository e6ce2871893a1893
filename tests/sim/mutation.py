"""What a mutation is: one line of the protocol broken on purpose, and the worlds in which that must be noticed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import pytest

from leeward.agent.machine.machine import Machine
from leeward.core.settings import AgentSettings
from leeward.core.values import FailoverPolicy, ReplicationMode
from leeward.sim.faults import Fault, Kind
from leeward.sim.fleet import three
from leeward.sim.plan import Focus, Plan, draw

ASYNC = (ReplicationMode.ASYNC,)
QUORUM = (ReplicationMode.QUORUM,)
SAFE_MODES = (ReplicationMode.SYNC, ReplicationMode.QUORUM)

LOSSES = frozenset((Kind.REGION_LOSS, Kind.ISOLATION, Kind.REGION_FREEZE))
STALLS = frozenset((Kind.WATCH_STALL, Kind.PARTITION, Kind.SLOW_LINK))
SLOW = frozenset((Kind.SLOW_DISK, Kind.SLOW_LINK))
LAGS = LOSSES | {Kind.SLOW_REPLICA}
KILLS = frozenset((Kind.INSTANCE_KILL, Kind.DATABASE_CRASH))
UNHEARD = frozenset((Kind.FAILOVER, Kind.WATCH_STALL, Kind.SLOW_LINK))
"""An operator's failover that the old primary's agent reads about late."""

# Three regions that fail over by themselves, and soon: a long patience leaves little time for the rest.
PROMPT = Focus((3,), rtos_s=(5.0,), policies=(FailoverPolicy.AUTOMATIC,))


@dataclass(frozen=True, slots=True)
class Mutation:
    """What is broken, how, in which worlds to look, and in how many at most."""

    name: str
    apply: Callable[[pytest.MonkeyPatch], None]
    focus: Focus
    seeds: int = 60
    first: int = 0
    """Which of the seeds to try first: one that is known to find it saves time."""
    make: Callable[[AgentSettings, str], Machine] = Machine
    script: tuple[Fault, ...] = ()
    """When chance alone would take too long to get there: these faults, each at about its time."""
    rto_s: float = 5.0
    """Of the script's application."""

    def order(self) -> list[int]:
        """Return the seeds in the order they are tried."""
        return sorted(range(self.seeds), key=lambda seed: seed != self.first)

    def plan(self, seed: int) -> Plan:
        if not self.script:
            return draw(seed, self.focus)
        chance = Random(seed)
        return Plan(
            seed=seed,
            fleet=replace(three(chance.choice(self.focus.modes)), rto_s=self.rto_s),
            faults=tuple(replace(fault, at_s=fault.at_s + chance.uniform(0.0, 0.5)) for fault in self.script),
            triggered=(),
            injection_s=30.0,
            jitter=0.5,
            write_every_s=0.05,
        )
