"""What an agent sends to its own instance: its order, and how long it may write.

Always true: a lease is extended only for an instance that accepted an order as primary of the epoch in force, while
nothing indicates that the store went back, and only as far as a heartbeat that committed allows.
"""

from leeward.agent.machine import actions as do
from leeward.agent.machine.application import Application
from leeward.agent.machine.outbox import RETRY_S, Outbox
from leeward.core import lease, recovery, replication
from leeward.core.values import Role
from leeward.core.view import View


def order(app: Application, view: View, out: Outbox) -> None:
    """Order the instance to be what the topology requires, unless it is already or the order was sent."""
    wanted = replication.order(view)
    if wanted is None or app.instance is None or app.ordering is not None or app.instance.order == wanted:
        return
    if out.now_s < app.order_after_s:
        out.wake_by(app.order_after_s)
        return
    app.ordering = wanted
    out.actions.append(do.OrderInstance(app.settings.name, wanted, app.instance.basis(view.topology_revision)))


def ended(app: Application, out: Outbox, *, accepted: bool) -> None:
    """Take in that an order has ended; one that was rejected is not sent again at once."""
    app.ordering = None
    if not accepted:
        app.order_after_s = out.now_s + RETRY_S


def lost(app: Application) -> None:
    """Wait for no answer to an order: its instance manager does not answer."""
    app.ordering = None


def feed(app: Application, view: View, out: Outbox) -> None:
    """Let the primary write as long as this region's own lease lasts."""
    topology, instance = view.topology, view.instance
    if topology is None or topology.primary != view.me or instance is None or instance.order is None:
        return
    accepted = instance.order.role is Role.PRIMARY and instance.order.epoch == topology.epoch
    if not accepted or not view.may_write or recovery.doubt(view) is not None:
        return
    held = instance.lease_until_s is not None and view.writes_until_s <= app.fed_until_s
    if held or (view.writes_until_s <= app.fed_until_s and out.now_s < app.fed_at_s + RETRY_S):
        return
    app.fed_until_s, app.fed_at_s = view.writes_until_s, out.now_s
    until_s = lease.on_instance_clock_s(view.writes_until_s, instance, app.reported_at_s)
    basis = instance.basis(view.topology_revision)
    out.actions.append(do.ExtendLease(app.settings.name, topology.epoch, until_s, basis))
