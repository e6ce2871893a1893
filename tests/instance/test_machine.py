"""What an instance manager does next, and what it learns: one row, one sentence."""

from dataclasses import replace
from typing import Any

import pytest

from leeward.core.values import Basis, Order, RejoinMethod, Role, Unread, WalPosition
from leeward.instance.machine import steps as do
from leeward.instance.machine.acceptance import StaleOrderError, accept, check
from leeward.instance.machine.decide import decide
from leeward.instance.machine.lineage import Diverged
from leeward.instance.machine.outcomes import learn
from leeward.instance.machine.pace import ATTACHED_S, CONSISTENCY_S, FAILING_S, PATIENCE_S, WRITE_STALL_S
from leeward.instance.machine.values import Duty, Leaving, Memory, PendingRejoin, Proof, Situation, State
from tests.instance.situations import ANY_ONE, AP, EU, PRIMARY, US, leading, lineage, order, seen, situation

LEAD = order(Role.PRIMARY)
LEAD_SYNC = order(Role.PRIMARY, synchronous=ANY_ONE)
FOLLOW = order(Role.STANDBY, upstream=EU)
DETACH = order(Role.DETACHED)
STOP = order(Role.STOPPED)
DUTY = Duty(upstream=EU)
FORK = Diverged(90, True, "timeline 1 continues past the fork")
LEAVING = Leaving(EU, lineage((1, 100)), FORK, orphans_epoch=1)
ADMITTED = Memory(recorded_epoch=1, proved_epoch=1, admitted_epoch=1, written_at_s=100.0)


@pytest.mark.parametrize(
    ("given", "step"),
    [
        # -- the primary
        pytest.param(situation(LEAD, has_data=False, state=State()), None, id="lost data is no reason to create some"),
        pytest.param(situation(LEAD, duty=DUTY), do.Configure(Duty()), id="a promotion begins by leaving the upstream"),
        pytest.param(
            situation(LEAD, duty=Duty(admits=False)), do.CloseAdmission(), id="no session lives through a promotion"
        ),
        pytest.param(situation(LEAD, lease_s=0.0), None, id="without a lease it goes on serving readers"),
        pytest.param(
            situation(LEAD, closed=True, duty=Duty(admits=False)), do.Promote(), id="closed and leased it is promoted"
        ),
        pytest.param(
            situation(LEAD, memory=Memory(restart_closed=True)), do.Kill(), id="a session that stays costs a restart"
        ),
        pytest.param(
            situation(LEAD, running=False, seen=None, recovery_signal=False),
            do.Start(Duty(admits=False), recovery=False),
            id="a primary starts closed",
        ),
        pytest.param(
            situation(LEAD, running=False, seen=None, recovery_signal=False, lease_s=0.0), None, id="and leased"
        ),
        pytest.param(
            situation(LEAD, running=False, seen=None, lease_s=0.0),
            do.Start(Duty(admits=False), recovery=False),
            id="in recovery it starts without a lease",
        ),
        pytest.param(leading(LEAD), None, id="it stays closed before the record of its epoch"),
        pytest.param(
            leading(LEAD, memory=Memory(recorded_epoch=1)), do.Configure(Duty()), id="and admits after it in async"
        ),
        pytest.param(
            leading(LEAD_SYNC, memory=Memory(recorded_epoch=1)), None, id="not in sync before a commit was seen waiting"
        ),
        pytest.param(
            leading(LEAD_SYNC, memory=Memory(recorded_epoch=1, waited=Proof(1, ANY_ONE))),
            do.Configure(Duty(synchronous=ANY_ONE)),
            id="and after it",
        ),
        pytest.param(
            leading(LEAD_SYNC, memory=replace(ADMITTED, waited=None), duty=Duty(), closed=False),
            do.Configure(Duty(synchronous=ANY_ONE)),
            id="a change of mode ends no session",
        ),
        pytest.param(
            leading(order(Role.PRIMARY, epoch=2), memory=ADMITTED, duty=Duty(), closed=False),
            do.Configure(Duty(admits=False)),
            id="another epoch has a record of its own, and is closed before it",
        ),
        pytest.param(
            leading(LEAD, memory=ADMITTED, duty=Duty(), missing_slots=(AP,), stale_slots=("old",)),
            do.ProvideSlots((AP,), ("old",)),
            id="it keeps WAL for every replica, and for no other",
        ),
        # -- the standby
        pytest.param(situation(FOLLOW, has_data=False, running=False, seen=None), do.Copy(EU), id="without data: copy"),
        pytest.param(situation(FOLLOW, state=State(incomplete=True)), do.Kill(), id="half a copy is of no use"),
        pytest.param(
            situation(FOLLOW, may_write=True, recovery_signal=False, seen=PRIMARY),
            do.Kill(),
            id="a deposed primary is killed first",
        ),
        pytest.param(
            situation(FOLLOW, running=False, seen=None), do.Start(Duty(), recovery=True), id="it starts in recovery"
        ),
        pytest.param(
            situation(FOLLOW, running=False, seen=None, state=State(copied_from=EU)),
            do.Start(DUTY, recovery=True),
            id="fresh from a copy it has to stream to become consistent",
        ),
        pytest.param(situation(FOLLOW), do.Compare(EU), id="after a restart histories are compared before it streams"),
        pytest.param(
            situation(FOLLOW, memory=Memory(unbroken=True)), do.Configure(DUTY), id="one that was never apart attaches"
        ),
        pytest.param(
            situation(FOLLOW, memory=Memory(trusted=(1, EU)), duty=DUTY, streaming_from=EU), None, id="and streams"
        ),
        pytest.param(
            situation(FOLLOW, memory=Memory(trusted=(1, EU), idle_since_s=99.9), duty=DUTY),
            None,
            id="an upstream that is late is waited for",
        ),
        pytest.param(
            situation(FOLLOW, memory=Memory(trusted=(1, EU), idle_since_s=100.0 - PATIENCE_S), duty=DUTY),
            do.Compare(EU),
            id="for a while",
        ),
        pytest.param(
            situation(FOLLOW, memory=Memory(trusted=(1, EU)), duty=DUTY, wal_removed=True),
            do.Kill(),
            id="once the upstream lacks the WAL that follows, the data is replaced",
        ),
        pytest.param(
            situation(FOLLOW, memory=Memory(unbroken=True), duty=DUTY, wal_removed=True),
            do.Compare(EU),
            id="but only after the histories were compared",
        ),
        pytest.param(
            situation(FOLLOW, memory=Memory(foreign=True, unbroken=True, compare_after_s=105.0), duty=Duty()),
            None,
            id="another database replaces nothing",
        ),
        # -- giving up its own history
        pytest.param(situation(FOLLOW, memory=Memory(leaving=LEAVING), duty=DUTY), do.Cut(Duty()), id="leaving: cut"),
        pytest.param(
            situation(FOLLOW, memory=Memory(leaving=LEAVING)),
            do.SaveOrphans(LEAVING.own, 90, 1),
            id="then its own writes are saved",
        ),
        pytest.param(
            situation(FOLLOW, memory=Memory(leaving=replace(LEAVING, orphans_saved=True, stopped=True)), running=False),
            do.Rewind(EU),
            id="then it is rewound",
        ),
        pytest.param(
            situation(
                FOLLOW,
                memory=Memory(leaving=replace(LEAVING, orphans_saved=True, stopped=True, keep_data=True)),
                running=False,
            ),
            do.KeepData(1),
            id="unless the writes could not be saved: then nothing is overwritten",
        ),
        # -- serving no one
        pytest.param(situation(DETACH, duty=DUTY), do.Cut(Duty()), id="detached: cut"),
        pytest.param(situation(DETACH, may_write=True, recovery_signal=False), do.Kill(), id="a primary is killed"),
        pytest.param(situation(STOP, seen=PRIMARY), do.Checkpoint(), id="a primary stops after a checkpoint"),
        pytest.param(
            situation(DETACH, stopping=True), do.Stop(0.5), id="a stop that is called off cannot be taken back"
        ),
    ],
)
def test_the_next_step(given: Situation, step: do.Step | None) -> None:
    assert decide(given).step == step


def test_what_a_step_relies_on_is_in_the_state_that_is_written_first() -> None:
    promotion = decide(situation(LEAD, closed=True, duty=Duty(admits=False)))
    assert promotion.guarded
    assert promotion.state.writable_epoch == 1
    rewind = replace(LEAVING, orphans_saved=True, stopped=True)
    assert decide(situation(FOLLOW, memory=Memory(leaving=rewind), running=False)).state.incomplete


def test_a_primary_is_settled_once_its_epoch_is_proved_under_the_names_in_force() -> None:
    proved = replace(ADMITTED, waited=Proof(1, ANY_ONE))
    settled = leading(LEAD_SYNC, memory=proved, duty=Duty(synchronous=ANY_ONE), closed=False)
    assert decide(settled).settled
    assert decide(settled).prove is None
    changed = replace(settled, memory=replace(proved, waited=Proof(1, None)))
    assert not decide(changed).settled
    assert decide(changed).prove == Proof(1, ANY_ONE)


def test_names_that_change_and_change_back_are_shown_again() -> None:
    shown = replace(ADMITTED, waited=Proof(1, ANY_ONE))
    lax = decide(leading(LEAD, memory=shown, duty=Duty(synchronous=ANY_ONE), closed=False))
    assert lax.step == do.Configure(Duty())
    strict = leading(LEAD_SYNC, memory=lax.memory, duty=Duty(synchronous=ANY_ONE), closed=False)
    assert decide(strict).prove == Proof(1, ANY_ONE)
    assert not decide(strict).settled


def test_a_standby_without_its_state_file_may_have_led_the_newest_epoch_it_holds() -> None:
    forgot = situation(FOLLOW, seen=seen(epoch=3))
    forgot = replace(forgot, state=replace(forgot.state, initialised=False))
    assert decide(forgot).state.writable_epoch == 3
    remembers = situation(FOLLOW, seen=seen(epoch=3))
    assert decide(remembers).state.writable_epoch is None


def test_data_without_a_state_that_do_not_become_consistent_are_attached_to_the_upstream() -> None:
    """The copy that it was, and where from, is forgotten; without its source's WAL it never answers."""
    forgot = situation(FOLLOW, seen=None, duty=Duty())
    forgot = replace(forgot, state=replace(forgot.state, initialised=False), now_s=100.0)
    waits = decide(forgot)
    assert (waits.step, waits.problem) == (None, None)
    later = replace(forgot, memory=waits.memory, now_s=100.0 + CONSISTENCY_S)
    given_up = decide(later)
    assert given_up.step is None
    assert "cannot become consistent" in (given_up.problem or "")
    restarted = replace(later, memory=given_up.memory)
    assert decide(restarted).step == do.Kill()
    assert decide(replace(restarted, running=False)).step == do.Start(Duty(upstream=EU), recovery=True)
    answers = decide(replace(restarted, seen=seen(epoch=3), duty=Duty(upstream=EU)))
    assert (answers.memory.inconsistent, answers.state.writable_epoch) == (False, 3)
    knows = decide(replace(later, state=replace(later.state, initialised=True)))
    assert not knows.memory.inconsistent, (
        "with a state it is known to be no copy: recovery after a crash takes its time"
    )


def forgotten(**changes: Any) -> Situation:
    """Data without a state, attached to the upstream because it is not consistent alone."""
    base: dict[str, Any] = {"seen": None, "duty": DUTY, "memory": Memory(inconsistent=True, starting_since_s=90.0)}
    given = situation(FOLLOW, **(base | changes))
    return replace(given, state=replace(given.state, initialised=False))


@pytest.mark.parametrize(
    ("given", "unusable"),
    [
        pytest.param(forgotten(), False, id="the upstream's WAL is waited for"),
        pytest.param(forgotten(now_s=90.0 + CONSISTENCY_S), False, id="recovery after a crash takes its time"),
        pytest.param(forgotten(now_s=90.0 + ATTACHED_S), True, id="not for ever"),
        pytest.param(forgotten(now_s=500.0, streaming_from=EU), False, id="WAL that arrives makes it consistent"),
        pytest.param(forgotten(wal_removed=True), True, id="the upstream lacks that WAL (seed 1101027)"),
    ],
)
def test_data_without_a_state_that_postgresql_does_not_start_on_are_set_aside_and_copied(
    given: Situation, unusable: bool
) -> None:
    decision = decide(given)
    assert decision.memory.unusable is unusable
    if not unusable:
        return
    aside = replace(given, memory=decision.memory, running=False)
    assert decide(replace(aside, running=True)).step == do.Kill()
    assert decide(aside).step == do.SetAside()
    assert "does not start on the local data" in (decide(aside).problem or "")
    full_state, full = learn(aside.state, aside.memory, do.SetAside(), do.Failed("no room to keep the local data"), 1.0)
    again = decide(replace(aside, state=full_state, memory=full))
    assert (again.step, again.problem) == (do.SetAside(), "no room to keep the local data")
    state, memory = learn(aside.state, aside.memory, do.SetAside(), do.Kept("orphans/unusable-1.wal"), 1.0)
    assert decide(replace(aside, state=state, memory=memory)).step == do.Copy(EU)
    for known in (memory, Memory()):  # the manager may be started again before the copy is complete
        copied, after = learn(state, known, do.Copy(EU), do.Copied(1), 2.0)
        assert copied.set_aside == ""
        rejoined = decide(
            situation(FOLLOW, state=copied, memory=replace(after, trusted=(1, EU)), duty=DUTY, streaming_from=EU)
        ).memory.rejoined
        assert rejoined is not None
        assert "kept in orphans/unusable-1.wal" in rejoined.because


def test_data_without_a_state_that_end_whenever_they_are_started_are_given_up() -> None:
    """PostgreSQL exits each time, so between two looks it does not run."""
    given = replace(forgotten(memory=Memory(), running=False, duty=Duty()), now_s=100.0)
    for _ in range(1000):
        decision = decide(given)
        if decision.memory.unusable:
            break
        assert not decision.memory.inconsistent, "no answer, and no reason to stream into data that may hold orphans"
        given = replace(given, memory=decision.memory, now_s=given.now_s + 0.5)
    assert FAILING_S <= given.now_s - 100.0 <= FAILING_S + 1.0


@pytest.mark.parametrize("wanted", [FOLLOW, DETACH])
def test_a_standby_without_its_state_file_replays_all_it_has_before_it_counts_its_epochs(wanted: Order) -> None:
    """After a crash PostgreSQL answers when it is consistent; the record of its own epoch may follow."""
    behind = situation(wanted, seen=seen(received_lsn=None, epoch=1, replay_idle=False))
    behind = replace(behind, state=replace(behind.state, initialised=False))
    waits = decide(behind)
    assert (waits.activity, waits.step, waits.state.writable_epoch) == ("replaying", None, None)
    looks = replace(behind, seen=seen(received_lsn=None, epoch=2), memory=waits.memory)
    first = decide(looks)
    assert first.state.writable_epoch is None, "one look at an idle replay is not enough"
    assert decide(replace(looks, memory=first.memory)).state.writable_epoch == 2


def test_a_rewind_that_changed_nothing_leaves_the_data_as_good_as_it_was() -> None:
    """The upstream lost its volume before the rewind reached it: this copy was the last one (seed 1100818)."""
    leaving = replace(LEAVING, orphans_saved=True, stopped=True)
    rewinds = decide(situation(FOLLOW, memory=Memory(leaving=leaving), running=False))
    detached = replace(situation(DETACH), state=replace(rewinds.state, order=DETACH), running=False, seen=None)
    assert decide(detached).problem == "no complete local copy of the data"
    spared = decide(replace(detached, rewind_unchanged=True))
    assert spared.step == do.Start(Duty(), recovery=True)
    assert not spared.state.incomplete


def test_a_rewind_that_failed_is_not_tried_again_but_replaced_by_a_copy() -> None:
    """pg_rewind may fail for good, as when WAL before the fork was recycled; a copy replaces nothing until it ends."""
    leaving = replace(LEAVING, orphans_saved=True, stopped=True)
    given = situation(FOLLOW, memory=Memory(leaving=leaving), running=False)
    first = decide(given)
    assert first.step == do.Rewind(leaving.upstream)
    state, memory = learn(first.state, first.memory, do.Rewind(leaving.upstream), do.Failed("no such record"), 1.0)
    again = replace(given, state=state, memory=replace(memory, leaving=leaving), rewind_unchanged=True)
    assert decide(again).step == do.Copy(leaving.upstream)
    later = replace(FOLLOW, epoch=FOLLOW.epoch + 1)
    other = replace(again, state=replace(state, order=later, epoch=later.epoch))
    assert decide(other).step == do.Rewind(leaving.upstream), "another epoch's history may be another"


def test_what_was_judged_of_the_data_under_one_order_does_not_bind_the_next_one() -> None:
    """PostgreSQL may start under it, and then the data is not to be given up."""
    judged = Memory(unusable=True, inconsistent=True, starting_since_s=1.0, failing_since_s=2.0)
    state = replace(situation(FOLLOW).state, initialised=False)
    basis = Basis(revision=state.revision, accepted=state.accepted, incarnation="")
    _, memory = accept(state, judged, DETACH, basis, "")
    assert memory == replace(judged, unusable=False, inconsistent=False, starting_since_s=None, failing_since_s=None)
    began = situation(FOLLOW, memory=Memory(unusable=True))
    assert decide(began).step != do.SetAside(), "with a state the data is known to be whole"


def test_a_primary_that_commits_nothing_is_not_writable() -> None:
    quiet = leading(LEAD, memory=ADMITTED, duty=Duty(), closed=False)
    assert decide(quiet).check_writes
    assert not decide(quiet).memory.stalled
    late = replace(quiet, now_s=100.0 + WRITE_STALL_S + 0.1)
    assert decide(late).memory.stalled
    assert "no write was committed" in (decide(late).problem or "")


def test_a_primary_that_admits_no_one_yet_reports_what_it_waits_for() -> None:
    given = leading(LEAD_SYNC, memory=Memory(recorded_epoch=1, written_at_s=0.0))
    assert not decide(given).memory.stalled
    assert "not confirmed" in (decide(given).problem or "")
    assert "record of epoch 1" in (decide(leading(LEAD)).problem or "")


def test_writes_are_checked_while_the_configuration_changes() -> None:
    changing = decide(leading(LEAD_SYNC, memory=ADMITTED, duty=Duty(), closed=False))
    assert changing.step == do.Configure(Duty(synchronous=ANY_ONE))
    assert changing.check_writes


def test_detached_is_settled_when_all_that_arrived_is_replayed() -> None:
    assert decide(situation(DETACH)).settled
    restarted = situation(DETACH, seen=seen(received_lsn=None, replay_idle=False))
    assert not decide(restarted).settled, "more may be on the disk"
    idle = replace(restarted, seen=seen(received_lsn=None))
    first = decide(idle)
    assert not first.settled
    assert decide(replace(idle, memory=first.memory)).settled
    behind = situation(DETACH, seen=seen(replayed_lsn=90, replay_idle=False))
    assert not decide(behind).settled
    # What was received may end inside a record: replay that stands still for a while has done what it can.
    idle = situation(DETACH, seen=seen(replayed_lsn=90))
    first = decide(idle)
    assert not first.settled
    assert decide(replace(idle, memory=first.memory, now_s=101.0)).settled


def test_a_clean_stop_ends_with_the_position_of_the_last_record() -> None:
    stopping = situation(STOP, seen=PRIMARY, memory=Memory(checkpointed=True))
    decision = decide(stopping)
    assert decision.step == do.Stop(15.0)
    state, memory = learn(decision.state, decision.memory, do.Stop(15.0), do.Done(), 101.0)
    stopped = replace(stopping, state=state, memory=memory, running=False, seen=None)
    assert decide(stopped).step == do.ReadEnd()
    state, memory = learn(state, memory, do.ReadEnd(), do.EndRead(120), 101.0)
    ended = decide(replace(stopped, state=state, memory=memory))
    assert (ended.settled, ended.problem, ended.state.stopped_wal) == (True, None, WalPosition(1, 120))


def test_a_history_that_went_on_by_itself_is_left_with_its_writes_saved() -> None:
    state = State(order=FOLLOW, epoch=1, writable_epoch=1)
    ours, theirs = lineage((1, 100)), lineage((1, 90), (2, 120), epochs=(1, 2))
    _, memory = learn(state, Memory(), do.Compare(EU), do.Compared(ours, theirs), 100.0)
    assert memory.leaving is not None
    assert (memory.leaving.verdict.fork_lsn, memory.leaving.orphans_epoch) == (90, 1)
    state, memory = learn(state, memory, do.Rewind(EU), do.Copied(4096), 101.0)
    assert (state.copied_from, state.incomplete, state.writable_epoch) == (EU, False, None)
    streams = situation(FOLLOW, state=state, memory=replace(memory, trusted=(1, EU)), duty=DUTY, streaming_from=EU)
    rejoined = decide(streams).memory.rejoined
    assert rejoined is not None
    assert (rejoined.method, rejoined.copied_bytes) == (RejoinMethod.REWIND, 4096)


def test_what_cannot_be_read_is_kept_whole_where_the_disk_has_room() -> None:
    save, memory = do.SaveOrphans(LEAVING.own, 90, 1), Memory(leaving=LEAVING)
    _, after = learn(State(order=FOLLOW), memory, save, do.OrphansSaved(3, unread_tables=1, keep_data=True), 1.0)
    assert after.leaving == replace(LEAVING, orphans_saved=True, keep_data=True)


def test_how_it_came_back_says_what_was_not_read_and_why() -> None:
    save, memory = do.SaveOrphans(LEAVING.own, 90, 1), Memory(leaving=LEAVING, pending_rejoin=PendingRejoin("it led"))
    unread = Unread("public.big", "locked")
    state, memory = learn(State(order=FOLLOW), memory, save, do.OrphansSaved(3, 2, unread, keep_data=True), 1.0)
    memory = replace(memory, leaving=None, trusted=(1, EU), ordered_follow=(1, EU))
    streams = situation(FOLLOW, state=state, memory=memory, duty=DUTY, streaming_from=EU)
    rejoined = decide(streams).memory.rejoined
    assert rejoined is not None
    assert (rejoined.orphaned, rejoined.unread, rejoined.unread_first) == (3, 2, unread)


def test_nothing_is_overwritten_before_orphans_are_saved() -> None:
    save, memory = do.SaveOrphans(LEAVING.own, 90, 1), Memory(leaving=LEAVING)
    state, after = learn(situation(FOLLOW).state, memory, save, do.Failed("no room on the disk"), 1.0)
    again = decide(situation(FOLLOW, state=state, memory=after))
    assert (again.step, again.problem) == (save, "no room on the disk")


def test_a_region_that_was_once_an_upstream_is_remembered() -> None:
    left = situation(FOLLOW, state=State(upstreams=(AP, US)))
    assert decide(left).state.upstreams == (AP, EU, US)
    assert decide(situation(None)).state.upstreams == ()


BASIS = Basis(revision=5, incarnation="this", accepted=2)
TAKEN = State(epoch=3, order=order(Role.PRIMARY, epoch=3), revision=5, accepted=2)


@pytest.mark.parametrize(
    ("wanted", "basis"),
    [
        pytest.param(order(Role.STANDBY, epoch=2, upstream=EU), BASIS, id="an older epoch"),
        pytest.param(order(Role.DETACHED, epoch=3), replace(BASIS, revision=4), id="an older revision"),
        pytest.param(order(Role.DETACHED, epoch=4), replace(BASIS, incarnation="other"), id="another manager's"),
        pytest.param(order(Role.DETACHED, epoch=4), replace(BASIS, accepted=1), id="overtaken"),
    ],
)
def test_an_order_that_comes_too_late_is_refused(wanted: Order, basis: Basis) -> None:
    with pytest.raises(StaleOrderError):
        accept(TAKEN, Memory(), wanted, basis, "this")


def test_an_order_is_accepted_once_and_may_be_repeated() -> None:
    state, _ = accept(TAKEN, Memory(), order(Role.STOPPED, epoch=3), BASIS, "this")
    assert (state.accepted, state.revision, state.stood_down) == (3, 5, (3, 5))
    again, _ = accept(state, Memory(), order(Role.STOPPED, epoch=3), replace(BASIS, revision=6), "this")
    assert (again.accepted, again.revision) == (3, 6)


def test_an_order_that_differs_in_what_is_kept_for_others_leaves_what_is_under_way_alone() -> None:
    state, _ = accept(TAKEN, Memory(), order(Role.STOPPED, epoch=3), BASIS, "this")
    under_way = Memory(stalled=True)
    counted = order(Role.STOPPED, epoch=3, data_regions=(US, EU), acks_required=1)
    kept, memory = accept(state, under_way, counted, replace(BASIS, revision=6), "this")
    assert (kept.order, kept.accepted, kept.revision) == (counted, 3, 6)
    assert memory is under_way


def test_a_newer_order_tries_to_end_sessions_before_it_restarts_for_them() -> None:
    _, memory = learn(TAKEN, Memory(), do.CloseAdmission(), do.Failed("sessions do not end"), 100.0)
    assert memory.restart_closed
    _, repeated = accept(TAKEN, memory, order(Role.PRIMARY, epoch=3), BASIS, "this")
    assert repeated.restart_closed
    _, newer = accept(TAKEN, memory, order(Role.PRIMARY, epoch=4), BASIS, "this")
    assert not newer.restart_closed


def test_a_primary_that_stood_down_leads_again_only_under_another_revision() -> None:
    state, _ = accept(TAKEN, Memory(), order(Role.STOPPED, epoch=3), BASIS, "this")
    now = replace(BASIS, accepted=3)
    with pytest.raises(StaleOrderError):
        accept(state, Memory(), order(Role.PRIMARY, epoch=3), now, "this")
    led, _ = accept(state, Memory(), order(Role.PRIMARY, epoch=3), replace(now, revision=6), "this")
    assert led.order is not None
    assert led.order.role is Role.PRIMARY


def test_a_lease_is_held_to_the_same_rules_but_overtakes_no_order() -> None:
    check(TAKEN, 3, replace(BASIS, accepted=0), "this")
    for basis in (replace(BASIS, revision=4), replace(BASIS, incarnation="other")):
        with pytest.raises(StaleOrderError):
            check(TAKEN, 3, basis, "this")


def test_a_store_that_was_restored_counts_its_revisions_from_lower() -> None:
    state, _ = accept(TAKEN, Memory(), order(Role.DETACHED, epoch=4), replace(BASIS, revision=1), "this")
    assert (state.epoch, state.revision) == (4, 1)


def test_no_data_here_and_elsewhere_is_asked_for_first() -> None:
    empty = replace(situation(replace(LEAD, founding=True), has_data=False, running=False, seen=None))
    empty = replace(empty, state=replace(empty.state, initialised=False))
    assert decide(empty).step == do.AskNeighbours()
    for answers, step in (
        (((AP, False), (EU, False)), do.Initialise()),
        (((AP, False), (EU, True)), None),
        (((AP, None), (EU, False)), None),
    ):
        _, memory = learn(empty.state, Memory(), do.AskNeighbours(), do.NeighboursAnswered(answers), 100.0)
        assert decide(replace(empty, memory=memory)).step == step
    assert US not in empty.upstreams


def test_a_primary_that_lost_data_and_state_creates_no_database_whatever_its_neighbours_answer() -> None:
    empty = situation(LEAD, has_data=False, running=False, seen=None)
    lost = replace(empty, state=replace(empty.state, initialised=False))
    silent = Memory(neighbours=((AP, False), (EU, False)))
    for memory in (Memory(), silent):
        decision = decide(replace(lost, memory=memory))
        assert decision.step is None
        assert "already has a database" in (decision.problem or "")
