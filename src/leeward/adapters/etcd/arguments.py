"""The command line of one etcd member, in the world and in Kubernetes alike. Pure.

A member that restarts with its data directory just starts: etcd ignores ``--initial-cluster`` then. A member
whose directory is lost must not come back under its old identity (it has forgotten its votes):
``leeward.adapters.etcd.members.readd_member`` first, then start with ``joining=True``.
"""

from dataclasses import dataclass

from leeward.adapters.etcd.wire import PROGRESS_S
from leeward.compile.target import (
    QUORUM_CLIENT_PORT,
    QUORUM_METRICS_PORT,
    QUORUM_PEER_PORT,
    QUORUM_QUOTA_BYTES,
    QuorumMember,
)
from leeward.core.identities import CA, CERTIFICATE, KEY, PEER_CA, PEER_CERTIFICATE, PEER_KEY

ELECTION_MIN_S = 0.4
ELECTION_ROUND_TRIPS = 2
ELECTION_SPREAD = 0.5
HEARTBEATS_PER_ELECTION = 8  # etcd refuses fewer than 5

CIPHER_SUITES = tuple(
    f"TLS_ECDHE_{kind}_WITH_{cipher}"
    for kind in ("ECDSA", "RSA")
    for cipher in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")
)
"""Forward secret and authenticated, for certificates of either kind of key."""
HISTORY = "1m"
"""Kept for watches that resume; etcd compacts once in this time, so it holds up to twice as much. Whoever was away for
longer reads the whole store. The history of heartbeats is what fills the quota (docs/concepts/store.md).
"""
COMMIT_S = 5.0
"""How often a member's database is committed; the log, which is written for each transaction, has the rest.

etcd's own 100 ms cost as many flushes a second as our few transactions do. And a member of 3.5.0 to 3.5.2 that is
killed in the moment of a commit may skip one transaction for good: https://github.com/etcd-io/etcd/issues/13766
"""
SNAPSHOT_TRANSACTIONS = 1_000
"""etcd keeps its Raft log in memory, 5,000 entries and those since its last snapshot. With 10,000,
transactions of 3 kB made it grow to 103 MiB; with 1,000 it stays at 51.
"""


@dataclass(frozen=True, slots=True)
class Election:
    """etcd's two timers, in seconds."""

    heartbeat_s: float
    timeout_s: float


def election(max_rtt_s: float, rank: int, members: int) -> Election:
    """Return the timers of the ``rank``-th of ``members`` over links of at most ``max_rtt_s`` round trip.

    After a leader's death a survivor waits 1 to 2 timeouts, drawn again each time, asks for votes twice (pre-vote,
    vote) and commits: three round trips. Two survivors that start within half a round trip of each other split the
    vote and wait again, which costs far more than the wait itself; so the timeouts differ by rank. Rank 0 starts first
    as a rule, and the other ranks seldom interrupt.

    Far below etcd's advice of ten round trips, and still safe: an early timeout only starts a pre-vote, which
    whoever hears the leader ignores. It must be short: elections that outlast a lease (8 round trips, at least
    2 s) would cost every primary its lease, not only the one in the lost region.

    Measured, SIGKILL of the leader to the next put, two survivors 200 ms apart, 24 kills each (min / median / max s):
    600, 500 and 400 ms by rank 1.29 / 1.66 / 3.79; 500 ms for all 1.35 / 1.45 / 5.91. With 8 kills each: 1000 ms for
    all 1.80 / 1.92 / 5.62, 300 ms for all 1.20 / 2.79 / 4.09. At none of these did the leader change without a fault.
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
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": HISTORY,
        "quota-backend-bytes": str(QUORUM_QUOTA_BYTES),
        "snapshot-count": str(SNAPSHOT_TRANSACTIONS),
        "backend-batch-interval": f"{COMMIT_S:g}s",
        "experimental-watch-progress-notify-interval": f"{_milliseconds(PROGRESS_S)}ms",
        "logger": "zap",
        "log-outputs": "stderr",
        "listen-metrics-urls": f"http://{member.listen_host}:{QUORUM_METRICS_PORT}",
        # At "warn" the JSON gateway writes several lines for every transaction.
        "log-level": "error",
    }
    return program, *(f"--{name}={value}" for name, value in flags.items())


def _identity(directory: str) -> dict[str, str]:
    # An authority for clients and another one for members: a certificate of one is refused at the other's port.
    return {
        "trusted-ca-file": f"{directory}/{CA}",
        "cert-file": f"{directory}/{CERTIFICATE}",
        "key-file": f"{directory}/{KEY}",
        "client-cert-auth": "true",
        "peer-trusted-ca-file": f"{directory}/{PEER_CA}",
        "peer-cert-file": f"{directory}/{PEER_CERTIFICATE}",
        "peer-key-file": f"{directory}/{PEER_KEY}",
        "peer-client-cert-auth": "true",
        # Peers arrive through the WAN or a gateway, so not from the address in their certificate. The
        # certificate itself is still checked against the members' authority.
        "experimental-peer-skip-client-san-verification": "true",
        # For TLS 1.2, the newest that etcd 3.5.1 speaks. Without the list Go also offers CBC.
        "cipher-suites": ",".join(CIPHER_SUITES),
    }


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
