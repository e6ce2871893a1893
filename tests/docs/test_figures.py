"""Figures in the documentation are those of the code: each sentence here is written from its constants."""

from pathlib import Path

import pytest

from leeward.adapters.dns import server, wire
from leeward.adapters.dns.server import CONNECTIONS_MAX, PER_CLIENT_MAX
from leeward.agent.machine import removal
from leeward.agent.services import dns as naming
from leeward.agent.services import store_keeper
from leeward.compile.target import QUORUM_QUOTA_BYTES
from leeward.core import certificates, progress, store_space, tally, timers
from leeward.core.dns import zone
from leeward.core.store_members import OLD_PERIODS
from leeward.drill import host_load, measure, summary
from leeward.instance import durability, volume
from leeward.instance.orphans import tables
from leeward.kit.http import refusals
from leeward.sim import outages, swarm
from leeward.spec.platform import Store
from leeward.spec.spec import DATABASES_MAX
from leeward.world import link, model, renewal

ROOT = Path(__file__).parents[2]
MIB = 1 << 20
WORDS = {2: "two", 3: "three", 5: "five", 6: "six", 8: "eight", 10: "ten"}


def minutes(seconds: float) -> str:
    return WORDS[round(seconds / 60)]


FIGURES = [
    ("README.md", f"A fleet runs up to {DATABASES_MAX} applications with a database"),
    ("docs/concepts/dns.md", f"there are at most {CONNECTIONS_MAX} connections, {PER_CLIENT_MAX} per client"),
    ("docs/concepts/dns.md", f"closed after {server.FIRST_S:g} s, after an answer {server.IDLE_S:g} s later"),
    ("docs/concepts/dns.md", f"a question must arrive within {server.MESSAGE_S:g} s once it has begun"),
    ("docs/concepts/dns.md", f"at most {wire.UDP_SIZE} bytes over UDP"),
    ("docs/concepts/dns.md", f"TTL of the applications, {zone.NEGATIVE_TTL_MAX_S} s at most"),
    ("docs/concepts/dns.md", f"learns, every {naming.LOOK_UP_EVERY_S:g} seconds, the public addresses"),
    ("docs/concepts/store.md", f"backs up its own member every {minutes(Store().backup_every_s)} minutes"),
    ("docs/concepts/store.md", f"keeps {WORDS[Store().backups_kept]} backups"),
    ("docs/concepts/store.md", f"older than {WORDS[OLD_PERIODS]} periods"),
    ("docs/concepts/store.md", f"The quota is {QUORUM_QUOTA_BYTES // MIB} MiB"),
    (
        "docs/concepts/store.md",
        f"above a quarter of the quota ({round(store_space.FRAGMENTED_SIZE * QUORUM_QUOTA_BYTES / MIB)} MiB)",
    ),
    ("docs/concepts/store.md", f"at most {store_space.STANDSTILL_BYTES // MIB} MiB in use"),
    ("docs/concepts/store.md", f"False above {store_space.FILLING:.0%} of the quota".replace("%", " %")),
    ("docs/concepts/store.md", f"once every file that answers is below {store_space.ROOM:.0%}".replace("%", " %")),
    ("docs/concepts/store.md", f"its own member every {WORDS[round(store_keeper.LOOK_EVERY_S)]} seconds"),
    ("docs/concepts/store.md", f"are at least {store_space.PAUSE_MIN_S:g} s apart, doubling up to ten minutes"),
    ("docs/concepts/certificates.md", f"The supervisor looks every {renewal.LOOK_EVERY_S:g} s"),
    ("docs/concepts/certificates.md", f"half of its {model.CERTIFICATES_S / 3600:g} hours left"),
    ("docs/concepts/certificates.md", f"of its life left ({certificates.LATE_MAX_S / 86400:g} days,"),
    ("docs/concepts/certificates.md", f"{refusals.LINES_MAX} lines a minute at most"),
    (
        "docs/concepts/orphans.md",
        f"{tables.LOCK_TIMEOUT_S} s for a lock, {tables.TABLE_TIMEOUT_S} s for a table, 300 s in all",
    ),
    ("docs/concepts/protocol.md", f"L is at least {timers.LEASE_MIN_S:g} s, or eight times the fleet's largest"),
    ("docs/concepts/protocol.md", f"is the wait, up to {timers.TAKEOVER_MAX_S:g} s"),
    ("docs/concepts/protocol.md", f"The record is {progress.POINTS_KEPT} points long"),
    ("docs/concepts/protocol.md", f"is removed from the store {minutes(removal.GRACE_S)} minutes later"),
    ("docs/concepts/protocol.md", f"instance manager measures it every {WORDS[round(volume.PERIOD_S)]} seconds"),
    ("docs/concepts/protocol.md", f"looks for it every {WORDS[round(durability.PERIOD_S)]} seconds"),
    ("docs/concepts/drills.md", f"interrupted for at most {summary.READS_INTERRUPTED_MAX_S:g} s"),
    ("docs/concepts/drills.md", f"without acknowledged writes for at most {summary.SWITCHOVER_GAP_MAX_S:g} s (p99)"),
    ("docs/concepts/drills.md", f"a client retried for {measure.RETRY_FOR_S:g} s without success"),
    ("docs/concepts/simulation.md", f"must converge within {swarm.CONVERGE_S:g} s of virtual time"),
    ("docs/concepts/simulation.md", f"ended at most {outages.RECOVERY_S:g} s and two takeover waits ago"),
    ("docs/concepts/world.md", f"at most {link.QUEUE_MAX // MIB} MiB per connection and direction"),
]


@pytest.mark.parametrize(("page", "sentence"), FIGURES, ids=lambda value: str(value)[:60])
def test_a_figure_is_the_codes(page: str, sentence: str) -> None:
    assert sentence in " ".join((ROOT / page).read_text("utf-8").split())


def test_what_is_said_in_words_is_the_codes() -> None:
    assert timers.ROUND_TRIPS_PER_LEASE == timers.HEARTBEATS_PER_LEASE == 8
    assert (timers.FAILOVER_SHARE, timers.CUT_OFF_SHARE, timers.VETO_SHARE) == (0.5, 0.5, 0.25)
    assert (tally.NEEDLESS_WITHIN_S, host_load.WAITED_PER_RAN_MAX, refusals.INTERVAL_S) == (60.0, 2.0, 60.0)


@pytest.mark.parametrize(
    ("objectives", "rto_s", "synchronous"),
    [
        ("RTO 5 s", 5.0, False),
        ("RTO 30 s, RPO 5 s, async", 30.0, False),
        ("RTO 60 s, RPO 5 s, async", 60.0, False),
        ("RTO 60 s, quorum", 60.0, True),
    ],
)
def test_the_table_of_patience_is_what_the_timers_give(objectives: str, rto_s: float, synchronous: bool) -> None:
    rtt_s = 0.2
    given = timers.patience(rto_s, 5.0, rtt_s, synchronous=synchronous)
    shortest_s = timers.lease_min_s(rtt_s)
    budget = timers.budget(shortest_s, rtt_s, synchronous=synchronous, takeover_s=given.takeover_s)
    row = f"| {objectives} | {given.lease_s:.1f} s | {given.takeover_s:.1f} s | {budget.total_s:.1f} s |"
    assert row in (ROOT / "docs" / "concepts" / "protocol.md").read_text("utf-8")
