"""A planned change: refused when it would hurt, driven step by step, handed back rather than losing a write."""

from dataclasses import replace

import pytest

from leeward.core import failover, replication, switchover
from leeward.core.actions import Propose
from leeward.core.values import Order, Phase, Region, Role, Topology
from leeward.core.view import View
from tests.core.views import AP, EU, LEASE_S, US, report, seen, sender, status, topology, view

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
        pytest.param({"seen": {EU: seen(EU, 90)}}, EU, "not been heard", id="its region is silent"),
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
        assert replication.order(given) == Order(1, Role.STANDBY, EU)
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
def test_nobody_is_named_before(instance: object) -> None:
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


def test_a_target_that_lacks_the_end_hands_back() -> None:
    handed = topology(epoch=2, phase=Phase.PROMOTING, primary=EU, deposed=US, handover_lsn=1234)
    short = view(EU, topology=handed, instance=status(lsn=1233))
    found = proposed(short)
    assert found is not None
    assert (found.epoch, found.phase, found.primary, found.handover_lsn) == (3, Phase.PROMOTING, US, None)
    assert proposed(replace(short, topology_seen_at_s=99.9)) is None, "it waits for the rest first"
