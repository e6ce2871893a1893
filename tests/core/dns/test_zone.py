"""What is answered to which question."""

from collections.abc import Mapping
from ipaddress import ip_network

import pytest

from leeward.core.dns.zone import Answer, Code, Question, Situation, Zone
from leeward.core.values import Region

from .zones import ALL, APP, EU, GATEWAYS, HOST, REGIONS, US, settings, shop

ADDRESSES = {
    **{host: (host,) for host in GATEWAYS.values()},
    **{f"198.51.100.{number}": (f"198.51.100.{number}",) for number in (1, 2, 3)},
}
ELSEWHERE = "www.shop.test"
EVERYTHING = settings(shop(), shop(app="other", host=ELSEWHERE, ttl_s=60))


def ask(
    name: str,
    kind: str = "A",
    client: str = "10.1.0.1/32",
    shares: Mapping[Region, float] = ALL,
    addresses: Mapping[str, tuple[str, ...]] = ADDRESSES,
) -> Answer:
    situation = Situation({APP: shares, "other": shares}, addresses)  # type: ignore[dict-item]
    return Zone(EVERYTHING, EU).answer(Question(name, kind, ip_network(client)), situation)


def said(answer: Answer) -> list[tuple[str, str, int]]:
    return [(record.kind, record.data, record.ttl_s) for record in answer.records]


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        (HOST, "A", [("A", "192.0.2.1", 5)]),
        ("shop-ap.example.com", "A", [("A", "192.0.2.3", 5)]),
        (ELSEWHERE, "A", [("A", "192.0.2.1", 60)]),
        ("www-eu.shop.test", "A", [("A", "192.0.2.2", 60)]),
        ("ns.eu.example.com", "A", [("A", "198.51.100.2", 300)]),
        ("gateway.eu.example.com", "A", [("A", "192.0.2.2", 300)]),
        ("example.com", "NS", [("NS", f"ns.{region}.example.com.", 300) for region in REGIONS]),
        (ELSEWHERE, "NS", [("NS", f"ns.{region}.example.com.", 300) for region in REGIONS]),
        ("example.com", "SOA", [("SOA", "ns.us.example.com. hostmaster.example.com. 1 300 300 86400 5", 5)]),
        (HOST, "ANY", [("HINFO", '"RFC8482" ""', 300)]),
    ],
)
def test_there_is_an_answer(name: str, kind: str, expected: list[tuple[str, str, int]]) -> None:
    answer = ask(name, kind)
    assert (answer.code, said(answer), answer.authority) == (Code.NOERROR, expected, ())


@pytest.mark.parametrize(
    ("name", "kind", "code", "start_of"),
    [
        pytest.param("nothing.example.com", "A", Code.NXDOMAIN, "example.com", id="no such name"),
        pytest.param("a.shop.example.com", "A", Code.NXDOMAIN, "example.com", id="nothing below a name"),
        pytest.param("x.www.shop.test", "A", Code.NXDOMAIN, ELSEWHERE, id="nor below one that is a zone"),
        pytest.param(HOST, "AAAA", Code.NOERROR, "example.com", id="no address of that kind"),
        pytest.param(HOST, "MX", Code.NOERROR, "example.com", id="no such type"),
        pytest.param("example.com", "A", Code.NOERROR, "example.com", id="the apex has no address"),
        pytest.param("eu.example.com", "A", Code.NOERROR, "example.com", id="there are names below it"),
        pytest.param("eu.example.com", "ANY", Code.NOERROR, None, id="anything"),
        pytest.param("example.org", "A", Code.REFUSED, None, id="not ours"),
        pytest.param("notexample.com", "A", Code.REFUSED, None, id="only looks like ours"),
        pytest.param("shop.test", "A", Code.REFUSED, None, id="above one of ours"),
        pytest.param("", "NS", Code.REFUSED, None, id="the root"),
        pytest.param("example.com", "AXFR", Code.REFUSED, None, id="no transfers"),
    ],
)
def test_a_name_or_type_that_does_not_exist_is_answered_as_such(
    name: str, kind: str, code: Code, start_of: str | None
) -> None:
    answer = ask(name, kind)
    assert answer.code is code
    if start_of is None:
        assert answer.authority == ()
    else:
        (start,) = answer.authority
        assert (start.name, start.kind, start.ttl_s) == (start_of, "SOA", 5)
        assert answer.records == ()


def test_the_users_location_decides_and_the_answer_shows_it() -> None:
    near_us, near_eu, unknown = (ask(HOST, client=client) for client in ("10.1.0.1/32", "10.2.9.0/24", "8.8.8.8/32"))
    assert [said(each)[0][1] for each in (near_us, near_eu, unknown)] == ["192.0.2.1", "192.0.2.2", "192.0.2.2"]
    assert near_us.tailored
    assert not ask("shop-eu.example.com").tailored


def test_a_lost_region_is_left_out_but_for_its_own_name() -> None:
    lost = {**ALL, US: 0.0}
    assert said(ask(HOST, shares=lost)) == [("A", "192.0.2.2", 5)]
    assert said(ask("shop-us.example.com", shares=lost)) == [("A", "192.0.2.1", 5)]


def test_a_panic_names_every_region() -> None:
    answer = ask(HOST, shares=dict.fromkeys(REGIONS, 0.0))
    assert [data for _, data, _ in said(answer)] == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]


def test_addresses_of_both_kinds() -> None:
    both = {**ADDRESSES, "192.0.2.1": ("192.0.2.1", "2001:db8::1")}
    assert said(ask(HOST, "A", addresses=both)) == [("A", "192.0.2.1", 5)]
    assert said(ask(HOST, "AAAA", addresses=both)) == [("AAAA", "2001:db8::1", 5)]


def test_a_region_without_a_known_address_is_not_named_and_that_answer_is_not_cached() -> None:
    assert said(ask(HOST, addresses={**ADDRESSES, "192.0.2.1": ()})) == [("A", "192.0.2.2", 5)]
    assert ask(HOST, addresses={}).code is Code.SERVFAIL
    assert ask("shop-us.example.com", addresses={}).code is Code.SERVFAIL


def test_servers_come_with_their_addresses() -> None:
    assert [(record.name, record.data) for record in ask("example.com", "NS").additional] == [
        (f"ns.{region}.example.com", f"198.51.100.{number}") for number, region in enumerate(REGIONS, start=1)
    ]
