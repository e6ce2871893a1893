"""Single decisions about a topology; one row, one sentence of the protocol."""

from dataclasses import replace

import pytest

from leeward.core import failover
from leeward.core.actions import GivePromise, Propose
from leeward.core.progress import Progress
from leeward.core.values import InstanceStatus, Order, Phase, Region, ReplicationMode, Role, Topology
from leeward.core.view import Seen, View
from tests.core.views import (
    AP,
    DOWN,
    EU,
    LEASE_S,
    REGIONS,
    US,
    electing,
    lost_view,
    promise,
    report,
    seen,
    sender,
    status,
    topology,
    view,
    wal,
)


def proposed(given: View) -> Topology | None:
    """The topology that the decision proposes, if it proposes one."""
    proposals = [action for action in failover.decide(given).actions if isinstance(action, Propose)]
    assert len(proposals) <= 1
    return proposals[0].topology if proposals else None


def all_fresh(**answers: bool) -> dict[Region, Seen]:
    """What instances without an epoch say in all three regions."""
    fresh = {r: report(Role.STOPPED, epoch=0, wal=None, answers=answers.get(r, True)) for r in (US, EU, AP)}
    return {region: seen(region, 100.0, report_=each) for region, each in fresh.items()}


def test_the_preferred_region_founds_the_application_once_its_instance_answers() -> None:
    fresh = status(Role.STOPPED, epoch=0, lsn=0)
    new = {"topology": None, "topology_revision": 0, "declared": REGIONS, "instance": fresh, "seen": all_fresh()}
    assert proposed(view(US, **(new | {"instance": None}))) is None
    assert proposed(view(EU, **new)) is None
    founded = proposed(view(US, **new))
    assert founded is not None
    assert (founded.epoch, founded.phase, founded.primary) == (1, Phase.PROMOTING, US)


@pytest.mark.parametrize("declared", [None, (US, EU)])
def test_one_agent_alone_founds_nothing_that_the_other_regions_do_not_name(declared: tuple[Region, ...] | None) -> None:
    decision = failover.decide(view(US, topology=None, topology_revision=0, declared=declared))
    assert decision.actions == ()
    assert decision.because.startswith("waiting ")


def test_prepare_deposes_and_fences_in_one_transaction_that_a_late_heartbeat_defeats() -> None:
    (action,) = failover.decide(lost_view()).actions
    assert isinstance(action, Propose)
    assert action.topology.phase is Phase.ELECTING
    assert (action.topology.epoch, action.topology.primary, action.topology.deposed) == (2, None, US)
    assert action.topology.deposed_fence == 7
    assert action.bump_fence == US
    assert action.unless_heard == (US, 10)
    assert action.expected_revision == 5


@pytest.mark.parametrize("phase", [Phase.STEADY, Phase.PROMOTING, Phase.SWITCHING])
def test_a_lost_primary_is_deposed_in_every_phase(phase: Phase) -> None:
    target = EU if phase is Phase.SWITCHING else None
    found = proposed(lost_view(topology=topology(phase=phase, target=target)))
    assert found is not None
    assert (found.phase, found.target) == (Phase.ELECTING, None)


def test_a_region_elected_just_now_is_not_deposed_for_the_silence_before_it() -> None:
    """It was cut off, returned during the election, and its next heartbeat is on its way."""
    decision = failover.decide(lost_view(topology=topology(phase=Phase.PROMOTING), topology_seen_at_s=99.9))
    assert decision.actions == ()
    assert decision.retry_at_s == pytest.approx(99.9 + failover.ELECTED_LEASES * LEASE_S)
    later = lost_view(topology=topology(phase=Phase.PROMOTING), topology_seen_at_s=100 - LEASE_S / 2)
    assert proposed(later) is not None


def test_a_paused_application_is_left_alone() -> None:
    decision = failover.decide(lost_view(topology=topology(paused=True)))
    assert decision.actions == ()
    assert "paused" in decision.because


def test_nothing_happens_while_the_lease_runs() -> None:
    assert proposed(lost_view(silent_s=LEASE_S - 0.1)) is None


# -- elections ------------------------------------------------------------------------------------

SYNC, QUORUM, ASYNC = ReplicationMode.SYNC, ReplicationMode.QUORUM, ReplicationMode.ASYNC
CUT = status(Role.DETACHED, epoch=2)


def election(me: Region, mode: ReplicationMode, *promises: object, **changes: object) -> View:
    given = {p.region: p for p in promises}  # type: ignore[attr-defined]
    return lost_view(me, topology=electing(mode=mode), promises=given, instance=CUT, topology_seen_at_s=99.9, **changes)


@pytest.mark.parametrize(
    ("mode", "promises", "winner"),
    [
        pytest.param(SYNC, [promise(EU), promise(AP)], EU, id="equals: the favourite"),
        pytest.param(SYNC, [promise(EU, 100), promise(AP, 101)], AP, id="the most WAL wins"),
        pytest.param(SYNC, [promise(EU, 999), promise(AP, 5, wal_epoch=2)], AP, id="a later epoch beats a higher LSN"),
        pytest.param(SYNC, [promise(EU)], None, id="sync: R + W > N fails with one of two standbys"),
        pytest.param(QUORUM, [promise(AP)], None, id="quorum: the same"),
        pytest.param(QUORUM, [promise(EU), promise(US)], EU, id="the deposed one counts once it promised"),
        pytest.param(SYNC, [promise(EU, 5), promise(AP, 9, healthy=False)], None, id="sync: never behind the most"),
        pytest.param(ASYNC, [promise(EU, 5), promise(AP, 9, healthy=False)], EU, id="async: the best that is fit"),
        pytest.param(ASYNC, [promise(EU)], None, id="async: wait for the replica that is alive"),
        pytest.param(ASYNC, [], None, id="nobody promised"),
    ],
)
def test_elections(mode: ReplicationMode, promises: list[object], winner: Region | None) -> None:
    for me in (EU, AP):
        found = proposed(election(me, mode, *promises))
        if winner is None:
            assert found is None
        else:
            assert found is not None, "whoever sees it says so"
            assert (found.phase, found.primary, found.epoch) == (Phase.PROMOTING, winner, 2)


@pytest.mark.parametrize(
    ("wal_epoch", "deposed_epoch", "elected"),
    [
        pytest.param(1, 1, True, id="it holds the record of the epoch it was deposed in"),
        pytest.param(1, 2, False, id="it was deposed before that record was written"),
        pytest.param(1, 0, False, id="an older agent did not say which epoch that was"),
    ],
)
def test_the_deposed_primary_holds_every_acknowledged_write(wal_epoch: int, deposed_epoch: int, elected: bool) -> None:
    """Both standbys lost their data, and the primary is back: no other promise is needed."""
    given = election(US, SYNC, promise(US, epoch=3, wal_epoch=wal_epoch), seen={r: seen(r, 100) for r in (US, EU, AP)})
    given = replace(given, topology=electing(mode=SYNC, epoch=3, deposed_epoch=deposed_epoch))
    found = proposed(given)
    assert (found is not None and found.primary == US) == elected
    alone = replace(given, promises={EU: promise(EU, epoch=3, wal_epoch=wal_epoch)})
    assert proposed(alone) is None, "a standby's does not suffice"


def test_a_primary_that_is_lost_while_it_creates_the_database_is_waited_for() -> None:
    empty = {r: seen(r, 100, report_=report(wal=None), vantages={US: DOWN}) for r in (EU, AP)} | {US: seen(US, 90)}
    founding = lost_view(topology=topology(phase=Phase.PROMOTING), seen=empty, topology_seen_at_s=90.0)
    decision = failover.decide(founding)
    assert decision.actions == ()
    assert "creating the database" in decision.because
    assert proposed(replace(founding, seen=empty | {AP: seen(AP, 100, vantages={US: DOWN})})) is not None, (
        "another region has a copy"
    )


def test_async_does_not_wait_for_the_dead() -> None:
    heartbeats = {US: seen(US, 90), EU: seen(EU, 100), AP: seen(AP, 100 - LEASE_S)}
    found = proposed(election(EU, ASYNC, promise(EU), seen=heartbeats))
    assert found is not None
    assert found.primary == EU


def test_async_stops_waiting_for_the_silent() -> None:
    given = replace(election(EU, ASYNC, promise(EU)), topology_seen_at_s=90.0)
    assert proposed(given) is not None


def test_async_refuses_a_loss_beyond_the_rpo_until_an_operator_accepts_it() -> None:
    progress = tuple(Progress(80.0 + n, wal(1, 100 * n)) for n in range(11))
    given = election(EU, ASYNC, promise(EU, 350), promise(AP, 300), progress=progress)
    decision = failover.decide(given)
    assert not [a for a in decision.actions if isinstance(a, Propose)]
    assert "would lose about 7.0 s of writes; the RPO is 5 s" in decision.because
    accepted = replace(given, topology=electing(mode=ASYNC, request="eu-1", target=EU))
    assert proposed(accepted) is not None


def test_of_equals_the_one_with_pods_is_elected() -> None:
    heartbeats = {US: seen(US, 90), EU: seen(EU, 100, report_=report(pods_ready=0)), AP: seen(AP, 100)}
    found = proposed(election(EU, SYNC, promise(EU), promise(AP), seen=heartbeats))
    assert found is not None
    assert found.primary == AP
    ahead = proposed(election(EU, SYNC, promise(EU, 110), promise(AP), seen=heartbeats))
    assert ahead is not None
    assert ahead.primary == EU, "data comes before pods"


def test_an_lsn_of_another_history_gives_no_estimate_of_the_loss() -> None:
    """A region that led before holds a high LSN of its own, and nothing of what was written since."""
    begun = (Progress(90.0, wal(0, 0)), *(Progress(90.0 + n, wal(2, 100 * n)) for n in range(11)))
    given = election(EU, ASYNC, promise(EU, 950), promise(AP, 900), progress=begun)
    assert "would lose about 10.0 s of writes" in failover.decide(given).because


def test_a_loss_that_began_before_anything_remembered_is_not_guessed() -> None:
    progress = (Progress(99.0, wal(1, 900)), Progress(100.0, wal(1, 1000)))
    decision = failover.decide(election(EU, ASYNC, promise(EU, 350), promise(AP, 300), progress=progress))
    assert "would lose more than the recorded history covers of writes; the RPO is 5 s" in decision.because


def test_a_deposed_primary_that_may_still_write_is_waited_for() -> None:
    given = replace(
        election(EU, SYNC, promise(EU), promise(AP)),
        topology=electing(mode=SYNC, deposed_lease_over=False),
        deposed_seen_at_s=99.0,
    )
    assert proposed(given) is None
    assert proposed(replace(given, deposed_seen_at_s=90.0)) is not None
    assert proposed(replace(given, promises={**given.promises, US: promise(US, 50)})) is not None


@pytest.mark.parametrize(
    ("instance", "promises"),
    [
        pytest.param(CUT, True, id="cut under this epoch"),
        pytest.param(status(Role.DETACHED, epoch=1), False, id="cut under an older epoch"),
        pytest.param(status(Role.STANDBY, epoch=2), False, id="still streaming"),
        pytest.param(replace(CUT, settled=False), False, id="not cut yet"),
        pytest.param(replace(CUT, wal=None), False, id="its position is unknown"),
        pytest.param(None, False, id="no answer"),
    ],
)
def test_a_replica_promises_only_once_it_is_cut(instance: object, promises: bool) -> None:
    given = lost_view(EU, topology=electing(), instance=instance)
    found = [action.promise for action in failover.decide(given).actions if isinstance(action, GivePromise)]
    assert found == ([promise(EU, wal_epoch=CUT.wal.epoch if CUT.wal else 0)] if promises else [])


BEHIND = status(Role.STANDBY, epoch=2, order=Order(2, Role.STANDBY, EU), upstream=EU)


@pytest.mark.parametrize(
    ("instance", "promises"),
    [
        pytest.param(BEHIND, True, id="it streams from the favourite"),
        pytest.param(replace(BEHIND, upstream=US), False, id="it still streams from the old primary"),
        pytest.param(replace(BEHIND, upstream=None), False, id="it streams from nobody yet"),
        pytest.param(replace(BEHIND, replayed_lsn=99), False, id="an epoch it has not replayed may be hidden"),
        pytest.param(replace(BEHIND, order=Order(1, Role.STANDBY, EU)), False, id="not under this epoch"),
    ],
)
def test_a_replica_behind_the_favourite_need_not_leave_it_to_promise(instance: InstanceStatus, promises: bool) -> None:
    given = lost_view(AP, topology=electing(), instance=instance)
    assert any(isinstance(action, GivePromise) for action in failover.decide(given).actions) is promises


# -- the primary's own decisions ------------------------------------------------------------------


def leading(**changes: object) -> View:
    instance = status(Role.PRIMARY, epoch=2, senders=(sender(EU), sender(AP)))
    base: dict[str, object] = {"topology": topology(epoch=2), "instance": instance}
    return view(US, **(base | changes))


def test_a_primary_is_steady_only_once_its_epoch_is_proved() -> None:
    promoting = topology(epoch=2, phase=Phase.PROMOTING)
    unproved = status(Role.PRIMARY, epoch=2, proved=False)
    assert proposed(leading(topology=promoting, instance=unproved)) is None
    found = proposed(leading(topology=promoting))
    assert found is not None
    assert found.phase is Phase.STEADY


def test_the_record_of_the_epoch_restores_how_many_must_acknowledge() -> None:
    """After a loss of the store an election counts on the fewest that any set required."""
    recovered = topology(epoch=2, phase=Phase.PROMOTING, mode=QUORUM, acks_required=0)
    found = proposed(leading(topology=recovered))
    assert found is not None
    assert (found.phase, found.acks_required) == (Phase.STEADY, 1)


def test_a_primary_that_cannot_write_gives_up_when_another_region_can() -> None:
    dead = leading(instance=None, instance_silent_since_s=100.0 - 2 * LEASE_S)
    found = proposed(dead)
    assert found is not None
    assert (found.phase, found.deposed, found.deposed_lease_over) == (Phase.ELECTING, US, False)
    assert proposed(replace(dead, instance_silent_since_s=99.0)) is None
    nobody = {region: seen(region, 100, report_=report(healthy=False, wal=None)) for region in (EU, AP)}
    assert proposed(replace(dead, seen=nobody)) is None


def test_standbys_that_complain_of_the_dead_primary_are_heirs_all_the_same() -> None:
    complaint = report(healthy=False, upstream=None, problem="not streaming from us for 3 s")
    heirs = {region: seen(region, 100, report_=complaint) for region in (EU, AP)}
    dead = leading(instance=None, instance_silent_since_s=100.0 - 2 * LEASE_S, seen=heirs)
    assert proposed(dead) is not None


def test_a_stricter_mode_is_promised_only_after_postgresql_keeps_it() -> None:
    wanted = topology(epoch=2, requested_mode=SYNC)
    assert proposed(leading(topology=wanted)) is None
    order = failover_order(wanted)
    kept = status(
        Role.PRIMARY, epoch=2, order=order, senders=(sender(EU, synchronous=True), sender(AP)), wal=wal(2, 100)
    )
    found = proposed(leading(topology=wanted, instance=kept))
    assert found is not None
    assert (found.mode, found.acks_required, found.requested_mode) == (SYNC, 1, None)


def test_a_laxer_mode_is_promised_first() -> None:
    found = proposed(leading(topology=topology(epoch=2, mode=SYNC, requested_mode=ASYNC)))
    assert found is not None
    assert (found.mode, found.acks_required) == (ASYNC, 0)


def failover_order(given: Topology) -> object:
    from leeward.core import replication

    return replication.order(leading(topology=given))
