"""A planned change: refused when it would hurt, driven step by step, given up rather than losing a write."""

from dataclasses import replace
from typing import Any

import pytest

from leeward.core import failover, replication, switchover
from leeward.core.actions import Propose
from leeward.core.values import FailoverPolicy, InstanceStatus, Order, Phase, Region, Role, Topology
from leeward.core.view import Seen, View
from tests.core.views import AP, EU, LEASE_S, SETTINGS, US, order, report, seen, sender, status, topology, view, wal

SWITCHING = topology(phase=Phase.SWITCHING, target=EU)
PRIMARY = status(Role.PRIMARY, lsn=1000, senders=(sender(EU, lsn=1000), sender(AP, lsn=1000)))


def proposed(given: View) -> Topology | None:
    proposals = [action for action in failover.decide(given).actions if isinstance(action, Propose)]
    return proposals[0].topology if proposals else None


@pytest.mark.parametrize(
    ("changes", "target", "why"),
    [
        pytest.param({}, EU, None, id="all is well"),
        pytest.param({}, US, "already the primary", id="to where it is"),
        pytest.param({}, Region("mars"), "has no replica", id="to nowhere"),
        pytest.param({"topology": SWITCHING}, EU, "is switching", id="one at a time"),
        pytest.param({"instance": None}, EU, "does not answer", id="the primary's instance is silent"),
        pytest.param({"instance": status(Role.PRIMARY, senders=())}, EU, "not streaming", id="it does not stream"),
        pytest.param(
            {"instance": replace(PRIMARY, wal=replace(PRIMARY.wal, lsn=10**9))},  # type: ignore[type-var]
            EU,
            "bytes behind",
            id="it lags",
        ),
        pytest.param({"seen": {EU: seen(EU, 90)}}, EU, "no heartbeat from eu", id="its region is silent"),
        pytest.param({"seen": {EU: seen(EU, 100, report_=report(healthy=False))}}, EU, "not healthy", id="it is sick"),
        pytest.param({"seen": {EU: seen(EU, 100, report_=report(pods_ready=0))}}, EU, "no pod", id="no capacity"),
    ],
)
def test_preflight(changes: dict[str, object], target: Region, why: str | None) -> None:
    given = view(US, **({"instance": PRIMARY} | changes))
    assert given.topology is not None
    refused = switchover.preflight(given, given.topology, target)
    assert (refused is None) if why is None else (refused is not None and why in refused)


def drained(**changes: object) -> View:
    stopped = status(Role.STOPPED, lsn=1234, order=Order(1, Role.STOPPED), writable=False)
    return view(US, topology=SWITCHING, **({"instance": stopped, "topology_seen_at_s": 99.9} | changes))


def test_the_target_is_named_only_after_a_clean_stop_and_with_the_end_of_the_wal() -> None:
    found = proposed(drained())
    assert found is not None
    assert (found.epoch, found.phase, found.primary, found.handover_lsn) == (2, Phase.PROMOTING, EU, 1234)


def test_who_drained_follows_at_once_and_can_still_name_the_target() -> None:
    following = status(Role.DETACHED, lsn=1234, order=Order(1, Role.STANDBY, EU), writable=False)
    for given in (drained(), drained(instance=following)):
        assert replication.order(given) == order(1, Role.STANDBY, EU)
        found = proposed(given)
        assert found is not None
        assert found.handover_lsn == 1234


@pytest.mark.parametrize(
    "instance",
    [
        pytest.param(PRIMARY, id="still running"),
        pytest.param(status(Role.STOPPED, order=Order(1, Role.PRIMARY)), id="stopped by the guard, not by order"),
        pytest.param(status(Role.STOPPED, order=Order(1, Role.STOPPED), settled=False), id="stopping"),
        pytest.param(None, id="silent"),
    ],
)
def test_the_target_is_not_named_before(instance: object) -> None:
    assert proposed(drained(instance=instance)) is None


def test_a_drain_that_takes_too_long_is_called_off() -> None:
    found = proposed(drained(instance=PRIMARY, topology_seen_at_s=100 - 5 * LEASE_S))
    assert found is not None
    assert (found.phase, found.primary, found.epoch) == (Phase.STEADY, US, 1)


def test_a_target_that_dies_calls_it_off_at_once() -> None:
    heartbeats = {US: seen(US, 100), EU: seen(EU, 90), AP: seen(AP, 100)}
    found = proposed(drained(instance=PRIMARY, seen=heartbeats))
    assert found is not None
    assert found.phase is Phase.STEADY


GONE = status(Role.STOPPED, wal=None, writable=False, order=Order(1, Role.STOPPED))


@pytest.mark.parametrize(
    ("instance", "lost"),
    [
        pytest.param(GONE, True, id="stopped by order, and its data are gone"),
        pytest.param(replace(GONE, order=Order(1, Role.PRIMARY), settled=False), True, id="before it drains"),
        pytest.param(replace(GONE, order=Order(1, Role.STANDBY, EU), settled=False), True, id="about to copy"),
        pytest.param(replace(GONE, has_data=True), False, id="it crashed as it stopped: its data know the end"),
        pytest.param(replace(GONE, wal=wal(1, 1234)), False, id="it knew the end before they were lost"),
        pytest.param(replace(GONE, order=None), False, id="its manager has just started"),
    ],
)
def test_a_source_without_its_data_hands_nothing_over(instance: InstanceStatus, lost: bool) -> None:
    given = drained(instance=instance)
    found = proposed(given)
    if lost:
        assert found is not None
        assert (found.phase, found.primary, found.epoch, found.target) == (Phase.STEADY, US, 1, None)
        assert "the data in us is lost" in found.because
        assert replication.order(given) != order(1, Role.STANDBY, EU), "it must not become a copy of the target"
    else:
        assert found is None or found.phase is Phase.PROMOTING


HANDED = topology(epoch=2, phase=Phase.PROMOTING, primary=EU, deposed=US, handover_lsn=1234)
SHORT = view(
    EU,
    topology=HANDED,
    instance=status(lsn=1233),
    seen={US: seen(US, 100, report_=report(lsn=1234)), EU: seen(EU, 100), AP: seen(AP, 100)},
)


@pytest.mark.parametrize(
    "withheld",
    [
        pytest.param({"topology": replace(HANDED, paused=True)}, id="failover is paused"),
        pytest.param({"app": replace(SETTINGS, failover=FailoverPolicy.OBSERVE)}, id="failover is observed"),
        pytest.param({}, id="or neither"),
    ],
)
def test_a_target_that_lacks_the_end_hands_back_by_an_election(withheld: dict[str, Any]) -> None:
    given = replace(SHORT, **withheld)
    found = proposed(given)
    assert found is not None
    assert (found.epoch, found.phase, found.deposed, found.favourite) == (3, Phase.ELECTING, EU, US)
    assert proposed(replace(given, topology_seen_at_s=99.9)) is None, "it waits for the rest first"
    ordered = replace(given, instance=status(lsn=1233, epoch=2, order=Order(2, Role.PRIMARY)))
    assert proposed(ordered) is None, "it held the end when it was ordered: PostgreSQL replays it again"


@pytest.mark.parametrize(
    "old",
    [
        pytest.param(seen(US, 100, report_=report(lsn=1233)), id="it became a copy of the target"),
        pytest.param(seen(US, 100, report_=report(Role.STOPPED, wal=None)), id="it has no data"),
        pytest.param(seen(US, 90, report_=report(lsn=1234)), id="it is silent"),
    ],
)
def test_nothing_is_handed_back_to_who_lacks_the_end_too(old: Seen) -> None:
    given = replace(SHORT, seen={**SHORT.seen, US: old})
    assert proposed(given) is None
    found = proposed(replace(given, instance_silent_since_s=100 - 2 * LEASE_S))
    assert found is not None
    assert (found.phase, found.deposed) == (Phase.ELECTING, EU), "it is given up, and an election judges what is lost"
