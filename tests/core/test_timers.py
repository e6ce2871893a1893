"""What objectives pay for: never less than the shortest safe lease, never more than half of the RTO."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leeward.core import timers

RTT_S = 0.2


@pytest.mark.parametrize(
    ("rto_s", "rpo_s", "synchronous", "dns_ttl_s", "lease_s", "takeover_s"),
    [
        pytest.param(5.0, 5.0, False, 1.0, 2.0, 2.0, id="the demo: nothing to spare"),
        pytest.param(5.0, 0.0, True, 0.0, 2.0, 2.0, id="nor in quorum"),
        pytest.param(30.0, 5.0, False, 0.0, 2.5, 13.88, id="async: the lease by the RPO, the wait by the RTO"),
        pytest.param(30.0, 5.0, False, 10.0, 2.5, 8.91, id="less what a DNS TTL takes"),
        pytest.param(60.0, 5.0, False, 0.0, 2.5, 28.81, id="a minute waits for a machine frozen for 28 s"),
        pytest.param(60.0, 0.0, True, 0.0, 28.41, 28.41, id="in quorum it writes on as soon as it wakes"),
        pytest.param(600.0, 600.0, False, 0.0, 30.0, 30.0, id="but for no longer than the longest wait"),
        pytest.param(60.0, 1.0, False, 0.0, 2.0, 28.81, id="an RPO below what a lease needs is refused elsewhere"),
    ],
)
def test_what_objectives_pay_for(
    rto_s: float, rpo_s: float, synchronous: bool, dns_ttl_s: float, lease_s: float, takeover_s: float
) -> None:
    found = timers.patience(rto_s, rpo_s, RTT_S, synchronous=synchronous, dns_ttl_s=dns_ttl_s)
    assert (found.lease_s, found.takeover_s) == (pytest.approx(lease_s, abs=0.01), pytest.approx(takeover_s, abs=0.01))


@given(
    rto_s=st.floats(1.0, 3600.0),
    rpo_s=st.floats(0.0, 3600.0),
    rtt_s=st.floats(0.001, 1.0),
    synchronous=st.booleans(),
    dns_ttl_s=st.floats(0.0, 60.0),
)
def test_patience_is_bounded(rto_s: float, rpo_s: float, rtt_s: float, synchronous: bool, dns_ttl_s: float) -> None:
    found = timers.patience(rto_s, rpo_s, rtt_s, synchronous=synchronous, dns_ttl_s=dns_ttl_s)
    shortest_s = timers.lease_min_s(rtt_s)
    assert shortest_s <= found.lease_s <= found.takeover_s <= max(shortest_s, timers.TAKEOVER_MAX_S)
    if found.takeover_s > shortest_s:
        total_s = timers.budget(shortest_s, rtt_s, synchronous=synchronous, takeover_s=found.takeover_s).total_s
        assert 2 * total_s <= rto_s - dns_ttl_s + 1e-6, "two failovers fit"
    if not synchronous and found.lease_s > shortest_s:
        assert found.lease_s <= rpo_s / 2


def test_the_arithmetic_shows_the_patience() -> None:
    assert timers.budget(2.0, RTT_S, synchronous=False).arithmetic() == (
        "lease 2.00 + margin 0.06 + election 0.80 + promote 0.10 + route 0.10 = 3.06 s"
    )
    assert timers.budget(2.0, RTT_S, synchronous=False, takeover_s=28.81).arithmetic() == (
        "lease 2.00 + patience 26.81 + margin 0.19 + election 0.80 + promote 0.10 + route 0.10 = 30.00 s"
    )
