"""What is simulated of one application: its users, what they were promised, and every check of it.

An agent looks after several applications; a fault of one must not affect another.
"""

from collections.abc import Callable, Mapping

from leeward.core import keys
from leeward.core.codec import decode
from leeward.core.values import Region, Topology
from leeward.ports.quorum import Change
from leeward.sim import checkers
from leeward.sim.checkers import Writers
from leeward.sim.clients import Acknowledged, Client, Ledger
from leeward.sim.fleet import Fleet
from leeward.sim.losses import Losses
from leeward.sim.promises import Promises
from leeward.sim.region import Site


class Application:
    """Follows the topology of one application and every acknowledgement it gives."""

    def __init__(self, fleet: Fleet, sites: dict[Region, Site]) -> None:
        self.fleet = fleet
        self.app = fleet.app
        self.ledger = Ledger()
        self.writers = Writers()
        self.acknowledgements: list[Acknowledged] = []
        self.promises = Promises(sites)
        self.losses = Losses(fleet, sites, self.acknowledgements, self.promises)
        self.clients: list[Client] = []
        self.topology: Topology | None = None
        """The one in force."""
        self.on_topology: Callable[[Topology], None] = lambda topology: None
        """Called with every topology that is committed."""
        self.placement = fleet.data_regions
        """The data regions that the files name."""
        self._sites = sites
        self._key = keys.topology("simulated", fleet.app)

    def committed(self, change: Change, replaced: Mapping[str, str]) -> None:
        """Check a topology at the moment it is committed in place of another one. Raises ViolationError."""
        value = change.entries.get(self._key)
        if value is None:
            return
        topology = decode(Topology, value)
        # A store that went back may hold another one than that which was committed last.
        stored = replaced.get(self._key)
        checkers.check_invariants(None if stored is None else decode(Topology, stored), topology)
        checkers.check_withheld(self.topology, topology, self.fleet.failover)
        checkers.check_deposed(self._sites, topology)
        checkers.check_steady(self._sites, self.topology, topology)
        if self.topology is not None and set(topology.data_regions) != set(self.topology.data_regions):
            # What was acknowledged last is where WAL ends that elections must find.
            for found in self.acknowledgements[-1:]:
                if found.key not in self.promises.lax:
                    checkers.check_promised(self._sites, topology, found)
        self.topology = topology
        self.promises.committed(topology)
        self.losses.committed(topology)
        self.on_topology(topology)

    def acknowledged(self, found: Acknowledged) -> None:
        """Check a write at the moment it is acknowledged. Raises ViolationError."""
        self.acknowledgements.append(found)
        self.writers.saw(found)
        self.promises.acknowledged(found)
