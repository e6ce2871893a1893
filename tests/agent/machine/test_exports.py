"""Where requests for exported services are led, and what is said about it."""

import pytest

from leeward.agent.machine import exports
from leeward.agent.machine.exports import Name, Offer, Offers
from leeward.core.values import Region
from leeward.ports.gateway import Address, Exported
from tests.core.views import AP, EU, US

REPORTS, SEARCH = Name("shop", "reports"), Name("shop", "search")
POD = Address("10.0.0.1", 8000)
NEAREST = (EU, AP)
NOON, LATER = "2026-11-21T12:00:00Z", "2026-11-21T13:00:00Z"


def says(*ready: Name, waiting: tuple[Name, ...] = ()) -> Offers:
    return Offers((*(Offer(each, True) for each in ready), *(Offer(each, False) for each in waiting)))


@pytest.mark.parametrize(
    ("own", "offered", "fit", "pods", "fallbacks"),
    [
        pytest.param({REPORTS: (POD,)}, {}, NEAREST, (POD,), (), id="only here"),
        pytest.param({}, {EU: says(REPORTS), AP: says(REPORTS)}, NEAREST, (), (EU, AP), id="elsewhere: nearest first"),
        pytest.param({REPORTS: ()}, {AP: says(REPORTS)}, NEAREST, (), (AP,), id="here nobody is ready"),
        pytest.param({REPORTS: None}, {AP: says(REPORTS)}, NEAREST, (), (AP,), id="here there is no such Service"),
        pytest.param({}, {EU: says(waiting=(REPORTS,)), AP: says(REPORTS)}, NEAREST, (), (AP,), id="nobody there"),
        pytest.param({}, {EU: says(SEARCH), AP: says(REPORTS)}, NEAREST, (), (AP,), id="the nearest has another one"),
        pytest.param({}, {EU: says(REPORTS), AP: says(REPORTS)}, (AP,), (), (AP,), id="the nearest is ill"),
        pytest.param({}, {EU: says(REPORTS)}, (), (), (EU,), id="an ill one is better than nobody"),
        pytest.param({}, {EU: says(waiting=(REPORTS,))}, NEAREST, (), (), id="nobody anywhere"),
    ],
)
def test_where_requests_are_routed(
    own: exports.Own,
    offered: exports.Offered,
    fit: tuple[Region, ...],
    pods: tuple[Address, ...],
    fallbacks: tuple[Region, ...],
) -> None:
    found = {each.name: each for each in exports.routes_for(own, offered, NEAREST, fit)}
    assert found["reports"] == Exported("reports", "shop", pods, fallbacks)


def test_a_service_without_exporters_is_not_routed() -> None:
    assert exports.routes_for({}, {EU: Offers()}, NEAREST, NEAREST) == ()


def test_a_region_that_left_the_fleet_is_not_asked() -> None:
    assert exports.routes_for({}, {Region("mars"): says(REPORTS)}, NEAREST, NEAREST) == ()


def test_exports_and_their_readiness_are_published() -> None:
    own: exports.Own = {SEARCH: (POD,), REPORTS: None}
    assert exports.offers(own) == Offers((Offer(REPORTS, False), Offer(SEARCH, True)))
    offered = {US: says(REPORTS), EU: says(REPORTS), AP: says(SEARCH)}
    assert exports.exporters(REPORTS, US, {}, offered) == (EU,)
    assert exports.exporters(REPORTS, US, own, offered) == (EU, US)


def test_a_status_is_written_once_and_keeps_when_it_last_changed() -> None:
    item = {"metadata": {"generation": 3}, "status": {"conditions": [{"type": "Programmed", "status": "True"}]}}
    first = exports.status(item, exports.of_export(REPORTS, {REPORTS: (POD,)}), NOON)
    assert first is not None
    assert [(each["type"], each["status"]) for each in first] == [
        ("Programmed", "True"),
        ("Ready", "True"),
        ("Valid", "True"),
    ]
    written = {**item, "status": {"conditions": first}}
    assert exports.status(written, exports.of_export(REPORTS, {REPORTS: (POD,)}), LATER) is None
    fewer = exports.status(written, exports.of_export(REPORTS, {REPORTS: ()}), LATER)
    assert fewer is not None
    assert {each["lastTransitionTime"] for each in fewer if each["type"] == "Ready"} == {NOON}
    gone = exports.status(written, exports.of_export(REPORTS, {REPORTS: None}), LATER)
    assert gone is not None
    found = {(each["type"], each.get("reason"), each.get("lastTransitionTime")) for each in gone}
    assert found == {("Programmed", None, None), ("Valid", "NoService", LATER), ("Ready", "Pending", LATER)}


def test_another_controllers_equal_condition_is_left_alone() -> None:
    theirs = [{"type": kind, "status": "True", "reason": "Theirs", "message": "ours"} for kind in ("Valid", "Ready")]
    item = {"metadata": {}, "status": {"conditions": theirs}}
    assert exports.status(item, exports.of_export(REPORTS, {REPORTS: (POD,)}), NOON) is None


def test_an_import_shows_its_exporters() -> None:
    assert exports.of_import(REPORTS, (EU,)).message.endswith("reports.shop.svc.clusterset.local to eu")
    assert not exports.of_import(REPORTS, ()).holds
