"""A store that went back is not believed: its generation is replaced, and an epoch above all others opens."""

from dataclasses import replace
from typing import Any

import pytest

from leeward.core import election, failover, recovery, replication
from leeward.core.actions import Propose, RenewGeneration
from leeward.core.progress import Progress
from leeward.core.values import InstanceReport, Phase, Promise, Region, ReplicationMode, Role
from leeward.core.view import Seen, View
from tests.core.views import (
    AP,
    EU,
    LEASE_S,
    MARGIN_S,
    REGIONS,
    US,
    electing,
    promise,
    report,
    seen,
    status,
    topology,
    view,
    wal,
)

FRESH = report(Role.STOPPED, epoch=0, wal=None)
SILENT = report(Role.STOPPED, epoch=0, wal=None, healthy=False, answers=False)


def heard(**reports: InstanceReport) -> dict[Region, Seen]:
    """Heartbeats of all regions, with these reports and ordinary ones for the rest."""
    return {r: seen(r, 100.0, report_=reports.get(r, report())) for r in REGIONS}


def lost_store(me: Region = US, **changes: Any) -> View:
    """No topology is in the store, and no instance has an epoch."""
    base: dict[str, Any] = {
        "topology": None,
        "topology_revision": 0,
        "declared": REGIONS,
        "instance": status(Role.STOPPED, epoch=0, wal=None),
        "seen": heard(us=FRESH, eu=FRESH, ap=FRESH),
        "store_read_at_s": 99.0,
    }
    return view(me, **(base | changes))


@pytest.mark.parametrize(
    ("given", "doubted"),
    [
        (view(), False),
        (view(seen=heard(ap=report(epoch=3))), True),
        (view(instance=status(epoch=2)), True),
        # A standby streams the record of an epoch before its own agent has read of it; its heartbeat comes later.
        (view(instance=status(wal=wal(2, 100))), False),
        (view(seen=heard(ap=report(wal=wal(2, 100)))), True),
        (view(topology=electing(), seen=heard(ap=report(epoch=2))), False),
        (view(topology=electing(), seen=heard(ap=report(epoch=2, wal=wal(2, 100)))), True),
        (view(generation="g"), True),
        (view(generation="g", topology=topology(generation="g")), False),
        (view(topology=topology(generation="g")), True),
        (lost_store(), False),
        (lost_store(instance=status(epoch=1)), True),
        (lost_store(seen=heard(us=FRESH, eu=FRESH, ap=report(epoch=4))), True),
        (lost_store(seen=heard(us=FRESH, eu=FRESH, ap=report(epoch=0, wal=wal(4, 1)))), True),
    ],
)
def test_what_shows_that_the_store_went_back(given: View, doubted: bool) -> None:
    assert (recovery.doubt(given) is not None) is doubted


@pytest.mark.parametrize("given", [view(EU, instance=status(epoch=2)), lost_store(EU, instance=status(epoch=1))])
def test_first_the_generation_is_replaced_and_nothing_is_ordered(given: View) -> None:
    (action,) = failover.decide(given).actions
    assert isinstance(action, RenewGeneration)
    assert replication.order(given) is None


@pytest.mark.parametrize(
    ("given", "because"),
    [
        (lost_store(seen=heard(us=FRESH, eu=replace(FRESH, has_data=True), ap=FRESH)), "eu has data of payments, but"),
        (lost_store(seen=heard(eu=report(epoch=4))), "eu has accepted epoch 4 of payments, but the store has no"),
        (view(seen=heard(ap=report(epoch=3))), "ap has accepted epoch 3 of payments, but the store is at epoch 1"),
        (
            view(topology=electing(), seen=heard(ap=report(epoch=2, wal=wal(2, 100)))),
            "ap holds the record of epoch 2 of payments",
        ),
        (
            view(generation="g", generation_because="eu has data of orders, but the store has no record of it"),
            "payments belongs to a replaced history of the store (eu has data of orders",
        ),
    ],
)
def test_the_reason_names_the_region_and_the_application_that_showed_it(given: View, because: str) -> None:
    """Every application of the fleet is elected again for it: one leftover volume must be found from any of them."""
    assert because in failover.decide(given).because


def reopened(given: View) -> Propose:
    (action,) = failover.decide(given).actions
    assert isinstance(action, Propose)
    return action


def test_then_an_epoch_above_all_that_was_seen_is_opened_without_a_primary() -> None:
    given = view(
        AP, generation="g", seen=heard(us=report(epoch=7), eu=report(wal=wal(9, 1))), promises={EU: promise(EU)}
    )
    opened = reopened(given).topology
    assert opened.epoch > 9 + recovery.RECOVERY_EPOCHS - 1
    assert (opened.phase, opened.primary, opened.deposed, opened.generation) == (Phase.ELECTING, None, None, "g")
    assert opened.recovering


@pytest.mark.parametrize(
    "given",
    [
        lost_store(instance=status(Role.STOPPED, epoch=0, wal=None, has_data=True)),
        lost_store(seen=heard(us=FRESH, eu=replace(FRESH, has_data=True), ap=FRESH)),
    ],
    ids=["its own", "another region's"],
)
def test_an_instance_with_data_and_without_an_epoch_is_not_founded_over(given: View) -> None:
    """Its state file was lost, and then the store: its epoch is in its WAL (seed 960618)."""
    (action,) = failover.decide(given).actions
    assert isinstance(action, RenewGeneration)
    assert reopened(replace(given, generation="g")).topology.recovering


def test_two_histories_that_know_of_the_same_epoch_do_not_open_the_same_one() -> None:
    """The store was lost twice, and who took part in the first recovery is not heard in the second (seed 950063)."""
    began_unix_s = (recovery.SINCE_UNIX_S + 17.5, recovery.SINCE_UNIX_S + 18.5, recovery.SINCE_UNIX_S + 48.0)
    opened = [
        reopened(
            lost_store(EU, instance=status(epoch=1), generation="g", generation_at_unix_s=at_unix_s)
        ).topology.epoch
        for at_unix_s in began_unix_s
    ]
    assert opened == sorted(set(opened))
    assert {epoch % recovery.RECOVERY_EPOCHS for epoch in opened} == {2}


@pytest.mark.parametrize("at_unix_s", [0.0, recovery.SINCE_UNIX_S - 1.0, recovery.SINCE_UNIX_S + 3.0])
def test_a_clock_that_is_behind_opens_an_epoch_above_all_that_was_seen(at_unix_s: float) -> None:
    given = lost_store(EU, instance=status(epoch=9004), generation="g", generation_at_unix_s=at_unix_s)
    assert reopened(given).topology.epoch == 9005 + recovery.RECOVERY_EPOCHS


def test_founding_is_refused_where_an_instance_has_an_epoch_and_an_election_follows_in_any_region() -> None:
    for me in REGIONS:
        given = lost_store(me, generation="g", seen=heard(us=FRESH, eu=report(epoch=4), ap=FRESH))
        opened = reopened(given).topology
        assert (opened.phase, opened.primary) == (Phase.ELECTING, None)
        assert opened.epoch > 4


def test_founding_waits_for_instances_that_do_not_answer_but_not_for_ever() -> None:
    waiting = lost_store(seen=heard(us=FRESH, eu=FRESH, ap=SILENT))
    decision = failover.decide(waiting)
    assert decision.actions == ()
    assert decision.retry_at_s == 99.0 + recovery.FOUNDING_WAIT_LEASES * LEASE_S
    late = lost_store(seen=heard(us=FRESH, eu=FRESH, ap=SILENT), store_read_at_s=100.0 - 6 * LEASE_S)
    assert reopened(late).topology.epoch == 1


@pytest.mark.parametrize(
    ("stored", "configured", "mode"),
    [
        (ReplicationMode.ASYNC, ReplicationMode.SYNC, ReplicationMode.SYNC),
        (ReplicationMode.SYNC, ReplicationMode.ASYNC, ReplicationMode.SYNC),
        (ReplicationMode.ASYNC, ReplicationMode.ASYNC, ReplicationMode.ASYNC),
    ],
)
def test_the_stricter_mode_counts_and_every_data_region(
    stored: ReplicationMode, configured: ReplicationMode, mode: ReplicationMode
) -> None:
    base = view(generation="g", topology=topology(mode=stored, data_regions=(US, EU)))
    given = replace(base, app=replace(base.app, mode=configured))
    opened = reopened(given).topology
    assert (opened.mode, opened.data_regions) == (mode, (US, EU, AP))
    assert opened.acks_required == (0 if mode is ReplicationMode.ASYNC else 1)


def recovering(*promised: Region, waited_s: float, mode: ReplicationMode) -> View:
    stored = electing(
        epoch=1004, deposed=None, deposed_lease_over=False, favourite=None, recovering=True, generation="g", mode=mode
    )
    promises = {region: Promise(region, stored.app, 1004, wal(3, 100)) for region in promised}
    return view(
        EU,
        generation="g",
        topology=stored,
        topology_seen_at_s=100.0 - waited_s,
        promises=promises,
        progress=(Progress(0.0, wal(3, 100)),),
        instance=status(Role.DETACHED, epoch=1004, wal=wal(3, 100)),
        seen=heard(us=report(epoch=1004), eu=report(epoch=1004), ap=report(epoch=1004)),
    )


@pytest.mark.parametrize(
    ("given", "elects"),
    [
        (recovering(US, EU, waited_s=LEASE_S, mode=ReplicationMode.SYNC), False),
        (recovering(US, EU, waited_s=LEASE_S + MARGIN_S, mode=ReplicationMode.SYNC), True),
        (recovering(US, EU, AP, waited_s=0.1, mode=ReplicationMode.SYNC), True),
        (recovering(US, EU, AP, waited_s=0.1, mode=ReplicationMode.ASYNC), True),
        # The record of the primary's progress went back too: what ap may hold alone is not known.
        (recovering(US, EU, waited_s=9 * LEASE_S, mode=ReplicationMode.ASYNC), False),
    ],
)
def test_any_possible_primary_has_stopped_before_another_is_elected(given: View, elects: bool) -> None:
    proposals = [action for action in failover.decide(given).actions if isinstance(action, Propose)]
    assert bool(proposals) is elects
    if elects:
        assert not proposals[0].topology.recovering


def obeys(acks_required: int, *regions: Region) -> InstanceReport:
    return report(data_regions=regions, acks_required=acks_required)


@pytest.mark.parametrize(
    ("us", "eu", "own", "regions", "acks_required"),
    [
        pytest.param(report(), report(), (EU,), (EU,), 0, id="nothing is known beside the files"),
        pytest.param(obeys(1, US, EU, AP), report(), (EU,), (EU, US, AP), 0, id="two regions were to leave"),
        pytest.param(obeys(1, US, EU), obeys(1, US, EU, AP), REGIONS, (US, EU, AP), 1, id="one was leaving"),
        pytest.param(obeys(0, US), report(), (US, EU), (US, EU), 0, id="one was about to join"),
        pytest.param(obeys(0, US, EU, AP), report(), REGIONS, REGIONS, 0, id="an election after another such loss"),
    ],
)
def test_a_lost_store_is_made_up_for_by_what_instances_obey(
    us: InstanceReport, eu: InstanceReport, own: tuple[Region, ...], regions: tuple[Region, ...], acks_required: int
) -> None:
    """The files may be ahead of the set that was in force: who acknowledged writes is on the instances' disks."""
    given = lost_store(EU, generation="g", declared=own, seen=heard(us=us, eu=eu), instance=status(epoch=1))
    given = replace(given, app=replace(given.app, data_regions=own, mode=ReplicationMode.QUORUM))
    opened = recovery.reopen(given, "why").topology
    assert (opened.data_regions, opened.acks_required) == (regions, acks_required)


EMPTY = report(epoch=1004, wal=None, has_data=False)


@pytest.mark.parametrize("mode", [ReplicationMode.SYNC, ReplicationMode.QUORUM])
@pytest.mark.parametrize(
    ("eu", "ap", "went_back", "elects"),
    [
        pytest.param(EMPTY, EMPTY, True, True, id="the others hold no data: one was about to join"),
        pytest.param(EMPTY, replace(EMPTY, has_data=True), True, False, id="one has data and cannot promise yet"),
        pytest.param(EMPTY, report(epoch=1004, wal=wal(3, 200)), True, False, id="one runs and has not promised"),
        pytest.param(EMPTY, replace(EMPTY, epoch=3), True, False, id="the word of one is older than the epoch"),
        pytest.param(EMPTY, replace(EMPTY, answers=False), True, False, id="the instance manager of one is not heard"),
        pytest.param(EMPTY, None, True, False, id="one region is lost"),
        pytest.param(EMPTY, EMPTY, False, False, id="the store did not go back: the sets in it are right"),
    ],
)
def test_regions_without_data_are_done_without_when_all_have_said_so(
    mode: ReplicationMode, eu: InstanceReport, ap: InstanceReport | None, went_back: bool, elects: bool
) -> None:
    given = recovering(US, waited_s=9 * LEASE_S, mode=mode)
    assert given.topology is not None
    known_of = heard(us=report(epoch=1004), eu=eu, ap=ap or EMPTY)
    if ap is None:
        del known_of[AP]
    given = replace(given, me=US, seen=known_of, topology=replace(given.topology, recovering=went_back))
    assert (election.choose(given, given.topology).elected == US) is elects


BUSY = report(epoch=1004, wal=wal(3, 200))


@pytest.mark.parametrize(
    ("us_lsn", "eu", "ap", "target", "elected"),
    [
        pytest.param(100, EMPTY, EMPTY, None, US, id="the others hold no data (seed 1001153)"),
        pytest.param(100, EMPTY, replace(EMPTY, has_data=True), None, None, id="one has data and cannot promise yet"),
        pytest.param(100, EMPTY, BUSY, None, None, id="one runs and has not promised"),
        pytest.param(100, EMPTY, replace(EMPTY, epoch=3), None, None, id="the word of one is older than the epoch"),
        pytest.param(100, EMPTY, replace(EMPTY, answers=False), None, None, id="a manager is not heard"),
        pytest.param(100, EMPTY, None, None, None, id="a region is lost: its loss is unknown"),
        pytest.param(100, EMPTY, None, US, US, id="an operator names the only replica"),
        pytest.param(100, EMPTY, BUSY, AP, None, id="an operator names one that has not promised"),
        pytest.param(100, 90, EMPTY, None, US, id="the one that holds most of those with data"),
        pytest.param(100, 120, EMPTY, None, EU, id="whichever region that is"),
        pytest.param(100, 120, EMPTY, US, EU, id="an operator names the one that holds less"),
        pytest.param(100, 120, BUSY, US, EU, id="while another one may hold more"),
        pytest.param(100, 120, BUSY, None, None, id="unless none is named"),
        pytest.param(100, 100, 100, None, US, id="of equals the preferred one"),
        pytest.param(100, 100, 100, AP, AP, id="or the one that an operator names"),
    ],
)
def test_an_election_in_async_after_the_record_of_progress_went_back(
    us_lsn: int,
    eu: InstanceReport | int,
    ap: InstanceReport | int | None,
    target: Region | None,
    elected: Region | None,
) -> None:
    """No wait tells how much is lost. A number is the LSN that a replica promises; a report is of one that does not."""
    given = recovering(waited_s=9 * LEASE_S, mode=ReplicationMode.ASYNC)
    assert given.topology is not None
    held = {US: us_lsn, EU: eu, AP: ap}
    promises = {r: Promise(r, given.app.name, 1004, wal(3, lsn)) for r, lsn in held.items() if isinstance(lsn, int)}
    reports = {r: each if isinstance(each, InstanceReport) else report(epoch=1004) for r, each in held.items()}
    known_of = heard(us=reports[US], eu=reports[EU], ap=reports[AP])
    if ap is None:
        del known_of[AP]
    given = replace(given, me=US, seen=known_of, promises=promises, topology=replace(given.topology, target=target))
    assert given.topology is not None
    assert election.choose(given, given.topology).elected == elected


@pytest.mark.parametrize(
    ("recorded", "lsn", "elects"),
    [
        pytest.param(True, 100, True, id="with all that is on record"),
        pytest.param(True, 50, False, id="without the last ten seconds on record"),
        pytest.param(False, 50, True, id="nothing is on record, and none holds more"),
    ],
)
def test_an_ordinary_election_in_async_goes_by_the_record(recorded: bool, lsn: int, elects: bool) -> None:
    given = recovering(waited_s=9 * LEASE_S, mode=ReplicationMode.ASYNC)
    assert given.topology is not None
    record = (Progress(0.0, wal(3, 10)), Progress(10.0, wal(3, 100))) if recorded else ()
    promises = {region: Promise(region, given.app.name, 1004, wal(3, lsn)) for region in REGIONS}
    given = replace(
        given, me=US, promises=promises, progress=record, topology=replace(given.topology, recovering=False)
    )
    assert given.topology is not None
    assert (election.choose(given, given.topology).elected is not None) is elects


def test_an_epoch_opens_above_what_others_have_accepted_or_promised() -> None:
    given = view(topology=electing(epoch=2), promises={AP: promise(AP, epoch=5)}, seen=heard(us=report(epoch=4)))
    assert recovery.next_epoch(given) == 6
