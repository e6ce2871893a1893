"""Derive the protocol's timers from an application's objectives, or say why they cannot be met.

RTO = detection (lease + patience + margin, less the age of the last heartbeat) + prepare + promote + route, plus
the DNS TTL for clients that only use DNS. Lease >= max(2 s, 8 x the fleet's largest round trip): below
that, an ordinary hiccup would look like an outage.

Patience is what the RTO leaves: a failover may take half of it, so that a second one still fits (an elected region
that is lost in turn, or a database that is first waited for and whose lease then has to run out). A machine that
stands still for less than that is waited for. In async a primary that is cut off acknowledges until its lease ends, so
there the lease takes half of the RPO at most, while others wait just as long as in the other modes.
"""

from dataclasses import dataclass

from leeward.core.settings import Timers

LEASE_MIN_S = 2.0
ROUND_TRIPS_PER_LEASE = 8
HEARTBEATS_PER_LEASE = 8
# Two clocks that drift apart by 0.5 % over a lease, and what the guard and the kernel take to end PostgreSQL, where
# the kernel prefers the manager to ordinary processes (``kit.kernel.run_ahead``).
DRIFT_BOUND = 0.005
STOP_S = 0.05
# Measured: promotion of a PostgreSQL under load to its first write, with room.
PROMOTE_S = 0.1
ROUTE_S = 0.1
# How many round trips the two-phase election costs: prepare, see it and promise, elect; and in the
# synchronous modes the next standby's first acknowledgement on the new timeline.
ELECTION_ROUND_TRIPS = 4
ACKNOWLEDGE_ROUND_TRIPS = 2
# The part of an RTO (less the DNS TTL that is asked for) that one failover may take, waiting included.
FAILOVER_SHARE = 0.5
# The part of an RPO that a primary cut off may acknowledge for in async; the rest is for the standbys' lag.
CUT_OFF_SHARE = 0.5
TAKEOVER_MAX_S = 30.0
# The part of what an RTO leaves beside a failover that a standby's veto may take, and its bound in shortest leases.
VETO_SHARE = 0.25
VETO_LEASES_MAX = 1.0


@dataclass(frozen=True, slots=True)
class Budget:
    """An RTO, term by term, in seconds, as it is shown to people."""

    lease_s: float
    """The shortest lease that the fleet's links allow."""
    margin_s: float
    election_s: float
    promote_s: float
    route_s: float
    patience_s: float = 0.0
    """How much longer than that lease a silent primary is waited for."""

    @property
    def total_s(self) -> float:
        """The predicted worst ordinary RTO for clients of a gateway."""
        return self.detection_s + self.election_s + self.promote_s + self.route_s

    @property
    def detection_s(self) -> float:
        """From the last heartbeat until another region may take over."""
        return self.lease_s + self.patience_s + self.margin_s

    def arithmetic(self) -> str:
        """Return the sum as a sentence."""
        patience = f" + patience {self.patience_s:.2f}" if self.patience_s else ""
        return (
            f"lease {self.lease_s:.2f}{patience} + margin {self.margin_s:.2f} + election {self.election_s:.2f} "
            f"+ promote {self.promote_s:.2f} + route {self.route_s:.2f} = {self.total_s:.2f} s"
        )


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an application's primary is left alone, in seconds."""

    lease_s: float
    """L: it may write until it sent its last committed heartbeat plus this."""
    takeover_s: float
    """W >= L: others wait this long, and a margin, after they saw that heartbeat."""


def patience(rto_s: float, rpo_s: float, max_rtt_s: float, *, synchronous: bool, dns_ttl_s: float = 0.0) -> Patience:
    """Return the lease and the wait that an application's objectives pay for, over links of ``max_rtt_s``.

    ``dns_ttl_s`` is the part of the RTO that clients of DNS use up.
    """
    shortest_s = lease_min_s(max_rtt_s)
    rest = budget(shortest_s, max_rtt_s, synchronous=synchronous)
    room_s = FAILOVER_SHARE * (rto_s - dns_ttl_s) - rest.election_s - rest.promote_s - rest.route_s - STOP_S
    takeover_s = max(shortest_s, min(TAKEOVER_MAX_S, room_s / (1 + DRIFT_BOUND)))
    if synchronous:
        return Patience(takeover_s, takeover_s)
    return Patience(min(takeover_s, lease_max_s(rpo_s, max_rtt_s)), takeover_s)


def rto_for_s(takeover_s: float, max_rtt_s: float, *, synchronous: bool, dns_ttl_s: float = 0.0) -> float:
    """Return the shortest RTO that pays for waiting so long: what ``patience`` turns into ``takeover_s``."""
    rest = budget(lease_min_s(max_rtt_s), max_rtt_s, synchronous=synchronous, takeover_s=takeover_s)
    return dns_ttl_s + rest.total_s / FAILOVER_SHARE


def budget(lease_s: float, max_rtt_s: float, *, synchronous: bool, takeover_s: float | None = None) -> Budget:
    """Return what a failover takes with this lease over links of at most ``max_rtt_s`` round trip.

    ``takeover_s``: how long a silent primary is waited for; None: for the lease.
    """
    waits_s = lease_s if takeover_s is None else takeover_s
    trips = ELECTION_ROUND_TRIPS + (ACKNOWLEDGE_ROUND_TRIPS if synchronous else 0)
    return Budget(
        lease_s=lease_s,
        patience_s=waits_s - lease_s,
        margin_s=margin_s(waits_s),
        election_s=trips * max_rtt_s,
        promote_s=PROMOTE_S,
        route_s=ROUTE_S,
    )


def veto_s(rto_s: float, max_rtt_s: float, takeover_s: float, *, synchronous: bool) -> float:
    """Return how much longer a silent primary is waited for while WAL from it still arrives."""
    shortest_s = lease_min_s(max_rtt_s)
    total_s = budget(shortest_s, max_rtt_s, synchronous=synchronous, takeover_s=takeover_s).total_s
    return min(VETO_LEASES_MAX * shortest_s, VETO_SHARE * max(0.0, rto_s - total_s))


def lease_max_s(rpo_s: float, max_rtt_s: float) -> float:
    """Return the longest lease in async: a primary that is cut off acknowledges so long what its loss takes away."""
    return max(lease_min_s(max_rtt_s), CUT_OFF_SHARE * rpo_s)


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

    Its lease, the shortest safe one, is a region's: it says whether the region is heard. Each application has a lease
    of its own, which is never shorter (``patience``).
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
