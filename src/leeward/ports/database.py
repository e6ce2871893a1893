"""One region's instance of an application's database, through its instance manager."""

from collections.abc import AsyncIterator
from typing import Protocol

from leeward.core.values import Basis, InstanceStatus, Order


class InstanceUnavailableError(Exception):
    """The instance manager did not answer in time."""


class StaleError(Exception):
    """The instance knows something newer than the order or the lease was decided on; it is refused."""


class Database(Protocol):
    """Send it orders and leases; watch its status. Orders are levels: repeat them freely."""

    async def status(self, *, timeout_s: float) -> InstanceStatus:
        """Return the status now. Raises InstanceUnavailableError."""
        ...

    def changes(self) -> AsyncIterator[InstanceStatus]:
        """Yield a status at once and whenever it changes, and at least every second. Ends only when closed;

        raises InstanceUnavailableError when the instance manager is gone (call again to reconnect).
        """
        ...

    async def order(self, order: Order, *, basis: Basis, timeout_s: float) -> InstanceStatus:
        """Accept an order; it settles later. Raises StaleError, InstanceUnavailableError.

        Refused: an older epoch, or an older revision of the topology, than accepted before; another manager than the
        one it is addressed to; an order that another one has overtaken.
        """
        ...

    async def lease(self, epoch: int, until_s: float, *, basis: Basis, timeout_s: float) -> InstanceStatus:
        """Let a primary of ``epoch`` accept writes until ``until_s`` of the *instance's* boot clock.

        Never shortens a lease of the same epoch. Refused like an order, but for one that was overtaken.
        Raises StaleError, InstanceUnavailableError.
        """
        ...
