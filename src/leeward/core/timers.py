"""Derive the protocol's timers from an application's objectives, or say why they cannot be met.

RTO = detection (L + margin, less the age of the last heartbeat) + prepare + promote + route, plus the DNS
TTL for clients that know nothing but DNS. L >= max(2 s, 8 x the fleet's largest round trip): below
that, an ordinary hiccup would look like an outage (DESIGN.md, section 6).
"""

from dataclasses import dataclass

from leeward.core.settings import Timers

LEASE_MIN_S = 2.0
ROUND_TRIPS_PER_LEASE = 8
HEARTBEATS_PER_LEASE = 8
# Two clocks that drift apart by 0.5 % over a lease, and the time the kernel takes to end a PostgreSQL.
DRIFT_BOUND = 0.005
STOP_S = 0.05
# Measured: promotion of a PostgreSQL under load to its first write, with room (ENGINES.md).
PROMOTE_S = 0.1
ROUTE_S = 0.1
# How many round trips the two-phase election costs: prepare, see it and promise, elect; and in the
# synchronous modes the next standby's first acknowledgement on the new timeline.
ELECTION_ROUND_TRIPS = 4
ACKNOWLEDGE_ROUND_TRIPS = 2


@dataclass(frozen=True, slots=True)
class Budget:
    """An RTO, term by term, in seconds, as it is shown to people."""

    lease_s: float
    margin_s: float
    election_s: float
    promote_s: float
    route_s: float

    @property
    def total_s(self) -> float:
        """The predicted worst ordinary RTO for clients of a gateway."""
        return self.lease_s + self.margin_s + self.election_s + self.promote_s + self.route_s

    def arithmetic(self) -> str:
        """Return the sum as a sentence."""
        return (
            f"lease {self.lease_s:.2f} + margin {self.margin_s:.2f} + election {self.election_s:.2f} "
            f"+ promote {self.promote_s:.2f} + route {self.route_s:.2f} = {self.total_s:.2f} s"
        )


def budget(lease_s: float, max_rtt_s: float, *, synchronous: bool) -> Budget:
    """Return what a failover takes with this lease over links of at most ``max_rtt_s`` round trip."""
    trips = ELECTION_ROUND_TRIPS + (ACKNOWLEDGE_ROUND_TRIPS if synchronous else 0)
    return Budget(
        lease_s=lease_s,
        margin_s=margin_s(lease_s),
        election_s=trips * max_rtt_s,
        promote_s=PROMOTE_S,
        route_s=ROUTE_S,
    )


def lease_min_s(max_rtt_s: float) -> float:
    """Return the shortest lease that links of this round trip allow."""
    return max(LEASE_MIN_S, ROUND_TRIPS_PER_LEASE * max_rtt_s)


def margin_s(lease_s: float) -> float:
    """Return how much longer than the lease an observer waits."""
    return DRIFT_BOUND * lease_s + STOP_S


def feasible(rto_s: float, max_rtt_s: float, *, synchronous: bool) -> Budget | None:
    """Return the budget of the shortest lease, or None when even that exceeds the objective."""
    shortest = budget(lease_min_s(max_rtt_s), max_rtt_s, synchronous=synchronous)
    return shortest if shortest.total_s <= rto_s else None


def derive(max_rtt_s: float) -> Timers:
    """Return the timers of a fleet whose largest round trip is ``max_rtt_s``.

    The lease is always the shortest safe one: a longer lease saves nothing but false alarms that the
    vantages already exclude, and costs every outage its length.
    """
    lease_s = lease_min_s(max_rtt_s)
    return Timers(
        lease_s=lease_s,
        margin_s=margin_s(lease_s),
        heartbeat_s=lease_s / HEARTBEATS_PER_LEASE,
        probe_timeout_s=max(0.5, 3 * max_rtt_s),
        promise_wait_s=max(1.0, 4 * max_rtt_s),
        ramp_s=5 * lease_s,
        hold_down_s=2 * lease_s,
        rtt_max_s=max_rtt_s,
    )
