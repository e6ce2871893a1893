"""The running fleet that an operator acts on, wherever it runs."""

from typing import TYPE_CHECKING, Protocol

from leeward.operate.agents import Agents

if TYPE_CHECKING:
    from leeward.adapters.kubernetes.client import KubernetesCluster
    from leeward.world.model import WorldInfo


class Fleet(Protocol):
    """What operations need of a fleet: its agents, and the API servers of its regions.

    ``operate.worlds.WorldFleet`` is that of a world. A fleet of clusters has its own way to both: an address of each
    agent and a kubeconfig context of each cluster.
    """

    @property
    def name(self) -> str:
        """The fleet's name, as in its file."""

    @property
    def regions(self) -> tuple[str, ...]:
        """Its regions' names, in the order of the file."""

    @property
    def world(self) -> "WorldInfo | None":
        """Processes and addresses on this machine, where the fleet is a world."""

    def agents(self) -> Agents:
        """Return a client of every region's agent, with the operator's identity. Raises OperationError."""

    def cluster(self, region: str) -> "KubernetesCluster":
        """Return the API server of a region. Raises ProblemsError for an unknown one."""

    async def refreshed(self) -> "Fleet":
        """Return the fleet as it is now. Raises ProblemsError when it no longer exists."""
