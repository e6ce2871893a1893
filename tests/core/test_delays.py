"""What silences say about an objective: rates, which freezes fail over, and an RTO that waits for all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leeward.core import delays, timers
from leeward.core.delays import BOUNDS_S, BUCKETS, YEAR_S, Delays, Freeze, Silences
from leeward.core.values import Region

US = Region("us")
RTT_S, HEARTBEAT_S, DAY_S = 0.2, 0.25, 86400.0


def silences(observed_s: float, **at: int) -> Silences:
    """Silences by the bound of their bucket: s8=3 are three of up to 8 s."""
    counts = [0] * BUCKETS
    for bound, count in at.items():
        counts[delays.bucket(float(bound[1:]))] = count
    return Silences(tuple(counts), observed_s)


def test_a_silence_counts_up_to_its_bound() -> None:
    assert [delays.bucket(each_s) for each_s in (0.25, 0.5, 0.51, 60.0, 61.0)] == [0, 0, 1, 9, 10]


def test_rates_are_careful_within_a_bucket() -> None:
    found = silences(YEAR_S / 2, s8=3, s20=1)
    assert found.longer_per_year(5.0) == 8, "three of 8 s and one of 20 s in half a year"
    assert found.longer_per_year(6.0) == 8
    assert found.longer_per_year(8.1) == 2
    assert Silences().longer_per_year(1.0) == 0


@pytest.mark.parametrize(
    ("lasting_s", "takeover_s", "gives_up"),
    [
        pytest.param(1.5, 2.0, False, id="shorter than the wait by more than a heartbeat"),
        pytest.param(1.9, 2.0, True, id="a heartbeat can be as much older"),
        pytest.param(20.0, 28.8, False, id="an RTO of a minute waits for 20 s"),
        pytest.param(30.0, 28.8, True, id="but not for 30 s"),
    ],
)
def test_which_freezes_fail_over(lasting_s: float, takeover_s: float, gives_up: bool) -> None:
    assert delays.fails_over(lasting_s, takeover_s, HEARTBEAT_S) is gives_up
    freezes = (Freeze(lasting_s, 12.0), Freeze(0.1, 1000.0))
    assert delays.needless_per_year(freezes, takeover_s, HEARTBEAT_S) == (12.0 if gives_up else 0.0)


@pytest.mark.parametrize(
    ("measured", "rto_s", "expected", "told"),
    [
        pytest.param(None, None, None, "measured for 0.0 h", id="nothing measured"),
        pytest.param(silences(3600.0, s8=1), None, None, "measured for 1.0 h", id="not for long enough"),
        pytest.param(silences(DAY_S, s1=99), None, 0.0, "lasted longer than the wait of 2.0 s", id="nothing too long"),
        pytest.param(silences(DAY_S, s8=1), 18.2, 365.0, "an RTO of 18.2 s instead of 5 s", id="8 s once a day"),
        pytest.param(silences(DAY_S, s8=1, s61=1), None, 730.0, "longer than any wait", id="a minute and more"),
        pytest.param(silences(DAY_S, s60=1), None, 365.0, "longer than any wait", id="a minute"),
    ],
)
def test_what_is_proposed(measured: Silences | None, rto_s: float | None, expected: float | None, told: str) -> None:
    found = delays.propose(measured, 5.0, RTT_S, 2.0, synchronous=False, dns_ttl_s=0.0)
    assert found.rto_s == (None if rto_s is None else pytest.approx(rto_s, abs=0.05))
    assert found.needless_per_year == expected
    assert told in found.because


@given(waits_s=st.floats(0.1, 40.0), rtt_s=st.floats(0.001, 1.0), synchronous=st.booleans(), ttl_s=st.floats(0.0, 60.0))
def test_the_rto_proposed_pays_for_the_wait(waits_s: float, rtt_s: float, synchronous: bool, ttl_s: float) -> None:
    rto_s = timers.rto_for_s(waits_s, rtt_s, synchronous=synchronous, dns_ttl_s=ttl_s)
    paid = timers.patience(rto_s, 0.0, rtt_s, synchronous=synchronous, dns_ttl_s=ttl_s)
    shortest_s = timers.lease_min_s(rtt_s)
    assert paid.takeover_s == pytest.approx(max(shortest_s, min(waits_s, max(shortest_s, timers.TAKEOVER_MAX_S))))


def test_the_longest_observer_speaks_for_all() -> None:
    reports = (Delays({US: silences(10.0, s8=1)}), Delays({US: silences(20.0, s8=2)}), Delays())
    assert delays.longest_watched(reports, US) == silences(20.0, s8=2)
    assert delays.longest_watched(reports, Region("eu")) is None


def test_other_bounds_are_not_mixed() -> None:
    assert Delays({US: silences(1.0)}).current
    assert not Delays({US: Silences((1, 2, 3), 1.0)}).current
    assert tuple(sorted(BOUNDS_S)) == BOUNDS_S
