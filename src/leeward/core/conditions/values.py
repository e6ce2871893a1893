"""The values of conditions (``metav1.Condition``)."""

from dataclasses import dataclass
from enum import StrEnum


class Type(StrEnum):
    """What is reported. Every application has all of them from the start."""

    READY = "Ready"
    PRIMARY_WRITABLE = "PrimaryWritable"
    REPLICATING = "Replicating"
    DURABILITY_AS_PROMISED = "DurabilityAsPromised"
    OBJECTIVES_FEASIBLE = "ObjectivesFeasible"
    CAPACITY_SUFFICIENT = "CapacitySufficient"
    DISK_HAS_ROOM = "DiskHasRoom"
    GATEWAYS_CONNECTED = "GatewaysConnected"
    QUORUM_AVAILABLE = "QuorumAvailable"
    STORE_HAS_ROOM = "StoreHasRoom"
    STORE_BACKED_UP = "StoreBackedUp"
    CERTIFICATES_VALID = "CertificatesValid"
    LAST_DRILL_SUCCEEDED = "LastDrillSucceeded"
    PAUSED = "Paused"
    OBSERVING = "Observing"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Status(StrEnum):
    """Whether the condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


WORRYING = {
    Type.READY: Status.FALSE,
    Type.PRIMARY_WRITABLE: Status.FALSE,
    Type.REPLICATING: Status.FALSE,
    Type.DURABILITY_AS_PROMISED: Status.FALSE,
    Type.OBJECTIVES_FEASIBLE: Status.FALSE,
    Type.CAPACITY_SUFFICIENT: Status.FALSE,
    Type.DISK_HAS_ROOM: Status.FALSE,
    Type.GATEWAYS_CONNECTED: Status.FALSE,
    Type.QUORUM_AVAILABLE: Status.FALSE,
    Type.STORE_HAS_ROOM: Status.FALSE,
    Type.STORE_BACKED_UP: Status.FALSE,
    Type.CERTIFICATES_VALID: Status.FALSE,
    Type.LAST_DRILL_SUCCEEDED: Status.FALSE,
    Type.PAUSED: Status.TRUE,
    Type.STALLED: Status.TRUE,
}
"""The status of a type that a person should see. ``Reconciling`` never worries: it ends by itself, or is stalled."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One state of one application, as one agent knows it."""

    type: Type
    status: Status
    reason: str
    """CamelCase; each stands in the catalogue."""
    message: str
    """Because: a sentence for people. It may change while the state does not."""
