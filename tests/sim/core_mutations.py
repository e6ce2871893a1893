"""Breaks of the agents' decisions and of the timings they are compiled with, each found by random draws."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from leeward.agent.machine.outbox import Outbox
from leeward.core import (
    data_regions,
    election,
    failover,
    lease,
    membership,
    progress,
    reconfiguration,
    recovery,
    replication,
    switchover,
    timers,
)
from leeward.core.actions import Decision, Propose
from leeward.core.data_regions import Rule
from leeward.core.election import Choice
from leeward.core.progress import ProgressRecord
from leeward.core.timers import Patience
from leeward.core.values import (
    Heartbeat,
    InstanceStatus,
    Region,
    Topology,
)
from leeward.core.view import View
from leeward.ports.quorum import Compare
from leeward.sim.faults import Kind
from leeward.sim.plan import Focus
from tests.sim.mutation import ASYNC, KILLS, LAGS, LOSSES, PROMPT, QUORUM, SAFE_MODES, SLOW, UNHEARD, Mutation

Decide = Callable[[View, Topology], Decision]


def seen_as(change: Callable[[InstanceStatus, Topology], InstanceStatus]) -> Callable[[View, Topology], View]:
    """Return what lets decisions see another status of this region's instance than it reported."""

    def seen(view: View, topology: Topology) -> View:
        return view if view.instance is None else replace(view, instance=change(view.instance, topology))

    return seen


def steady_before_proved(patch: pytest.MonkeyPatch) -> None:
    """A primary is steady before the record of its epoch is where the mode demands it."""
    lead, proved = failover._lead, seen_as(lambda instance, _: replace(instance, proved=True))
    patch.setattr(failover, "_lead", lambda view, topology: lead(proved(view, topology), topology))


def stricter_before_postgres_obeys(patch: pytest.MonkeyPatch) -> None:
    """The topology promises a stricter mode as soon as it is asked for."""

    def change(view: View, topology: Topology) -> Decision | None:
        wanted = topology.requested_mode
        if wanted is None:
            return None
        required = data_regions.acks_required(wanted, len(topology.data_regions))
        changed = replace(topology, mode=wanted, acks_required=required, requested_mode=None)
        return Decision("promised at once", (Propose(changed, view.topology_revision, ()),))

    patch.setattr(failover, "_change_mode", change)


def laxer_after_postgres_obeys(patch: pytest.MonkeyPatch) -> None:
    """PostgreSQL obeys a laxer mode while the topology still promises the stricter one."""
    patch.setattr(data_regions, "strictest", lambda topology: topology.requested_mode or topology.mode)


def promise_without_the_cut(patch: pytest.MonkeyPatch) -> None:
    """A replica promises what it holds while it may still stream from the old primary."""
    patch.setattr(failover, "_detached", lambda instance: True)


def promise_before_the_epoch_is_accepted(patch: pytest.MonkeyPatch) -> None:
    """A replica promises before its instance would refuse an order of the old epoch."""
    promise = failover.promise
    accepted = seen_as(lambda instance, topology: replace(instance, epoch=topology.epoch))
    patch.setattr(failover, "promise", lambda view, topology: promise(accepted(view, topology), topology))


def never_give_up(patch: pytest.MonkeyPatch) -> None:
    """A database that does not accept writes keeps the primary."""
    lead = failover._lead
    patch.setattr(failover, "_lead", lambda view, topology: lead(replace(view, instance_silent_since_s=None), topology))


def reuse_the_epoch(patch: pytest.MonkeyPatch) -> None:
    """An election opens the epoch that is in force, not the next one, and the topology is believed all the same.

    The doubt about a store that went back stops the first half alone.
    """
    patch.setattr(recovery, "doubt", lambda view: None)
    patch.setattr(recovery, "next_epoch", lambda view: view.topology.epoch if view.topology is not None else 1)


def bump_no_fence(patch: pytest.MonkeyPatch) -> None:
    """A deposed primary's heartbeats go on to commit."""
    prepare = failover.depose

    def depose(view: View, topology: Topology, **given: object) -> Propose:
        return replace(prepare(view, topology, **given), bump_fence=None)  # type: ignore[arg-type]

    patch.setattr(failover, "depose", depose)


def without_compares(patch: pytest.MonkeyPatch, part: str) -> None:
    """Transactions no longer compare the keys that ``part`` occurs in."""
    transact = Outbox.transact

    def careless(out: Outbox, compares: Iterable[Compare], *given: object, **more: object) -> int:
        kept = tuple(compare for compare in compares if part not in compare.key)
        return transact(out, kept, *given, **more)  # type: ignore[arg-type]

    patch.setattr(Outbox, "transact", careless)


def replace_any_topology(patch: pytest.MonkeyPatch) -> None:
    """A topology replaces whatever is in force, not only the one it was decided on."""
    without_compares(patch, "/topology")


def heartbeat_under_any_fence(patch: pytest.MonkeyPatch) -> None:
    """A heartbeat commits under a fence that was bumped meanwhile."""
    without_compares(patch, "/fence")


def elect_without_who_holds_more(patch: pytest.MonkeyPatch) -> None:
    """A replica that promised more and is silent now is not waited for."""
    choose = election.choose

    def hasty(view: View, topology: Topology) -> Choice:
        choice = choose(view, topology)
        if choice.elected is not None or len(view.promises) + topology.acks_required < len(topology.data_regions):
            return choice
        heard = [promise for promise in view.promises.values() if view.alive(promise.region)]
        best = max(heard, key=lambda promise: promise.wal, default=None)
        return choice if best is None else Choice(best.region, "the others are silent")

    patch.setattr(election, "choose", hasty)


def elect_whom_an_operator_wants(patch: pytest.MonkeyPatch) -> None:
    """An operator's choice wins in every mode, whatever it lacks."""
    choose = election.choose

    def obey(view: View, topology: Topology) -> Choice:
        choice = choose(view, topology)
        wanted = topology.target
        return choice if choice.elected is None or wanted not in view.promises else Choice(wanted, "it was asked for")

    patch.setattr(election, "choose", obey)
    patch.setattr(election, "unfit", lambda view, topology, region: None)


def promote_without_the_handover(patch: pytest.MonkeyPatch) -> None:
    """A switchover's target promotes with what it holds."""
    patch.setattr(switchover, "holds_handover", lambda view, topology: True)
    patch.setattr(switchover, "lacks_handover", lambda view, topology: None)


def order_no_names(patch: pytest.MonkeyPatch) -> None:
    """A primary is ordered to wait for no standby, whatever is promised."""
    patch.setattr(replication, "synchronous", lambda view, topology: None)


def one_acknowledgement_fewer(patch: pytest.MonkeyPatch) -> None:
    """Where two standbys must acknowledge, PostgreSQL waits for one."""
    rule = data_regions.rule

    def fewer(topology: Topology, primary: Region) -> Rule | None:
        found = rule(topology, primary)
        return found if found is None or found.required < 2 else replace(found, required=found.required - 1)

    patch.setattr(data_regions, "rule", fewer)


def forget_the_change_of_data_regions(patch: pytest.MonkeyPatch) -> None:
    """The next set is in force before it holds what was acknowledged before it."""

    def finish(view: View, topology: Topology) -> Decision:
        return reconfiguration._in_force(view, topology, data_regions.next_set(topology))

    patch.setattr(reconfiguration, "_finish", finish)


def progress_stands_still(patch: pytest.MonkeyPatch) -> None:
    """The record of how far the primary was adds no time, so no replica is ever behind."""
    advance = progress.advance

    def still(record: ProgressRecord | None, region: Region, *given: object) -> ProgressRecord:
        found = advance(record, region, *given)  # type: ignore[arg-type]
        return replace(found, at_s=tuple(0.0 for _ in found.at_s))

    patch.setattr(progress, "advance", still)


def reopen_without_waiting(patch: pytest.MonkeyPatch) -> None:
    """After the store went back, the lease of a primary it does not know is not waited for."""
    reopen = recovery.reopen

    def at_once(view: View, because: str) -> Propose:
        proposal = reopen(view, because)
        return replace(proposal, topology=replace(proposal.topology, recovering=False))

    patch.setattr(recovery, "reopen", at_once)


def double_the_holders_lease(patch: pytest.MonkeyPatch) -> None:
    """A primary counts twice its lease from a heartbeat."""
    patch.setattr(lease, "holder_until_s", lambda sent_at_s, lease_s: sent_at_s + 2 * lease_s)


def margin_without_the_stop(patch: pytest.MonkeyPatch) -> None:
    """Observers allow for clocks that differ, and for no time that a kernel takes."""
    patch.setattr(timers, "margin_s", lambda lease_s: timers.DRIFT_BOUND * lease_s)


def a_lease_longer_than_the_wait(patch: pytest.MonkeyPatch) -> None:
    """Compiled settings let a primary write for longer than others wait, and heartbeats do not state it."""
    patience = timers.patience

    def longer(*given: float, **more: float) -> Patience:
        found = patience(*given, **more)  # type: ignore[arg-type]
        return replace(found, lease_s=found.takeover_s + 1.0)

    def unstated(heartbeat: Heartbeat, app: object) -> float:
        return 0.0

    patch.setattr(timers, "patience", longer)
    patch.setattr(lease, "stated_s", unstated)
    judge = membership.judge
    patch.setattr(
        membership,
        "judge",
        lambda view, region: judge(replace(view, app=replace(view.app, lease_s=view.app.takeover_s)), region),
    )


def the_lease_ignores_the_rpo(patch: pytest.MonkeyPatch) -> None:
    """In async a primary that is cut off may acknowledge for as long as the RTO lets others wait."""
    patch.setattr(timers, "CUT_OFF_SHARE", float("inf"))


MODES = frozenset((Kind.MODE,))
CHOICES = frozenset((Kind.FAILOVER, Kind.REGION_LOSS, Kind.INSTANCE_KILL, Kind.SLOW_REPLICA))
RESTORES = LOSSES | {Kind.STORE_RESTORE, Kind.STORE_WIPE}
PATIENT = replace(PROMPT, rtos_s=(60.0,), rtts_s=(0.004,), injections_s=(80.0,))

CORE_MUTATIONS = (
    Mutation("steady before proved", steady_before_proved, replace(PROMPT, modes=SAFE_MODES, kinds=LOSSES)),
    Mutation(
        "a stricter mode promised early",
        stricter_before_postgres_obeys,
        replace(PROMPT, kinds=MODES | {Kind.BUSY_CHECKPOINTER}),
    ),
    Mutation("a laxer mode obeyed early", laxer_after_postgres_obeys, replace(PROMPT, kinds=MODES)),
    Mutation("a promise without the cut", promise_without_the_cut, replace(PROMPT, modes=QUORUM, kinds=UNHEARD)),
    Mutation(
        "a promise before the epoch is accepted",
        promise_before_the_epoch_is_accepted,
        replace(PROMPT, modes=QUORUM, kinds=frozenset((Kind.FAILOVER, Kind.LATE_REQUEST))),
    ),
    Mutation(
        "an unwritable database is never given up", never_give_up, replace(PROMPT, kinds=frozenset((Kind.HUNG_DISK,)))
    ),
    Mutation("an epoch is used twice", reuse_the_epoch, replace(PROMPT, kinds=LOSSES)),
    Mutation("no fence is bumped", bump_no_fence, replace(PROMPT, modes=ASYNC, kinds=UNHEARD)),
    Mutation("any topology is replaced", replace_any_topology, replace(PROMPT, counts=(5,), kinds=LOSSES | UNHEARD)),
    Mutation("heartbeats under any fence", heartbeat_under_any_fence, replace(PROMPT, modes=ASYNC, kinds=UNHEARD)),
    Mutation(
        "who holds more is not waited for",
        elect_without_who_holds_more,
        replace(PROMPT, modes=QUORUM, kinds=CHOICES, triggered=6),
        seeds=120,
    ),
    Mutation(
        "an operator's choice always wins",
        elect_whom_an_operator_wants,
        replace(PROMPT, modes=SAFE_MODES, kinds=SLOW | {Kind.FAILOVER}),
    ),
    Mutation(
        "a switchover's end is not waited for",
        promote_without_the_handover,
        replace(PROMPT, modes=ASYNC, kinds=KILLS | {Kind.SWITCHOVER}, triggered=4),
    ),
    Mutation("a primary is ordered no names", order_no_names, replace(PROMPT, modes=SAFE_MODES, kinds=LOSSES)),
    Mutation("one acknowledgement fewer", one_acknowledgement_fewer, Focus((5,), SAFE_MODES, kinds=SLOW)),
    Mutation(
        "the next set is in force at once",
        forget_the_change_of_data_regions,
        Focus((3, 5), SAFE_MODES, kinds=SLOW | {Kind.DATA_REGIONS}),
    ),
    Mutation("progress stands still", progress_stands_still, replace(PROMPT, modes=ASYNC, kinds=LAGS)),
    Mutation(
        "a restored store is believed about leases",
        reopen_without_waiting,
        replace(PATIENT, kinds=RESTORES | {Kind.AGENT_KILL}),
    ),
    Mutation("a lease is twice as long", double_the_holders_lease, replace(PROMPT, kinds=LOSSES)),
    Mutation("no margin for the stop", margin_without_the_stop, replace(PROMPT, rtts_s=(0.004,), kinds=LOSSES)),
    Mutation("a lease longer than the wait", a_lease_longer_than_the_wait, replace(PROMPT, kinds=LOSSES)),
    Mutation(
        "the lease ignores the RPO",
        the_lease_ignores_the_rpo,
        replace(PATIENT, modes=ASYNC, kinds=frozenset((Kind.ISOLATION,))),
    ),
)
