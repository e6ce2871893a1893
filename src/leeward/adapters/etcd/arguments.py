"""The command line of one etcd member, in the world and in Kubernetes alike. Pure.

A member that restarts with its data directory just starts: etcd ignores ``--initial-cluster`` then. A member
whose directory is lost must not come back under its old identity (it has forgotten its votes):
``leeward.adapters.etcd.members.readd_member`` first, then start with ``joining=True``.
"""

from dataclasses import dataclass

from leeward.adapters.etcd.wire import PROGRESS_S
from leeward.compile.target import QUORUM_CLIENT_PORT, QUORUM_METRICS_PORT, QUORUM_PEER_PORT, QuorumMember

ELECTION_MIN_S = 0.4
ELECTION_ROUND_TRIPS = 2
ELECTION_SPREAD = 0.5
HEARTBEATS_PER_ELECTION = 8  # etcd refuses fewer than 5

HISTORY_REVISIONS = 10_000
"""Kept for watches that resume: minutes of heartbeats."""
QUOTA_BYTES = 256 * 1024 * 1024
SNAPSHOT_TRANSACTIONS = 10_000


@dataclass(frozen=True, slots=True)
class Election:
    """etcd's two timers, in seconds."""

    heartbeat_s: float
    timeout_s: float


def election(max_rtt_s: float, rank: int, members: int) -> Election:
    """Return the timers of the ``rank``-th of ``members`` over links of at most ``max_rtt_s`` round trip.

    After a leader's death a survivor waits 1 to 2 timeouts, drawn anew each time, asks for votes twice (pre-vote,
    vote) and commits: three round trips. Two survivors that start within half a round trip of each other split the
    vote and wait again, which costs far more than the wait itself; so the timeouts differ by rank. Rank 0 starts first
    as a rule, and its elders seldom interrupt.

    Far below etcd's advice of ten round trips, and still safe: an early timeout only starts a pre-vote, which
    whoever hears the leader ignores. It must be short: elections that outlast a lease (8 round trips, at least
    2 s) would cost every primary its lease, not only the one in the lost region.

    Measured, SIGKILL of the leader to the next put, two survivors 200 ms apart, 24 kills each (min / median / max s):
    600, 500 and 400 ms by rank 1.29 / 1.66 / 3.79; 500 ms for all 1.35 / 1.45 / 5.91. With 8 kills each: 1000 ms for
    all 1.80 / 1.92 / 5.62, 300 ms for all 1.20 / 2.79 / 4.09. No leader changed unasked, at any of these.
    """
    shortest_s = max(ELECTION_MIN_S, ELECTION_ROUND_TRIPS * max_rtt_s)
    spread = ELECTION_SPREAD * rank / (members - 1) if members > 1 else 0.0
    return Election(heartbeat_s=shortest_s / HEARTBEATS_PER_ELECTION, timeout_s=shortest_s * (1 + spread))


def command(member: QuorumMember, *, program: str = "etcd", joining: bool = False) -> tuple[str, ...]:
    """Return the whole command of one member.

    Regions late in ``peer_urls`` campaign first: the earliest is usually the primary's, and losing it together
    with etcd's leader is the slowest failover. ``joining``: it replaces a member that lost its data, and was added
    again before it starts.
    """
    regions = list(member.peer_urls)
    timers = election(member.rtt_max_s, len(regions) - 1 - regions.index(member.region), len(regions))
    flags = {
        "name": member.region,
        "data-dir": member.data_dir,
        "listen-client-urls": f"https://{member.listen_host}:{QUORUM_CLIENT_PORT}",
        "advertise-client-urls": member.client_url,
        "listen-peer-urls": f"https://{member.listen_host}:{QUORUM_PEER_PORT}",
        "initial-advertise-peer-urls": member.peer_urls[member.region],
        "initial-cluster": ",".join(f"{name}={url}" for name, url in member.peer_urls.items()),
        "initial-cluster-state": "existing" if joining else "new",
        "initial-cluster-token": member.fleet,
        **_identity(member.identity_dir),
        "heartbeat-interval": _milliseconds(timers.heartbeat_s),
        "election-timeout": _milliseconds(timers.timeout_s),
        "pre-vote": "true",
        "strict-reconfig-check": "true",
        "auto-compaction-mode": "revision",
        "auto-compaction-retention": str(HISTORY_REVISIONS),
        "quota-backend-bytes": str(QUOTA_BYTES),
        "snapshot-count": str(SNAPSHOT_TRANSACTIONS),
        "experimental-watch-progress-notify-interval": f"{_milliseconds(PROGRESS_S)}ms",
        "logger": "zap",
        "log-outputs": "stderr",
        "listen-metrics-urls": f"http://{member.listen_host}:{QUORUM_METRICS_PORT}",
        # At "warn" the JSON gateway writes several lines for every transaction.
        "log-level": "error",
    }
    return program, *(f"--{name}={value}" for name, value in flags.items())


def _identity(directory: str) -> dict[str, str]:
    authority, certificate, key = (f"{directory}/{name}" for name in ("ca.crt", "tls.crt", "tls.key"))
    return {
        "trusted-ca-file": authority,
        "cert-file": certificate,
        "key-file": key,
        "client-cert-auth": "true",
        "peer-trusted-ca-file": authority,
        "peer-cert-file": certificate,
        "peer-key-file": key,
        "peer-client-cert-auth": "true",
        # Peers arrive through the WAN or a gateway, so not from the address in their certificate. The
        # certificate itself is still checked against the fleet's authority.
        "experimental-peer-skip-client-san-verification": "true",
    }


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
