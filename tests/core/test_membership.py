"""A region is lost when its lease is over and a majority of vantages agree; never on one of the two."""

import pytest

from leeward.core import lease, membership
from leeward.core.values import Region, Vantage
from tests.core.views import AP, DOWN, EU, LEASE_S, MARGIN_S, TIMERS, UP, US, lost_view, seen, status, view

AFTER_S = LEASE_S + MARGIN_S


@pytest.mark.parametrize(
    ("silent_s", "mine", "others", "lost"),
    [
        pytest.param(0.0, UP, UP, False, id="heard just now"),
        pytest.param(LEASE_S, DOWN, DOWN, False, id="the lease is over, the margin is not"),
        pytest.param(AFTER_S - 0.001, DOWN, DOWN, False, id="a moment too early"),
        pytest.param(AFTER_S, DOWN, DOWN, True, id="silent for lease and margin, and nobody sees it"),
        pytest.param(AFTER_S, DOWN, UP, False, id="one vantage is not enough"),
        pytest.param(AFTER_S, UP, DOWN, False, id="nor is the other one"),
        pytest.param(60.0, UP, UP, False, id="silent for long, yet everybody sees it serving"),
    ],
)
def test_lost(silent_s: float, mine: Vantage, others: Vantage, lost: bool) -> None:
    now_s = 100.0
    heartbeats = {
        US: seen(US, now_s - silent_s),
        EU: seen(EU, now_s),
        AP: seen(AP, now_s, vantages={US: others}),
    }
    verdict = membership.judge(view(EU, now_s, seen=heartbeats, vantages={US: mine, AP: UP}), US)
    assert verdict.lost is lost
    assert verdict.because


def test_a_stale_vantage_does_not_vote() -> None:
    now_s = 100.0
    heartbeats = {US: seen(US, 0), EU: seen(EU, now_s), AP: seen(AP, now_s - LEASE_S, vantages={US: DOWN})}
    verdict = membership.judge(view(EU, now_s, seen=heartbeats, vantages={US: DOWN, AP: DOWN}), US)
    assert not verdict.lost
    assert "2 of 3 regions must agree" in verdict.because


def test_a_region_never_seen_is_not_lost() -> None:
    assert not membership.judge(view(EU, seen={}), US).lost


def test_it_says_when_to_look_again() -> None:
    verdict = membership.judge(lost_view(silent_s=1.0), US)
    assert verdict.retry_at_s == pytest.approx(100.0 - 1.0 + AFTER_S)


def test_the_region_itself_has_no_vote_on_itself() -> None:
    assert US not in membership.doubters(lost_view(), US)
    assert membership.doubters(lost_view(), US) == frozenset[Region]({EU, AP})


def test_the_holder_stops_before_the_observer_may_start() -> None:
    sent_at_s = 50.0
    for delay_s in (0.0, 0.1, 3.0):
        assert lease.holder_until_s(sent_at_s, TIMERS) < lease.takeover_at_s(sent_at_s + delay_s, TIMERS)


def test_a_lease_never_grows_on_its_way_to_the_instance() -> None:
    # The instance read 7.0 on its clock, the agent got it when its own said 100.2; truly they differ by 93.1.
    until_s = lease.on_instance_clock_s(102.0, status(clock_s=7.0), received_at_s=100.2)
    assert until_s == pytest.approx(8.8)
    assert until_s <= 102.0 - 93.1
