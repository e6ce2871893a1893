"""Which region a user's question is answered with: tables for single cases, properties for all of them."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leeward.core.dns.settings import Policy
from leeward.core.dns.steering import Atlas, pick, user_of
from leeward.core.values import Region

from .zones import ALL, AP, EU, REGIONS, US, settings, shop

USERS = [f"10.9.{number}.0/24" for number in range(250)]


@pytest.mark.parametrize(
    ("client", "near"),
    [
        pytest.param("10.2.3.4/32", EU, id="an address of the region"),
        pytest.param("10.2.3.0/24", EU, id="a subnet of it"),
        pytest.param("2001:db8:3:1::/64", AP, id="IPv6"),
        pytest.param("10.0.0.0/8", US, id="wider than any region: as near as the server"),
        pytest.param("203.0.113.9/32", US, id="unknown: as near as the server"),
    ],
)
def test_near(client: str, near: Region) -> None:
    assert Atlas(settings().regions).near(ip_network(client), US) == near


@pytest.mark.parametrize(
    ("policy", "near", "shares", "picked"),
    [
        pytest.param(Policy.LATENCY, EU, ALL, (EU,), id="the nearest"),
        pytest.param(Policy.GEOGRAPHIC, AP, ALL, (AP,), id="the nearest on the globe"),
        pytest.param(Policy.LATENCY, EU, {**ALL, EU: 0.0}, (US,), id="the nearest is out"),
        pytest.param(Policy.LATENCY, AP, {US: 0.0, EU: 1.0, AP: 0.0}, (EU,), id="only one is left"),
        pytest.param(
            Policy.LATENCY, EU, dict.fromkeys(REGIONS, 0.0), (EU, US, AP), id="none is fit: all, nearest first"
        ),
        pytest.param(Policy.LATENCY, EU, {}, (EU, US, AP), id="nothing is known: all"),
        pytest.param(Policy.FAILOVER, AP, ALL, (US,), id="everybody to the first"),
        pytest.param(Policy.FAILOVER, AP, {**ALL, US: 0.0}, (EU,), id="the first is out"),
        pytest.param(Policy.FAILOVER, AP, dict.fromkeys(REGIONS, 0.0), (AP, US, EU), id="failover: none is fit"),
        pytest.param(Policy.WEIGHTED, AP, {US: 0.0, EU: 0.0, AP: 1.0}, (AP,), id="weighted: one is left"),
        pytest.param(Policy.WEIGHTED, AP, dict.fromkeys(REGIONS, 0.0), (AP, US, EU), id="weighted: none is fit"),
    ],
)
def test_pick(policy: Policy, near: Region, shares: dict[Region, float], picked: tuple[Region, ...]) -> None:
    assert pick(shop(policy=policy), near, shares, "203.0.113.0/24") == picked


def test_weights_divide_the_users() -> None:
    app = shop(policy=Policy.WEIGHTED, weights={US: 200, EU: 100, AP: 0})
    went = [pick(app, AP, ALL, user)[0] for user in USERS]
    assert went.count(AP) == 0
    assert 0.5 < went.count(US) / len(went) < 0.82


def test_regions_without_weight_get_users_when_no_other_is_left() -> None:
    app = shop(policy=Policy.WEIGHTED, weights={US: 200, EU: 0, AP: 0})
    went = {pick(app, AP, {**ALL, US: 0.0}, user)[0] for user in USERS}
    assert went == {EU, AP}


def test_a_region_on_its_way_back_gets_some_of_its_users_and_the_next_one_the_others() -> None:
    went = [pick(shop(), EU, {**ALL, EU: 0.3}, user)[0] for user in USERS]
    assert set(went) == {EU, US}
    assert 0.15 < went.count(EU) / len(went) < 0.45


PARTS = st.fixed_dictionaries({region: st.sampled_from([0.0, 0.25, 0.5, 1.0]) for region in REGIONS})


@given(
    st.sampled_from(Policy),
    st.sampled_from(REGIONS),
    PARTS,
    st.sampled_from(USERS),
    st.fixed_dictionaries({region: st.integers(0, 255) for region in REGIONS}),
)
def test_a_region_is_always_named_and_never_an_unfit_one_while_another_is_fit(
    policy: Policy, near: Region, shares: dict[Region, float], user: str, weights: dict[Region, int]
) -> None:
    picked = pick(shop(policy=policy, weights=weights), near, shares, user)
    if any(shares.values()):
        assert len(picked) == 1
        assert shares[picked[0]] > 0
    else:
        assert set(picked) == set(REGIONS)


@given(st.sampled_from(Policy), st.sampled_from(REGIONS), PARTS, st.sampled_from(USERS), st.sampled_from(REGIONS))
def test_only_the_users_of_a_region_move_when_it_goes(
    policy: Policy, near: Region, shares: dict[Region, float], user: str, lost: Region
) -> None:
    # The others stay as they are: none of them is on its way back, which lets the last one take everybody.
    shares = {region: float(share > 0) for region, share in shares.items()}
    before, after = (pick(shop(policy=policy), near, each, user) for each in (shares, {**shares, lost: 0.0}))
    if sum(shares.values()) > 1 and before != (lost,):
        assert after == before


@given(
    st.sampled_from(Policy), st.sampled_from(REGIONS), st.sampled_from(USERS), st.floats(0.01, 1), st.floats(0.01, 1)
)
def test_a_user_who_has_come_back_stays(policy: Policy, near: Region, user: str, one: float, other: float) -> None:
    early, late = sorted((one, other))
    first, second = (pick(shop(policy=policy), near, {**ALL, EU: share}, user) for share in (early, late))
    if first == (EU,):
        assert second == (EU,)


@pytest.mark.parametrize(
    ("client", "user"),
    [("10.1.2.3/32", "10.1.2.0/24"), ("10.1.0.0/16", "10.1.0.0/16"), ("2001:db8:1:2:3::/128", "2001:db8:1::/56")],
)
def test_neighbours_are_one_user(client: str, user: str) -> None:
    assert user_of(ip_network(client)) == user
