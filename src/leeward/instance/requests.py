"""The bodies and headers of the instance manager's API."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from leeward.core.values import Basis, Order

VERSION = "X-Version"
"""Of an answer: the version of the status, which the next request may wait for."""
REFUSED = "X-Refused"
"""Of an answer: ``Refused``, beside the status, since no decision depends on it."""


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """The body of PUT /v1/order."""

    order: Order
    basis: Basis


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """The body of PUT /v1/lease."""

    epoch: int
    until_s: float
    basis: Basis


@dataclass(frozen=True, slots=True)
class Refused:
    """How many clients the manager has refused since its start, by reason (``kit.http.handshakes.Reason``)."""

    counts: Mapping[str, int] = field(default_factory=dict)
