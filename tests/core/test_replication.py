"""What an instance must be, for every phase and place."""

from dataclasses import replace

import pytest

from leeward.core import replication
from leeward.core.values import (
    InstanceReport,
    Order,
    Phase,
    Region,
    ReplicationMode,
    Role,
    Synchronous,
    SynchronousMethod,
    Topology,
)
from leeward.core.view import View
from tests.core.views import (
    AP,
    DOWN,
    EU,
    LEASE_S,
    UP,
    US,
    electing,
    lost_view,
    order,
    promise,
    report,
    seen,
    sender,
    status,
    topology,
    view,
    wal,
)

SWITCHING = topology(phase=Phase.SWITCHING, target=EU)
FOUNDED = topology(phase=Phase.PROMOTING)
NO_DATA = report(Role.STOPPED, wal=None)
HANDED = topology(epoch=2, phase=Phase.PROMOTING, primary=EU, deposed=US, handover_lsn=100)


@pytest.mark.parametrize(
    ("me", "given", "expected"),
    [
        pytest.param(US, topology(), order(1, Role.PRIMARY), id="the primary"),
        pytest.param(EU, topology(), order(1, Role.STANDBY, US), id="a standby streams from it"),
        pytest.param(EU, electing(), order(2, Role.DETACHED), id="an election cuts everybody first"),
        pytest.param(US, electing(), order(2, Role.DETACHED), id="the deposed one too"),
        pytest.param(EU, SWITCHING, order(1, Role.STANDBY, US), id="the target stays with the primary"),
        pytest.param(AP, SWITCHING, order(1, Role.STANDBY, EU), id="the others line up behind the target"),
        pytest.param(US, HANDED, order(2, Role.STANDBY, EU), id="who handed over follows"),
        pytest.param(EU, HANDED, order(2, Role.PRIMARY), id="the target promotes: it holds it all"),
    ],
)
def test_orders(me: Region, given: Topology, expected: Order) -> None:
    assert replication.order(view(me, topology=given)) == expected


@pytest.mark.parametrize(
    ("given", "copy", "founds"),
    [
        pytest.param(FOUNDED, NO_DATA, True, id="before its first primary has proved a write"),
        pytest.param(FOUNDED, report(), False, id="but not where another region holds a copy"),
        pytest.param(FOUNDED, replace(NO_DATA, has_data=True), False, id="nor where one does not run"),
        pytest.param(topology(), NO_DATA, False, id="nor once it has"),
        pytest.param(replace(FOUNDED, epoch=2), NO_DATA, False, id="nor after an election"),
        pytest.param(replace(FOUNDED, epoch=1002), NO_DATA, False, id="nor after the store went back"),
    ],
)
def test_only_an_application_that_never_had_a_database_gets_a_new_one(
    given: Topology, copy: InstanceReport, founds: bool
) -> None:
    others = {r: seen(r, 100.0, report_=copy) for r in (EU, AP)}
    ordered = replication.order(view(US, topology=given, seen=others))
    assert ordered == replace(order(given.epoch, Role.PRIMARY), founding=founds)


def test_a_region_that_is_no_data_region_stops_its_instance() -> None:
    given = topology(data_regions=(US, EU))
    assert replication.order(view(AP, topology=given)) == Order(
        1, Role.STOPPED, replicas=(US, EU), data_regions=(US, EU)
    )


def test_a_learner_streams_from_the_primary_and_does_not_line_up() -> None:
    learns = {"data_regions": (US, EU), "joining": AP}
    assert replication.order(lost_view(AP, silent_s=0.5 * LEASE_S, topology=topology(**learns))) == replace(
        order(1, Role.STANDBY, US), data_regions=(US, EU)
    )
    assert replication.order(view(AP, topology=electing(**learns), promises={AP: promise(AP)})) == replace(
        order(2, Role.DETACHED), data_regions=(US, EU)
    )


def test_commits_of_the_only_data_region_wait_for_no_standby() -> None:
    for mode in (ReplicationMode.SYNC, ReplicationMode.QUORUM):
        alone = topology(data_regions=(US,), mode=mode, acks_required=0)
        assert replication.order(view(US, topology=alone)) == Order(1, Role.PRIMARY, replicas=(US,), data_regions=(US,))


def test_a_target_that_lacks_the_end_does_not_promote() -> None:
    given = view(EU, topology=HANDED, instance=status(lsn=99))
    assert replication.order(given) == order(2, Role.STANDBY, US)


def test_a_target_keeps_its_order_while_its_database_is_down() -> None:
    ordered = status(Role.STOPPED, epoch=2, wal=None, replayed_lsn=None, order=Order(2, Role.PRIMARY))
    assert replication.order(view(EU, topology=HANDED, instance=ordered)) == order(2, Role.PRIMARY)
    assert replication.order(view(EU, topology=HANDED, instance=replace(ordered, order=None))) == order(
        2, Role.STANDBY, US
    )


def test_who_promised_lines_up_behind_the_favourite_and_the_favourite_waits() -> None:
    promises = {EU: promise(EU), AP: promise(AP)}
    assert replication.order(view(AP, topology=electing(), promises=promises)) == order(2, Role.STANDBY, EU)
    assert replication.order(view(EU, topology=electing(), promises=promises)) == order(2, Role.DETACHED)


def asked(given: View) -> Order:
    """The order, less the names that a standby carries and how many must acknowledge."""
    wanted = replication.order(given)
    assert wanted is not None
    return replace(wanted, synchronous=None, acks_required=0)


def test_a_standby_carries_the_names_that_it_will_need_once_promoted() -> None:
    for mode, method in (
        (ReplicationMode.SYNC, SynchronousMethod.FIRST),
        (ReplicationMode.QUORUM, SynchronousMethod.ANY),
    ):
        for phase in (topology(mode=mode), electing(mode=mode)):
            wanted = replication.order(view(EU, topology=phase))
            assert wanted is not None
            assert wanted.role is not Role.PRIMARY
            assert wanted.synchronous == Synchronous(method, 1, (US, AP))
    wanted = replication.order(view(EU, topology=topology(mode=ReplicationMode.ASYNC)))
    assert wanted is not None
    assert wanted.synchronous is None


def test_a_suspected_primary_is_left_for_the_heir_and_only_by_the_others() -> None:
    suspect = {"silent_s": 0.5 * LEASE_S}
    assert asked(lost_view(AP, **suspect)) == order(1, Role.STANDBY, EU)
    assert asked(lost_view(EU, **suspect)) == order(1, Role.STANDBY, US)
    assert asked(lost_view(AP, silent_s=0.1)) == order(1, Role.STANDBY, US)
    assert asked(lost_view(AP, **suspect, vantages={US: UP})) == order(1, Role.STANDBY, US)
    ahead = {**lost_view(**suspect).seen, AP: seen(AP, 100, report_=report(lsn=101))}
    assert asked(lost_view(EU, **suspect, seen=ahead)) == order(1, Role.STANDBY, AP), "who holds the most"
    five = topology(mode=ReplicationMode.SYNC, acks_required=2)
    assert asked(lost_view(AP, **suspect, topology=five)) == order(1, Role.STANDBY, US)


def test_a_standby_does_not_line_up_behind_an_older_history() -> None:
    # An old primary that came back with writes of its own is alive and first in line: whoever followed it would
    # be rewound to it, and would forget what was acknowledged since.
    third = topology(epoch=3, primary=AP, mode=ReplicationMode.SYNC)
    came_back = {
        "topology": third,
        "instance": status(epoch=3),
        "vantages": {AP: DOWN, US: UP},
        "seen": {AP: seen(AP, 99.0), US: seen(US, 100.0, report_=report(lsn=900))},
    }
    assert asked(view(EU, **came_back)) == order(3, Role.STANDBY, AP)

    # And the other way round: the way to the heir's history may be a rewind, which the election would interrupt.
    first = {US: seen(US, 100.0), EU: seen(EU, 100.0, report_=report(wal=wal(2, 100)))}
    came_back |= {"instance": status(wal=wal(1, 900)), "seen": {**first, AP: seen(AP, 99.0)}}
    assert asked(view(US, **came_back, promises={EU: promise(EU)})) == order(3, Role.STANDBY, AP)

    promises = {EU: promise(EU, lsn=900), AP: promise(AP, wal_epoch=2)}
    ours = status(wal=wal(2, 100))
    given = view(AP, topology=electing(), promises=promises, instance=ours)
    assert asked(given) == order(2, Role.DETACHED)


def test_the_old_primary_drains_once_the_others_lined_up_or_had_the_time() -> None:
    def draining(**changes: object) -> View:
        return view(US, topology=SWITCHING, instance=status(Role.PRIMARY), **changes)

    stop, go_on = order(1, Role.STOPPED), order(1, Role.PRIMARY)
    assert replication.order(draining(topology_seen_at_s=99.9)) == go_on
    lined_up = {region: seen(region, 100, report_=report(upstream=EU)) for region in (EU, AP)}
    assert replication.order(draining(topology_seen_at_s=99.9, seen=lined_up)) == stop
    assert replication.order(draining(topology_seen_at_s=100 - 1.5 * LEASE_S)) == stop

    # Another standby comes back in the middle of the drain, and has not lined up.
    begun = view(US, topology=SWITCHING, topology_seen_at_s=99.9, instance=status(Role.PRIMARY, order=stop))
    assert replication.order(begun) == stop


def primary(mode: ReplicationMode, **changes: object) -> View:
    instance = status(Role.PRIMARY, senders=(sender(EU), sender(AP)))
    return view(US, topology=topology(mode=mode), instance=instance, **changes)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (ReplicationMode.ASYNC, None),
        (ReplicationMode.SYNC, Synchronous(SynchronousMethod.FIRST, 1, (EU, AP))),
        (ReplicationMode.QUORUM, Synchronous(SynchronousMethod.ANY, 1, (EU, AP))),
    ],
)
def test_who_must_acknowledge(mode: ReplicationMode, expected: Synchronous | None) -> None:
    order = replication.order(primary(mode))
    assert order is not None
    assert order.synchronous == expected


def test_the_stricter_of_two_modes_is_kept_while_one_replaces_the_other() -> None:
    for now, wanted in ((ReplicationMode.ASYNC, ReplicationMode.SYNC), (ReplicationMode.SYNC, ReplicationMode.ASYNC)):
        order = replication.order(view(US, topology=topology(mode=now, requested_mode=wanted)))
        assert order is not None
        assert order.synchronous is not None


@pytest.mark.parametrize(
    ("lags_s", "streaming", "expected"),
    [
        pytest.param({EU: 0.0, AP: 0.0}, (EU, AP), (EU, AP), id="both keep up"),
        pytest.param({EU: LEASE_S, AP: 0.0}, (EU, AP), (AP, EU), id="the slow one goes last"),
        pytest.param({AP: 0.0}, (AP,), (AP, EU), id="the missing one goes last"),
        pytest.param({EU: 9.0, AP: 9.0}, (EU, AP), (EU, AP), id="both slow: nothing is gained"),
    ],
)
def test_the_line(lags_s: dict[Region, float], streaming: tuple[Region, ...], expected: tuple[Region, ...]) -> None:
    instance = status(Role.PRIMARY, senders=tuple(sender(region) for region in streaming))
    assert replication.in_line(view(US, instance=instance, lags_s=lags_s), (EU, AP)) == expected


def test_a_line_that_works_is_left_alone() -> None:
    current = Order(1, Role.PRIMARY, synchronous=Synchronous(SynchronousMethod.FIRST, 1, (AP, EU)))
    instance = status(Role.PRIMARY, order=current, senders=(sender(EU), sender(AP)))
    assert replication.in_line(view(US, instance=instance), (EU, AP)) == (AP, EU)
