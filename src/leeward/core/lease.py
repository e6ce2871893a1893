"""The lease: how an old primary is known to have stopped before a new one may start.

The holder counts from when it *sent* its last heartbeat that committed; an observer counts from when it
*saw* that heartbeat, and waits ``margin_s`` longer. A heartbeat is sent before it is seen, so the holder
has stopped first, whatever the store's leader did in between. (DESIGN.md, section 6; the idea is that of
Gray and Cheriton, "Leases", SOSP 1989, with the store's revisions in place of a file server.)

Always true: no clock is compared with another machine's clock. Rates may differ by what the margin covers.
Not here: the transaction that compares the heartbeat's revision (``failover``), which makes a heartbeat
that arrives late defeat the takeover.
"""

from leeward.core.settings import Timers
from leeward.core.values import InstanceStatus


def holder_until_s(sent_at_s: float, timers: Timers) -> float:
    """Return until when a committed heartbeat, sent at ``sent_at_s``, lets its region's primaries write."""
    return sent_at_s + timers.lease_s


def takeover_at_s(seen_at_s: float, timers: Timers) -> float:
    """Return from when an observer that saw the last heartbeat at ``seen_at_s`` may take over."""
    return seen_at_s + timers.lease_s + timers.margin_s


def on_instance_clock_s(until_s: float, status: InstanceStatus, received_at_s: float) -> float:
    """Return ``until_s`` of the agent's clock on the clock of an instance manager, never later than it is.

    The instance read its clock before the agent received it, so the difference is a lower bound of the
    true offset: the lease can only become shorter on the way.
    """
    return until_s + (status.clock_s - received_at_s)
