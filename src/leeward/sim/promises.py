"""What was promised for each acknowledged write, by the topology in force, and whether it is kept at that moment.

The world is asked, never PostgreSQL's own setting: a server that obeys late acknowledges too early. A write that was
acknowledged under a laxer promise, or that the database's owner let go unprotected, is the only one that may be lost.

A replica's promise to an election is checked the same way: once it has promised what it holds under an epoch, it counts
for no later write of an older epoch. Otherwise the election, which reads the promise, would not find that write.
"""

from collections.abc import Mapping

from leeward.core.values import Promise, Region, ReplicationMode, Topology
from leeward.sim.clients import Acknowledged
from leeward.sim.region import Site
from leeward.sim.violation import ViolationError


class Promises:
    """Follows the topology, and holds every acknowledgement against it."""

    def __init__(self, sites: Mapping[Region, Site]) -> None:
        self.lax: set[str] = set()
        """Writes acknowledged by the primary alone, as async or their owner wanted."""
        self.waived: set[str] = set()
        """Those of them that their owner wanted so."""
        self._sites = sites
        self._by_epoch: dict[int, Topology] = {}
        self._promised: dict[Region, list[Promise]] = {}

    def promised(self, promise: Promise) -> None:
        """Take in what a replica promised, at the moment its agent counts it. Raises ViolationError.

        Its instance must refuse what an older epoch orders by then; one that lost its state file knows no epoch at all.
        """
        accepted = self._sites[promise.region].instances[promise.app].epoch
        if 0 < accepted < promise.epoch:
            raise ViolationError(
                f"{promise.region} promised epoch {promise.epoch}, and its instance has accepted epoch {accepted} only"
            )
        self._promised.setdefault(promise.region, []).append(promise)

    def forget(self) -> None:
        """The store went back: no election of its new history reads what was promised in the one before."""
        self._promised.clear()

    def _gave_up(self, region: Region, found: Acknowledged) -> bool:
        """Whether a replica had promised a later epoch without this write."""
        promises = self._promised.get(region, ())
        return any(promise.epoch > found.epoch and promise.wal.lsn < found.lsn for promise in promises)

    def committed(self, topology: Topology) -> None:
        """Take in a topology: the last one of its epoch is what its writes are acknowledged under."""
        self._by_epoch[topology.epoch] = topology

    def acknowledged(self, found: Acknowledged) -> None:
        """Check that a write is where it must be, at the moment it is acknowledged. Raises ViolationError."""
        topology = self._by_epoch[found.epoch]
        if found.waived:
            self.waived.add(found.key)
        else:
            self.waived.discard(found.key)
        if found.waived or topology.mode is ReplicationMode.ASYNC:
            self.lax.add(found.key)
            return
        self.lax.discard(found.key)
        # A standby that said so and lost its disk meanwhile did hold it.
        replicas = {region: self._sites[region].instances[topology.app] for region in topology.data_regions}
        history = replicas[found.by].postgres.history
        others = [region for region in replicas if region != found.by]
        holders = [
            region
            for region in others
            if (replicas[region].postgres.history.shares(history, found.lsn) or replicas[region].destroyed[found.key])
            and not self._gave_up(region, found)
        ]
        if len(holders) < topology.acks_required:
            raise ViolationError(
                f"{found.by} acknowledged {found.key} under epoch {found.epoch} at {found.committed_at_s:.3f} s, and "
                f"{', '.join(holders) or 'no standby'} holds it and counts for it: {topology.mode} promises "
                f"{topology.acks_required} of {', '.join(others)}"
            )
