"""Which orders and leases an instance accepts: none older than what it has accepted before.

An order replaces the one before it, by compare-and-swap on how many were accepted; a request that hung, and arrives
after a later order, or at another manager than the one it was meant for, is void. Beyond that, an instance that was
ordered to stop being primary under one revision of the topology never becomes primary again under the same one.
"""

from dataclasses import replace

from leeward.core.values import Basis, Order, Role
from leeward.instance.machine.values import Memory, State


class StaleOrderError(Exception):
    """The order or the lease was decided on an older state than the instance has."""


def check(state: State, epoch: int, basis: Basis, incarnation: str) -> None:
    """Check that an order or a lease is not older than what was accepted. Raises StaleOrderError."""
    if epoch < state.epoch:
        raise StaleOrderError(f"epoch {epoch} is older than {state.epoch}")
    if epoch == state.epoch and basis.revision < state.revision:
        raise StaleOrderError(f"topology revision {basis.revision} is older than {state.revision}")
    if basis.incarnation != incarnation:
        raise StaleOrderError("it is addressed to an earlier instance manager process")


def accept(state: State, memory: Memory, order: Order, basis: Basis, incarnation: str) -> tuple[State, Memory]:
    """Make this the order in force. Raises StaleOrderError."""
    check(state, order.epoch, basis, incarnation)
    if order.same_task(state.order):
        # What is under way goes on.
        return replace(state, order=order, revision=basis.revision), memory
    if basis.accepted != state.accepted:
        raise StaleOrderError(f"it replaces order {basis.accepted}, but the instance is at order {state.accepted}")
    led = state.order is not None and state.order.role is Role.PRIMARY
    now = (order.epoch, basis.revision)
    if order.role is Role.PRIMARY and state.stood_down == now:
        raise StaleOrderError(f"already ordered to stop being primary under topology revision {basis.revision}")
    memory = replace(
        memory,
        settled=False,
        problem=None,
        restart_closed=False,
        undecided=None,
        foreign=False,
        leaving=None,
        neighbours=None,
        checkpointed=False,
        ended=None,
        compare_after_s=0.0,
        replay_idle_since=None,
        starting_since_s=None,
        failing_since_s=None,
        inconsistent=False,
        unusable=False,
    )
    state = replace(
        state,
        epoch=order.epoch,
        order=order,
        revision=basis.revision,
        accepted=state.accepted + 1,
        stood_down=now if led and order.role is not Role.PRIMARY else state.stood_down,
    )
    return state, memory
