"""The lease: how an old primary is known to have stopped before a new one may start.

The holder counts from when it *sent* its last heartbeat that committed; an observer counts from when it
*saw* that heartbeat, waits at least as long, and a margin longer. A heartbeat is sent before it is seen, so the holder
has stopped first, whatever the store's leader did in between. (The idea is that of
Gray and Cheriton, "Leases", SOSP 1989, with the store's revisions in place of a file server.)

Each application has a lease of its own (``timers.patience``). A heartbeat states how long the leases are that rest on
it, so an observer with other settings, as while settings change, waits for the longer one.

Always true: no clock is compared with another machine's clock. Rates may differ by what the margin covers.
Not here: the transaction that compares the heartbeat's revision (``failover``), which makes a heartbeat
that arrives late defeat the takeover.
"""

from leeward.core import timers
from leeward.core.values import App, Heartbeat, InstanceStatus


def holder_until_s(sent_at_s: float, lease_s: float) -> float:
    """Return until when a committed heartbeat, sent at ``sent_at_s``, lets a primary with this lease write."""
    return sent_at_s + lease_s


def takeover_at_s(seen_at_s: float, waits_s: float) -> float:
    """Return from when an observer that saw the last heartbeat at ``seen_at_s`` may take over.

    ``waits_s`` is never shorter than the lease of whoever sent that heartbeat.
    """
    return seen_at_s + waits_s + timers.margin_s(waits_s)


def stated_s(heartbeat: Heartbeat, app: App) -> float:
    """Return the lease that a heartbeat states for an application's instance in its region; 0 when it has none."""
    report = heartbeat.apps.get(app)
    return report.lease_s if report is not None else 0.0


def on_instance_clock_s(until_s: float, status: InstanceStatus, received_at_s: float) -> float:
    """Return ``until_s`` of the agent's clock on the clock of an instance manager, never later than it is.

    The instance read its clock before the agent received it, so the difference is a lower bound of the
    true offset: the lease can only become shorter on the way.
    """
    return until_s + (status.clock_s - received_at_s)
