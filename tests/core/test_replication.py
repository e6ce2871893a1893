"""What an instance must be, for every phase and place."""

import pytest

from leeward.core import replication
from leeward.core.values import Order, Phase, Region, ReplicationMode, Role, Synchronous, SynchronousMethod, Topology
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
HANDED = topology(epoch=2, phase=Phase.PROMOTING, primary=EU, deposed=US, handover_lsn=100)


@pytest.mark.parametrize(
    ("me", "given", "expected"),
    [
        pytest.param(US, topology(), Order(1, Role.PRIMARY), id="the primary"),
        pytest.param(EU, topology(), Order(1, Role.STANDBY, US), id="a standby streams from it"),
        pytest.param(EU, electing(), Order(2, Role.DETACHED), id="an election cuts everybody first"),
        pytest.param(US, electing(), Order(2, Role.DETACHED), id="the deposed one too"),
        pytest.param(EU, SWITCHING, Order(1, Role.STANDBY, US), id="the target stays with the primary"),
        pytest.param(AP, SWITCHING, Order(1, Role.STANDBY, EU), id="the others line up behind the target"),
        pytest.param(US, HANDED, Order(2, Role.STANDBY, EU), id="who handed over follows"),
        pytest.param(EU, HANDED, Order(2, Role.PRIMARY), id="the target promotes: it holds it all"),
    ],
)
def test_orders(me: Region, given: Topology, expected: Order) -> None:
    assert replication.order(view(me, topology=given)) == expected


def test_a_region_without_a_replica_orders_nothing() -> None:
    assert replication.order(view(AP, topology=topology(data_regions=(US, EU)))) is None


def test_a_target_that_lacks_the_end_does_not_promote() -> None:
    given = view(EU, topology=HANDED, instance=status(lsn=99))
    assert replication.order(given) == Order(2, Role.STANDBY, US)


def test_who_promised_lines_up_behind_the_favourite_and_the_favourite_waits() -> None:
    promises = {EU: promise(EU), AP: promise(AP)}
    assert replication.order(view(AP, topology=electing(), promises=promises)) == Order(2, Role.STANDBY, EU)
    assert replication.order(view(EU, topology=electing(), promises=promises)) == Order(2, Role.DETACHED)


def test_a_suspected_primary_is_left_for_the_heir_and_only_by_the_others() -> None:
    suspect = {"silent_s": 0.5 * LEASE_S}
    assert replication.order(lost_view(AP, **suspect)) == Order(1, Role.STANDBY, EU)
    assert replication.order(lost_view(EU, **suspect)) == Order(1, Role.STANDBY, US)
    assert replication.order(lost_view(AP, silent_s=0.1)) == Order(1, Role.STANDBY, US)
    assert replication.order(lost_view(AP, **suspect, vantages={US: UP})) == Order(1, Role.STANDBY, US)
    ahead = {**lost_view(**suspect).seen, AP: seen(AP, 100, report_=report(lsn=101))}
    assert replication.order(lost_view(EU, **suspect, seen=ahead)) == Order(1, Role.STANDBY, AP), "who holds the most"
    five = topology(mode=ReplicationMode.SYNC, acks_required=2)
    assert replication.order(lost_view(AP, **suspect, topology=five)) == Order(1, Role.STANDBY, US)


def test_nobody_lines_up_behind_an_older_history_than_its_own() -> None:
    # An old primary that came back with writes of its own is alive and first in line: whoever followed it would
    # be rewound to it, and would forget what was acknowledged since.
    third = topology(epoch=3, primary=AP, mode=ReplicationMode.SYNC)
    came_back = {
        "topology": third,
        "instance": status(epoch=3),
        "vantages": {AP: DOWN, US: UP},
        "seen": {AP: seen(AP, 99.0), US: seen(US, 100.0, report_=report(lsn=900))},
    }
    assert replication.order(view(EU, **came_back)) == Order(3, Role.STANDBY, AP)

    # And the other way round: the way to the heir's history may be a rewind, which the election would interrupt.
    first = {US: seen(US, 100.0), EU: seen(EU, 100.0, report_=report(wal=wal(2, 100)))}
    came_back |= {"instance": status(wal=wal(1, 900)), "seen": {**first, AP: seen(AP, 99.0)}}
    assert replication.order(view(US, **came_back, promises={EU: promise(EU)})) == Order(3, Role.STANDBY, AP)

    promises = {EU: promise(EU, lsn=900), AP: promise(AP, wal_epoch=2)}
    ours = status(wal=wal(2, 100))
    given = view(AP, topology=electing(), promises=promises, instance=ours)
    assert replication.order(given) == Order(2, Role.DETACHED)


def test_the_old_primary_drains_once_the_others_lined_up_or_had_the_time() -> None:
    def draining(**changes: object) -> View:
        return view(US, topology=SWITCHING, instance=status(Role.PRIMARY), **changes)

    stop, go_on = Order(1, Role.STOPPED), Order(1, Role.PRIMARY)
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
