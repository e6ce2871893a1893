"""Only what surely changes nothing is passed over, and only while nothing is under way."""

from dataclasses import replace

import pytest

from leeward.agent.machine import relevance
from leeward.agent.machine.store import StoreCopy, StoredTopology
from leeward.core.values import Phase, Region, ReplicationMode, Topology
from leeward.core.view import Seen
from tests.core.views import APP, DOWN, EU, LEASE_S, TIMERS, UP, US, electing, report, seen, topology

NOW_S = 100.0


def quiet(given: Topology, *, me: Region = EU, heard_s: float = 0.1, left_s: float = LEASE_S) -> bool:
    store = StoreCopy("fleet")
    store.topologies[APP] = StoredTopology(given, 5, 0.0)
    store.seen[US] = seen(US, NOW_S - heard_s)
    return relevance.quiet(store, me, NOW_S + left_s, NOW_S, TIMERS)


def test_a_steady_state_is_quiet() -> None:
    assert quiet(topology())
    assert quiet(topology(), me=US)


@pytest.mark.parametrize(
    "loud",
    [
        pytest.param(lambda: quiet(electing()), id="an election"),
        pytest.param(lambda: quiet(topology(phase=Phase.SWITCHING, target=EU)), id="a switchover"),
        pytest.param(lambda: quiet(topology(requested_mode=ReplicationMode.SYNC)), id="a change of mode"),
        pytest.param(lambda: quiet(topology(), heard_s=2 * TIMERS.heartbeat_s), id="a primary that is late"),
        pytest.param(lambda: quiet(topology(), me=US, left_s=LEASE_S / 3), id="a lease that runs out"),
        pytest.param(lambda: relevance.quiet(StoreCopy("fleet"), EU, NOW_S + 1, NOW_S, TIMERS), id="nothing known yet"),
    ],
)
def test_whatever_is_under_way_is_judged(loud) -> None:  # type: ignore[no-untyped-def]
    assert not loud()


def test_a_heartbeat_is_news_unless_only_its_age_and_its_wal_moved() -> None:
    before = seen(US, 10.0, vantages={EU: UP})

    def news(after: Seen) -> bool:
        return relevance.is_news(before, after, TIMERS)

    assert not news(seen(US, 10.25, vantages={EU: UP}, report_=report(lsn=200), revision=11))
    assert news(seen(US, 10.25, vantages={EU: DOWN}))
    assert news(seen(US, 10.25, vantages={EU: UP}, report_=report(healthy=False)))
    assert news(seen(US, 10.0 + LEASE_S, vantages={EU: UP}))
    assert news(replace(before, heartbeat=replace(before.heartbeat, incarnation="b")))
    assert news(replace(before, heartbeat=replace(before.heartbeat, gateway_problem="drained")))
    assert relevance.is_news(None, before, TIMERS)
