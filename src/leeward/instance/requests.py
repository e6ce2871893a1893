"""The bodies of the instance manager's API."""

from dataclasses import dataclass

from leeward.core.values import Basis, Order


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
