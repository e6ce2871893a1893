"""What an operator's certificate lets it see."""

import pytest

from leeward.agent.machine import visibility
from leeward.core.certificates import Certificate
from leeward.core.identities import operator_uri, region_uri
from leeward.core.values import App, Record, Region

OPERATOR = operator_uri("atlas")
ONLY_PAY = frozenset({App("pay")})


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param([], None, id="no name: Prometheus"),
        pytest.param([region_uri("atlas", "us")], None, id="a region's agent"),
        pytest.param([OPERATOR], None, id="everything"),
        pytest.param([f"{OPERATOR}/may/view"], None, id="to view everything"),
        pytest.param([f"{OPERATOR}/app/pay"], ONLY_PAY, id="one application"),
        pytest.param([f"{OPERATOR}/app/pay/may/view"], ONLY_PAY, id="to view one"),
        pytest.param([f"{OPERATOR}/app/pay/may/break", f"{OPERATOR}/app/shop"], ONLY_PAY | {App("shop")}, id="two"),
        pytest.param([f"{OPERATOR}/app/pay", f"{OPERATOR}/may/steer"], None, id="one, and to steer all"),
        pytest.param([f"{OPERATOR}/app/pay/may/veiw"], frozenset(), id="a right that is misspelt"),
        pytest.param([f"{OPERATOR}/app/Pay"], frozenset(), id="no name of an application"),
        pytest.param([f"{OPERATOR}/app/pay", region_uri("atlas", "us")], ONLY_PAY, id="a region that is an operator"),
    ],
)
def test_what_is_visible(names: list[str], expected: frozenset[App] | None) -> None:
    assert visibility.visible("atlas", names) == expected


STATUS = {part: {"pay": 1, "shop": 2} for part in visibility.BY_APPLICATION} | {
    "region": "us",
    "heartbeats": {"us": {"sequence": 1, "apps": {"pay": 1, "shop": 2}}},
}


def test_the_status_of_some_applications() -> None:
    assert visibility.status_of(STATUS, None) == STATUS
    seen = visibility.status_of(STATUS, ONLY_PAY)
    assert "shop" not in str(seen)
    assert seen["region"] == "us"
    assert seen["heartbeats"] == {"us": {"sequence": 1, "apps": {"pay": 1}}}
    assert visibility.status_of(STATUS | {"names": None}, ONLY_PAY)["names"] is None


def test_decisions_about_some_applications_and_about_none() -> None:
    records = [
        (number, Record(1.0, Region("us"), None if app is None else App(app), 1, "Kind", "because"))
        for number, app in enumerate(("pay", "shop", None))
    ]
    assert [number for number, _ in visibility.records_of(records, ONLY_PAY)] == [0, 2]
    assert visibility.records_of(records, None) == records


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, True),
        ({"region": "us"}, True),
        ({"application": "pay", "region": "us"}, True),
        ({"region": "us", "application": "shop"}, False),
        ({"certificate": "agent"}, True),
        ({"certificate": "instance-pay"}, True),
        ({"certificate": "instance-authority"}, True),
        ({"certificate": "instance-shop"}, False),
        ({"server": "agent", "reason": "expired"}, True),
        ({"server": "instance-pay", "reason": "expired"}, True),
        ({"server": "instance-shop", "reason": "expired"}, False),
    ],
)
def test_samples_of_some_applications_and_of_none(labels: dict[str, str], expected: bool) -> None:
    assert visibility.shows(labels, ONLY_PAY) is expected
    assert visibility.shows(labels, None)
    assert visibility.shows(labels, frozenset()) is (expected and "pay" not in str(labels))


def test_certificates_of_some_applications_and_of_none() -> None:
    found = [Certificate(name, 0.0, 1.0) for name in ("agent", "instance-pay", "instance-shop", "instance-authority")]
    names = [each.name for each in visibility.certificates_of(found, ONLY_PAY)]
    assert names == ["agent", "instance-pay", "instance-authority"]
    assert visibility.certificates_of(found, None) == tuple(found)
