"""What each election lost, measured in the world's truth when it is decided, and held against the RPO.

Checked at every election: in sync and quorum it loses nothing that was promised, in async no more than the RPO. Only
the election that an operator asked for is left out of the RPO, because whoever names a replica accepts what it lacks.
"""

from collections.abc import Mapping

from leeward.core.values import Phase, Region, ReplicationMode, Topology
from leeward.sim import checkers
from leeward.sim.clients import Acknowledged
from leeward.sim.fleet import Fleet
from leeward.sim.promises import Promises
from leeward.sim.region import Site
from leeward.sim.violation import ViolationError


class Losses:
    """Follows the topology, and what was acknowledged before each election."""

    def __init__(
        self, fleet: Fleet, sites: Mapping[Region, Site], acknowledged: list[Acknowledged], promises: Promises
    ) -> None:
        self._rpo_s, self._unseen_s = fleet.rpo_s, checkers.unseen_s(fleet)
        self._sites = sites
        self._acknowledged = acknowledged
        self._promises = promises
        self._lost: set[str] = set()
        self.accepted: set[str] = set()
        """What elections in async lost: they may."""
        self.asked: set[str] = set()
        """What elections lost that an operator asked for."""
        self._epoch = 0
        self._disk_lost: int | None = None
        """The epoch of an election whose winner lost its disk after it had promised."""
        self._planned = 0
        """The epoch under which the last planned change hands over."""

    def committed(self, topology: Topology) -> None:
        """Measure what an election or a planned change loses. Raises ViolationError."""
        self._check_handover(topology)
        if topology.primary is None or not self._decides(topology):
            return
        instance = self._sites[topology.primary].instances[topology.app]
        if topology.phase is Phase.PROMOTING and not instance.hands.has_data:
            # It cannot serve without data. What it serves with in the end, if it does, is what the election lost.
            self._disk_lost = topology.epoch
            return
        self._epoch = topology.epoch
        history = instance.postgres.history
        spans_s: dict[int, tuple[float, float]] = {}
        relaxed = topology.mode is ReplicationMode.ASYNC
        for found in self._acknowledged:
            if found.key in self._lost or history.holds(found.key):
                continue
            if relaxed:
                self.accepted.add(found.key)
            if topology.request is not None:
                self.asked.add(found.key)
            if found.waking:
                continue
            self._lost.add(found.key)
            if not relaxed and found.key not in self._promises.lax:
                raise ViolationError(
                    f"{topology.primary} was elected under epoch {topology.epoch} in {topology.mode} without "
                    f"{found.key}, acknowledged by {found.by} under epoch {found.epoch} at {found.committed_at_s:.3f} s"
                )
            first_s, last_s = spans_s.get(found.epoch, (found.committed_at_s, found.committed_at_s))
            spans_s[found.epoch] = min(first_s, found.committed_at_s), max(last_s, found.committed_at_s)
        if not relaxed or topology.request is not None:
            return
        lost_s = sum(last_s - first_s for first_s, last_s in spans_s.values())
        bound_s = self._rpo_s + self._unseen_s * max(1, len(spans_s))
        if lost_s > bound_s:
            raise ViolationError(
                f"{topology.primary} was elected under epoch {topology.epoch} and lacks {lost_s:.1f} s of acknowledged "
                f"writes; {bound_s:.1f} s are allowed (RPO {self._rpo_s:g} s)"
            )

    def _decides(self, topology: Topology) -> bool:
        """Return whether an election ends with this topology, so that what it lost can be measured."""
        if topology.epoch <= self._epoch:
            return False
        if topology.phase is Phase.STEADY:
            return topology.epoch == self._disk_lost
        return topology.phase is Phase.PROMOTING and topology.handover_lsn is None and topology.epoch > 1

    def _check_handover(self, topology: Topology) -> None:
        """A planned change loses nothing in any mode: its target is steady with all that was acknowledged before."""
        if topology.phase is Phase.PROMOTING and topology.handover_lsn is not None:
            self._planned = topology.epoch
        if topology.phase is not Phase.STEADY or topology.epoch != self._planned or topology.primary is None:
            return
        self._planned = 0
        instance = self._sites[topology.primary].instances[topology.app]
        if not instance.hands.has_data:
            # Its disk was lost since it was steady, before the store had that.
            return
        history = instance.postgres.history
        for found in self._acknowledged:
            if found.key not in self._lost and not found.waking and not history.holds(found.key):
                raise ViolationError(
                    f"{topology.primary} took over as planned under epoch {topology.epoch} without {found.key}, "
                    f"acknowledged by {found.by} under epoch {found.epoch} at {found.committed_at_s:.3f} s"
                )
