"""The region's gateway: where users' requests and database connections go."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from leeward.core.fast_frozen import fast_frozen
from leeward.core.values import App, Region

CLUSTER_SET = "svc.clusterset.local"
"""What names of services end with that several clusters offer together (the multi-cluster services API)."""


class GatewayUnavailableError(TimeoutError):
    """The gateway did not confirm in time. What was asked stands: it follows as soon as it can."""


@fast_frozen
@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens."""

    host: str
    port: int


@fast_frozen
@dataclass(frozen=True, slots=True)
class Route:
    """How this region's gateway treats one application.

    Requests that change something (any method but GET, HEAD, OPTIONS) go to the pods beside the primary, or to those
    of ``stand_in``; the others stay here while ``pods`` has a ready one, and go to ``fallbacks`` in order otherwise.
    """

    app: App
    epoch: int
    pods: tuple[Address, ...] | None
    """Ready pods of this region; None: not known, the gateway keeps those it has."""
    instance: Address | None
    """This region's PostgreSQL; None where there is no replica."""
    primary: Region | None
    """Where writes and the database's primary route go; None: nowhere, answer 503 at once."""
    fallbacks: tuple[Region, ...] = ()
    """Other regions fit to serve, nearest first."""
    stand_in: Region | None = None
    """Whose pods take the writes while none is ready where the primary is; None: the primary's."""

    @property
    def writers(self) -> Region | None:
        """The region whose pods take the writes; None: no region's."""
        return self.stand_in or self.primary


@dataclass(frozen=True, slots=True)
class Exported:
    """How this region's gateway treats one exported service: nearest first, and only regions that export it."""

    name: str
    namespace: str
    pods: tuple[Address, ...]
    """Ready pods of this region; none where it does not export the service."""
    fallbacks: tuple[Region, ...]
    """Other regions that export it and have a ready pod, nearest first."""

    @property
    def host(self) -> str:
        """The name it goes by in every cluster of the fleet."""
        return f"{self.name}.{self.namespace}.{CLUSTER_SET}"


@dataclass(frozen=True, slots=True)
class Carried:
    """How this region's gateway carries one application's traffic at this moment."""

    broken: Mapping[Region, str] = field(default_factory=dict)
    """Where it does not, and why; this region's own name: a limit of the gateway itself is reached."""
    overflows: int = 0
    """Connections and requests that it refused since it started, because a limit was reached."""
    limit_used: float = 0.0
    """The part of its limit that the fullest of its clusters uses: 1 refuses."""


class Gateway(Protocol):
    """Configuration as a level: the whole of it, each time."""

    async def apply(
        self, routes: tuple[Route, ...], services: tuple[Exported, ...] | None = (), *, timeout_s: float
    ) -> None:
        """Make the gateway serve exactly these routes and exported services; return when it does.

        ``services``: None where they are not known: the gateway keeps those it has.
        Raises GatewayUnavailableError.

        Connections on the primary route that lead to a region that is no longer the primary are closed.
        """
        ...

    async def carried(self, *, timeout_s: float) -> Mapping[App, Carried]:
        """Use every path to the other regions once, and return how each application's traffic is carried.

        Raises GatewayUnavailableError when the gateway does not answer at all.
        """
        ...

    async def users_problem(self, *, timeout_s: float) -> str | None:
        """Return why users get no answer at their port; None while they do. Never raises."""
        ...
