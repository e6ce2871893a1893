"""What is counted: failovers that a longer wait would have spared, and those that were only observed."""

from dataclasses import replace

import pytest

from leeward.core import failover, tally
from leeward.core.actions import Count
from leeward.core.tally import Deposed
from leeward.core.values import FailoverPolicy, Heartbeat, InstanceReport, Orphans, ReplicationMode, Role, Tally
from leeward.core.view import Seen, View
from tests.core.views import (
    APP,
    EU,
    LEASE_S,
    SETTINGS,
    US,
    electing,
    lost_view,
    report,
    seen,
    topology,
    view,
)

OBSERVED = replace(SETTINGS, failover=FailoverPolicy.OBSERVE)
DEPOSED = Deposed(2, US, "a", heard_at_s=90.0)


def test_an_observed_loss_is_counted_once_and_changes_nothing() -> None:
    decision = failover.decide(lost_view(app=OBSERVED))
    (count,) = decision.actions
    assert isinstance(count, Count)
    assert (count.tally.withheld, count.note.kind) == (1, "FailoverWouldHaveStarted")
    assert "eu would be elected" in count.note.because
    again = failover.decide(lost_view(app=OBSERVED, tally=count.tally))
    assert again.actions == ()
    assert again.because == decision.because
    other = lost_view(app=OBSERVED, tally=count.tally)
    later = replace(other, seen={**other.seen, US: replace(other.seen[US], heartbeat=beat(sequence=9))})
    assert [type(each) for each in failover.decide(later).actions] == [Count]


def test_paused_is_not_observed() -> None:
    assert failover.decide(lost_view(app=OBSERVED, topology=topology(paused=True))).actions == ()


def test_an_observed_database_that_does_not_write_is_not_given_up() -> None:
    given = view(US, app=OBSERVED, instance_silent_since_s=0.0, lease_until_s=200.0)
    (count,) = failover.decide(given).actions
    assert isinstance(count, Count)
    assert failover.decide(replace(given, tally=count.tally)).actions == ()


def beat(*, incarnation: str = "a", sequence: int = 1, report_: InstanceReport | None = None) -> Heartbeat:
    return Heartbeat(US, incarnation, sequence, 8, {}, {APP: report_ or report(upstream=EU)})


def back(at_s: float, **given: object) -> View:
    steady = topology(epoch=2, primary=EU)
    now = view(EU, 100.0, topology=steady)
    return replace(now, seen={**now.seen, US: Seen(beat(**given), 20, at_s)})  # type: ignore[arg-type]


def test_who_is_looked_out_for() -> None:
    last, now = seen(US, 90.0), view(EU, topology=electing(), topology_seen_at_s=93.0)
    assert tally.remember(now, None, last) == DEPOSED
    assert tally.remember(replace(now, topology=electing(request="operator")), None, last) is None, "asked for"
    assert tally.remember(replace(now, topology=electing(deposed_lease_over=False)), None, last) is None, "gave up"
    assert tally.remember(replace(now, me=US), None, last) is None, "the deposed region cannot tell"
    assert tally.remember(now, None, seen(US, 92.9)) is None, "this agent was cut off as well"
    assert tally.remember(view(EU), DEPOSED, None) == DEPOSED, "still looked out for in the epoch that follows"


@pytest.mark.parametrize(
    ("given", "gap_s", "counted", "goes_on"),
    [
        pytest.param(back(90.0), 3.0, False, True, id="not back yet"),
        pytest.param(back(98.0), 3.0, True, True, id="back as it was, and follows"),
        pytest.param(back(98.0, incarnation="b"), 3.0, False, False, id="started again: it was lost indeed"),
        pytest.param(back(98.0), None, False, True, id="back while the failover goes on"),
        pytest.param(back(98.0, report_=report(Role.DETACHED)), 3.0, False, True, id="does not follow yet"),
        pytest.param(replace(back(98.0), tally=Tally(needless_epoch=2)), 3.0, False, False, id="counted already"),
        pytest.param(replace(back(90.0), now_s=151.0), 3.0, False, False, id="not back within a minute"),
        pytest.param(replace(back(151.0), now_s=152.0), 3.0, False, False, id="back after more than that"),
    ],
)
def test_a_needless_failover(given: View, gap_s: float | None, counted: bool, goes_on: bool) -> None:
    deposed, count = tally.look_out(given, DEPOSED, gap_s)
    assert (count is not None, deposed is not None) == (counted, goes_on)


def test_what_it_cost() -> None:
    orphans = (Orphans(1, transactions=7, rows=9, path="x"), Orphans(0, transactions=3, rows=3, path="y"))
    before = Tally(needless=1, needless_epoch=1, needless_lost=2, needless_gap_s=4.0)
    given = replace(back(98.0, report_=report(upstream=EU, orphans=orphans)), tally=before)
    _, count = tally.look_out(given, DEPOSED, 3.0)
    assert count is not None
    assert count.tally == Tally(needless=2, needless_epoch=2, needless_lost=9, needless_gap_s=7.0)
    assert (count.note.kind, count.note.took_s) == ("FailoverNeedless", 3.0)
    assert "silent for 8.0 s" in count.note.because
    assert "7 acknowledged transactions" in count.note.because
    assert LEASE_S < 8.0
    steady = topology(epoch=2, primary=EU, mode=ReplicationMode.SYNC, acks_required=1)
    _, count = tally.look_out(replace(given, topology=steady), DEPOSED, 3.0)
    assert count is not None
    assert count.tally.needless_lost == before.needless_lost, "what became an orphan was not acknowledged"
