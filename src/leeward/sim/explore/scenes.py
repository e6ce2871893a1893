"""What is explored: which faults, of which there are how many, in which mode. Pure."""

from typing import NamedTuple

from leeward.agent.machine.machine import Machine
from leeward.core.values import ReplicationMode
from leeward.sim.explore import small
from leeward.sim.explore.agents import MachineFactory
from leeward.sim.explore.search import Explored, explore
from leeward.sim.explore.transitions import Kinds
from leeward.sim.explore.world import Budget

TICKS = 12
"""Long enough for a takeover (four ticks of silence), an election, a promotion, and what is late for it."""


class Scene(NamedTuple):
    """One bounded question."""

    name: str
    mode: ReplicationMode
    kinds: Kinds
    budget: Budget
    ticks: int = TICKS
    before: tuple[tuple[str, int], ...] = ()
    """What happens first, in no other order than this: a fault, "MODE" or "write", each with the ticks after it."""

    def explored(self, *, limit: int, make: MachineFactory = Machine, liveness: bool = True) -> Explored:
        """Look at every world of it, as far as ``limit`` transitions lead."""
        setting = small.setting(self.mode, make=make)
        first = small.prepared(setting, small.founded(setting), self.before, self.budget)
        return explore(setting, first, self.kinds, ticks=self.ticks, limit=limit, liveness=liveness)


ASYNC, SYNC, QUORUM = ReplicationMode.ASYNC, ReplicationMode.SYNC, ReplicationMode.QUORUM
ONE = Budget(faults=1, writes=1)
CUT_AND_SUCCEEDED = (("isolate:us", 0), ("write", 8))
US_DIES = (("write", 0), ("crash:us", 3))
LATE_ORDER = (("late:us", 0), ("async", 3), ("switchover:eu", 0))
"""The order to a primary that no longer waits for standbys hangs; it is asked again, and hands over."""

# The whole space under the bound is looked at.
COMPLETE = (
    Scene("us dies", SYNC, Kinds(("crash:us",), heals=False), Budget(faults=1), ticks=8),
    Scene("a watch stalls", QUORUM, Kinds(("stall",)), ONE),
    Scene("no WAL arrives", QUORUM, Kinds(("lag",)), ONE),
    Scene("an operator switches over", SYNC, Kinds((), ("switchover:eu",)), Budget(requests=1), ticks=4),
    Scene("a laxer mode, checkpointer busy", QUORUM, Kinds(("busy:us",), ("async",)), Budget(1, 1, 1), ticks=3),
    Scene("a stricter mode, checkpointer busy", ASYNC, Kinds(("busy:us",), ("sync",)), Budget(1, 1, 1), ticks=3),
    Scene("an old primary returns", QUORUM, Kinds(()), Budget(writes=1), 5, CUT_AND_SUCCEEDED),
    Scene(
        "an old primary returns, and dies", ASYNC, Kinds(("kill:us",), until_tick=4), Budget(1), 5, CUT_AND_SUCCEEDED
    ),
)
# As far as the limit leads.
BOUNDED = (
    Scene("a region dies", SYNC, Kinds(("crash",)), ONE),
    Scene("an agent dies", SYNC, Kinds(("agent-crash",)), ONE),
    Scene("a region is cut off", SYNC, Kinds(("isolate",)), ONE),
    Scene("transactions are slow", SYNC, Kinds(("slow",)), ONE),
    Scene("a clock is slow, a region dies", ASYNC, Kinds(("drift", "crash"), until_tick=2), Budget(2, 0, 0)),
    Scene("an operator fails over", ASYNC, Kinds(("stall",), ("failover",)), Budget(1, 1, 1)),
    Scene("a region dies at a switchover", ASYNC, Kinds(("crash",), ("switchover",)), Budget(1, 1, 1)),
    Scene("a manager dies", QUORUM, Kinds(("kill",), until_tick=4), Budget(faults=1), 9, US_DIES),
    Scene("steps take long", QUORUM, Kinds(("hang",), until_tick=4), Budget(faults=1), 9, US_DIES),
    Scene(
        "an order is late", SYNC, Kinds(("agent-crash:us",), until_tick=2, heals=False), Budget(1, 0, 1), 2, LATE_ORDER
    ),
)
