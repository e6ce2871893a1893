"""A region is lost when its lease is over and a majority of vantages agree; never on one of the two."""

from dataclasses import replace

import pytest

from leeward.core import lease, membership, timers
from leeward.core.settings import AppSettings
from leeward.core.timers import margin_s
from leeward.core.values import Region, Role, Vantage
from tests.core.views import AP, DOWN, EU, LEASE_S, MARGIN_S, SETTINGS, UP, US, lost_view, report, seen, status, view

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
        for lease_s in (LEASE_S, 30.0):
            assert lease.holder_until_s(sent_at_s, lease_s) < lease.takeover_at_s(sent_at_s + delay_s, lease_s)


def test_a_lease_never_grows_on_its_way_to_the_instance() -> None:
    # The instance read 7.0 on its clock, the agent got it when its own said 100.2; truly they differ by 93.1.
    until_s = lease.on_instance_clock_s(102.0, status(clock_s=7.0), received_at_s=100.2)
    assert until_s == pytest.approx(8.8)
    assert until_s <= 102.0 - 93.1


PATIENT = replace(SETTINGS, lease_s=LEASE_S, takeover_s=20.0)


@pytest.mark.parametrize(
    ("app", "stated_s", "silent_s", "lost"),
    [
        pytest.param(PATIENT, LEASE_S, 20.0 + margin_s(20.0) - 0.001, False, id="waited for, long after its lease"),
        pytest.param(PATIENT, LEASE_S, 20.0 + margin_s(20.0), True, id="the objective leaves no more time"),
        pytest.param(SETTINGS, 30.0, 30.0 + margin_s(30.0) - 0.001, False, id="it states a longer lease than ours"),
        pytest.param(SETTINGS, 30.0, 30.0 + margin_s(30.0), True, id="and that one is over"),
    ],
)
def test_the_objective_pays_for_patience(app: AppSettings, stated_s: float, silent_s: float, lost: bool) -> None:
    given = lost_view(silent_s=silent_s, app=app)
    silent = seen(US, given.seen[US].at_s, report_=report(Role.PRIMARY, lease_s=stated_s))
    verdict = membership.judge(replace(given, seen={**given.seen, US: silent}), US)
    assert verdict.lost is lost, verdict.because
    assert lost or verdict.retry_at_s == pytest.approx(100.0 - silent_s + max(app.takeover_s, stated_s), abs=0.5)


VETO_S = timers.veto_s(SETTINGS.rto_s, 0.2, LEASE_S, synchronous=False)


@pytest.mark.parametrize(
    ("arrived_s_ago", "silent_s", "lost"),
    [
        pytest.param(0.3, AFTER_S, False, id="WAL still arrives"),
        pytest.param(1.0, AFTER_S, True, id="it did half a lease ago"),
        pytest.param(0.3, AFTER_S + VETO_S - 0.01, False, id="as long as the veto lasts"),
        pytest.param(0.3, AFTER_S + VETO_S, True, id="and no longer"),
    ],
)
def test_a_standby_to_which_wal_streams_has_a_bounded_veto(arrived_s_ago: float, silent_s: float, lost: bool) -> None:
    assert 0.3 < VETO_S < LEASE_S
    verdict = membership.judge(lost_view(silent_s=silent_s, wal_arrived_at_s={AP: 100.0 - arrived_s_ago}), US)
    assert verdict.lost is lost, verdict.because
    assert lost or verdict.retry_at_s is not None


def test_neither_the_primary_nor_a_standby_that_is_not_heard_has_a_veto() -> None:
    sa = Region("sa")
    given = lost_view(regions=(US, EU, sa), wal_arrived_at_s={US: 100.0, AP: 100.0})
    heard = {**given.seen, AP: seen(AP, 0.0), sa: seen(sa, 100.0, vantages={US: DOWN})}
    assert membership.judge(replace(given, seen=heard), US).lost
    assert not membership.judge(replace(given, seen={**heard, AP: seen(AP, 100.0)}), US).lost
