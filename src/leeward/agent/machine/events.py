"""What happened: facts in the past. The only way anything reaches the machine."""

from collections.abc import Mapping
from dataclasses import dataclass

from leeward.core.fast_frozen import fast_frozen
from leeward.core.store_members import StoreMember
from leeward.core.values import App, Asked, InstanceStatus, Promise, Region, ReplicationMode, Vantage
from leeward.ports.gateway import Address, Carried
from leeward.ports.quorum import Change, Outcome, Snapshot


@dataclass(frozen=True, slots=True)
class Woke:
    """Time passed."""


@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    """The store was read as of one revision; the watch goes on from there."""

    snapshot: Snapshot
    replaced: str | None = None
    """Why the store is not the same as before, as far as the connection to it shows."""


@fast_frozen
@dataclass(frozen=True, slots=True)
class StoreChanged:
    """The watch brought one more revision."""

    change: Change


@fast_frozen
@dataclass(frozen=True, slots=True)
class TransactionEnded:
    """A transaction's outcome; None: it is unknown whether it took effect."""

    transaction: int
    outcome: Outcome | None


@fast_frozen
@dataclass(frozen=True, slots=True)
class InstanceReported:
    """The instance manager answered."""

    app: App
    status: InstanceStatus


@dataclass(frozen=True, slots=True)
class InstanceLost:
    """The instance manager does not answer."""

    app: App
    because: str


@dataclass(frozen=True, slots=True)
class OrderEnded:
    """An order was accepted (its status came as an event of its own) or failed."""

    app: App
    accepted: bool


@fast_frozen
@dataclass(frozen=True, slots=True)
class Probed:
    """Another region's agent was asked whether it serves."""

    region: Region
    vantage: Vantage


@dataclass(frozen=True, slots=True)
class PromiseReceived:
    """Another agent sent its replica's promise directly; the store will have the same one."""

    promise: Promise


@dataclass(frozen=True, slots=True)
class PodsChanged:
    """The application's ready pods in this region."""

    app: App
    pods: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class RoutesApplied:
    """The gateway received its routes."""

    number: int


@dataclass(frozen=True, slots=True)
class PathsTried:
    """Every path of the gateway to another region was used: how each application's traffic is carried."""

    carried: Mapping[App, Carried]


@dataclass(frozen=True, slots=True)
class GatewayTried:
    """This region's gateway was asked as a user asks it."""

    problem: str | None
    """Why there was no answer; None: there was one."""


@dataclass(frozen=True, slots=True)
class StoreMembersSeen:
    """The members of the quorum store, as the agents that answered report them."""

    members: Mapping[Region, StoreMember]


@dataclass(frozen=True, slots=True)
class LeaderSeen:
    """Who leads the quorum store, as the local member reports."""

    leader: Region | None


@dataclass(frozen=True, slots=True)
class SwitchoverRequested:
    """An operator wants the primary elsewhere, without loss."""

    request: str
    app: App
    to: Region
    dry_run: bool = False
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class FailoverRequested:
    """An operator gives the primary up and wants another region to take over."""

    request: str
    app: App
    to: Region
    dry_run: bool = False
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class ModeRequested:
    """An operator wants another promise for acknowledged writes."""

    request: str
    app: App
    mode: ReplicationMode
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """An operator pauses automatic failover, or resumes it."""

    request: str
    app: App
    paused: bool
    asked: Asked | None = None


Request = SwitchoverRequested | FailoverRequested | ModeRequested | PauseRequested
Event = (
    Woke
    | SnapshotTaken
    | StoreChanged
    | TransactionEnded
    | InstanceReported
    | InstanceLost
    | OrderEnded
    | Probed
    | PromiseReceived
    | PodsChanged
    | RoutesApplied
    | PathsTried
    | GatewayTried
    | StoreMembersSeen
    | LeaderSeen
    | Request
)
