"""What the machine wants done. The runtime performs each and reports back with an event."""

from dataclasses import dataclass

from leeward.core.fast_frozen import fast_frozen
from leeward.core.values import App, Basis, Order, Promise, Region
from leeward.ports.gateway import Route
from leeward.ports.quorum import Compare, Delete, Put


@fast_frozen
@dataclass(frozen=True, slots=True)
class Transact:
    """Run a transaction on the quorum store; answered by ``TransactionEnded``."""

    transaction: int
    compares: tuple[Compare, ...]
    changes: tuple[Put | Delete, ...]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class OrderInstance:
    """Give the local instance its order; answered by ``InstanceReported`` and ``OrderEnded``."""

    app: App
    order: Order
    basis: Basis


@fast_frozen
@dataclass(frozen=True, slots=True)
class ExtendLease:
    """Let the local primary write until ``until_s`` of the instance's own clock."""

    app: App
    epoch: int
    until_s: float
    basis: Basis


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask another region's agent whether it serves; answered by ``Probed``."""

    region: Region
    timeout_s: float


@dataclass(frozen=True, slots=True)
class SendPromise:
    """Send our promise to another agent directly. Best effort: the store has it too."""

    region: Region
    promise: Promise


@dataclass(frozen=True, slots=True)
class ApplyRoutes:
    """Make the gateway serve exactly these routes; answered by ``RoutesApplied``."""

    number: int
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class MoveLeader:
    """Hand the quorum store's leadership over."""

    to: Region


@dataclass(frozen=True, slots=True)
class ReadStore:
    """Take a new snapshot of the store and watch from there; answered by ``SnapshotTaken``."""


@dataclass(frozen=True, slots=True)
class ReportStoreRestored:
    """Write into the agent's log that the quorum store went back, and that its lease ended with that."""

    because: str


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer an operator's request."""

    request: str
    accepted: bool
    because: str
    ask_instead: Region | None = None
    """Another region's agent decides this."""


@dataclass(frozen=True, slots=True)
class LogDecision:
    """A sentence for the log: a decision that changed."""

    app: App
    because: str


@dataclass(frozen=True, slots=True)
class ReportDefect:
    """A decision of ours that breaks an invariant: it was not proposed. A fault in Leeward, whatever led to it."""

    app: App
    because: str


Action = (
    Transact
    | OrderInstance
    | ExtendLease
    | Probe
    | SendPromise
    | ApplyRoutes
    | MoveLeader
    | ReadStore
    | ReportStoreRestored
    | Reply
    | LogDecision
    | ReportDefect
)
