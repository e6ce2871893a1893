"""Measure the impact of one run. Pure.

Durations are seconds from the fault. Clients' times are on the boot clock, decisions' on the wall clock of
the same machine; the fault was timed on both.

A request includes all its retries. It failed when a client that retried it for RETRY_FOR_S got no answer: retries
are expected to cover shorter interruptions.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from leeward.core.values import App, Record, Region, ReplicationMode
from leeward.drill.ledger import Attempt, Operation, Outcome, Reconciliation
from leeward.drill.orphans import NO_ORPHANS, OrphansFound

RETRY_FOR_S = 2.0
OUTAGE_MIN_S = 0.5
"""A shorter gap between acknowledgements is the ordinary rhythm of a few writers over a WAN."""
LAST_WRITE_MAX_S = 1.0
"""Writes still count as recovered when the last one came up to this long before the fault was cleared."""
READS_SETTLE_S = 1.0
"""Reads are measured until this long after writes resume."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on both clocks of the machine."""

    at_unix_s: float
    at_boot_s: float


@dataclass(frozen=True, slots=True)
class Span:
    """From one boot time to a later one."""

    from_s: float
    until_s: float

    def holds(self, at_s: float) -> bool:
        """Whether the instant lies in it."""
        return self.from_s <= at_s <= self.until_s


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """Everything seen in one run."""

    number: int
    app: App
    mode: ReplicationMode
    primary: Region
    """The primary when the fault was injected."""
    fault: Moment
    cleared: Moment
    """When the fault was cleared; later events are not attributed to it."""
    ended_s: float
    """When the load ended (boot clock)."""
    lost_regions: frozenset[Region]
    """Clients there are not expected to be served: their gateway is gone, or cut off."""
    attempts: Sequence[Attempt]
    records: Sequence[Record]
    reconciliation: Reconciliation
    resumed_s: float | None = None
    """When a frozen primary resumed."""
    silence: Span | None = None
    """While no region could safely acknowledge a write, so none may have."""
    ineligible: frozenset[Region] = frozenset()
    """Regions that must not have been elected."""
    switchover: Span | None = None
    """The failback, from the request until it was complete."""
    explained: str | None = None
    """The reason an agent reported while there was no primary."""
    fenced: Span | None = None
    """While no lost region may have acknowledged a write sent there: their leases had ended."""
    orphans: OrphansFound = NO_ORPHANS
    """This run's writes that deposed primaries kept."""
    rejoined: bool = True
    """Whether every region replicated from the primary again: only then has each reported its orphans."""
    recurring: bool = False
    """The fault was injected repeatedly: each outage is measured from its own beginning."""
    dns_removed_s: Mapping[Region, float | None] = field(default_factory=dict)
    """When each surviving region removed the lost ones from DNS, from the fault; None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Seconds from the fault to each step; None where a step did not happen."""

    detected: float | None = None
    fenced: float | None = None
    elected: float | None = None
    elected_region: Region | None = None
    """The region that was elected primary, in the last election."""
    promoted: float | None = None
    routed: float | None = None
    first_write: float | None = None
    dns: float | None = None
    """The last surviving region removed the lost ones from DNS."""
    dns_by_region: Mapping[Region, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMeasure:
    """One run in numbers; None: no recovery while it was watched."""

    number: int
    rto_write_s: float | None
    rto_read_s: float | None
    """The worst of the surviving regions' users."""
    rto_read_by_region_s: dict[Region, float]
    timeline: Timeline
    acknowledged: int
    lost: int
    duplicated: int
    unknown_present: int
    unknown_absent: int
    failed_present: int
    orphaned: int
    """Transactions that deposed primaries kept: every lost write is one of them."""
    rpo_s: float
    """The time span whose acknowledged writes are lost; 0 when none is."""
    failed_requests: int
    attempts_not_acknowledged: int
    failovers: int
    switchover_gap_s: float | None
    switchover_failed_requests: int | None


def measure(facts: RunFacts) -> RunMeasure:
    """Return one run's numbers."""
    rto_write_s = _rto_write_s(facts)
    reads = _read_gaps_s(facts, rto_write_s)
    failed = failed_requests(facts.attempts, facts.ended_s)
    return RunMeasure(
        number=facts.number,
        rto_write_s=rto_write_s,
        rto_read_s=max(reads.values(), default=None),
        rto_read_by_region_s=reads,
        timeline=timeline(facts, rto_write_s),
        acknowledged=facts.reconciliation.acknowledged,
        lost=len(facts.reconciliation.lost),
        duplicated=len(facts.reconciliation.duplicated),
        unknown_present=len(facts.reconciliation.unknown_present),
        unknown_absent=len(facts.reconciliation.unknown_absent),
        failed_present=len(facts.reconciliation.failed_present),
        orphaned=facts.orphans.transactions,
        rpo_s=_rpo_s(facts),
        failed_requests=len(failed),
        attempts_not_acknowledged=sum(a.outcome is not Outcome.ACKNOWLEDGED for a in facts.attempts),
        failovers=len(failover_epochs(facts)),
        switchover_gap_s=None if facts.switchover is None else _write_gap_s(facts.attempts, facts.switchover),
        switchover_failed_requests=(
            None
            if facts.switchover is None
            else sum(facts.switchover.holds(first_sent_s) for first_sent_s in failed.values())
        ),
    )


def timeline(facts: RunFacts, rto_write_s: float | None = None) -> Timeline:
    """Return when each step of the failover was taken. With several elections, the last one counts."""
    records = _during_fault(facts)
    elections = [record for record in records if record.kind == "PrimaryElected"]
    last = max(elections, key=lambda record: record.epoch, default=None)
    epoch = None if last is None else last.epoch

    def first(kind: str, *, of: int | None = None) -> float | None:
        at = (r.at_unix_s for r in records if r.kind == kind and (of is None or r.epoch == of))
        return min((seconds - facts.fault.at_unix_s for seconds in at), default=None)

    return Timeline(
        detected=first("PrimaryLost"),
        fenced=first("FailoverPrepared"),
        elected=first("PrimaryElected", of=epoch),
        elected_region=None if last is None else last.region,
        promoted=None if epoch is None else first("PrimaryPromoted", of=epoch),
        routed=None if epoch is None else first("PrimaryRouted", of=epoch),
        first_write=rto_write_s,
        dns=_last(facts.dns_removed_s.values()),
        dns_by_region=facts.dns_removed_s,
    )


def _last(steps_s: Iterable[float | None]) -> float | None:
    """Return when the last step was done; None if one never was, or without steps."""
    done_s = [math.inf if step_s is None else step_s for step_s in steps_s]
    last_s = max(done_s, default=math.inf)
    return None if last_s == math.inf else last_s


def failover_epochs(facts: RunFacts) -> frozenset[int]:
    """Return the epochs of failovers that the fault caused, finished or not."""
    kinds = ("FailoverPrepared", "PrimaryElected")
    return frozenset(record.epoch for record in _during_fault(facts) if record.kind in kinds)


def failed_requests(attempts: Iterable[Attempt], ended_s: float) -> dict[str, float]:
    """Return the requests that failed in spite of RETRY_FOR_S of retries, with when they began.

    Requests interrupted by the end of the load do not count.
    """
    first_sent_s: dict[str, float] = {}
    answered_s: dict[str, float] = {}
    for attempt in attempts:
        first_sent_s[attempt.key] = min(attempt.sent_s, first_sent_s.get(attempt.key, math.inf))
        if attempt.outcome is Outcome.ACKNOWLEDGED:
            answered_s[attempt.key] = min(attempt.done_s, answered_s.get(attempt.key, math.inf))
    return {
        key: sent_s
        for key, sent_s in first_sent_s.items()
        if answered_s.get(key, math.inf) > sent_s + RETRY_FOR_S
        and (key in answered_s or sent_s + RETRY_FOR_S < ended_s)
    }


def _during_fault(facts: RunFacts) -> list[Record]:
    return [
        record
        for record in facts.records
        if record.app in (facts.app, None) and facts.fault.at_unix_s <= record.at_unix_s <= facts.cleared.at_unix_s
    ]


def _rto_write_s(facts: RunFacts) -> float | None:
    """Return when writes recovered: the end of the longest outage, or the first write if there was no outage.

    For recurring faults: the length of the longest outage.
    """
    done_s = sorted(
        attempt.done_s
        for attempt in facts.attempts
        if _acknowledged(attempt, Operation.WRITE)
        and attempt.gateway not in facts.lost_regions
        and attempt.sent_s >= facts.fault.at_boot_s
        and attempt.done_s <= facts.cleared.at_boot_s
    )
    if not done_s:
        return None
    gaps = [(after - before, after) for before, after in pairwise([facts.fault.at_boot_s, *done_s])]
    longest_s, ends_s = max(gaps)
    if facts.cleared.at_boot_s - done_s[-1] > max(longest_s, LAST_WRITE_MAX_S):
        return None
    if facts.recurring:
        return longest_s
    return (ends_s if longest_s > OUTAGE_MIN_S else done_s[0]) - facts.fault.at_boot_s


def _read_gaps_s(facts: RunFacts, rto_write_s: float | None) -> dict[Region, float]:
    """Return, for the users of each surviving region, the longest stretch without a successful read."""
    until_s = facts.cleared.at_boot_s
    if rto_write_s is not None:
        until_s = min(until_s, facts.fault.at_boot_s + rto_write_s + READS_SETTLE_S)
    gaps: dict[Region, float] = {}
    populations = {a.population for a in facts.attempts if a.operation is Operation.READ} - facts.lost_regions
    for population in sorted(populations):
        done_s = sorted(
            attempt.done_s
            for attempt in facts.attempts
            if attempt.population == population
            and attempt.gateway not in facts.lost_regions
            and _acknowledged(attempt, Operation.READ)
        )
        before_s = [at_s for at_s in done_s if at_s <= facts.fault.at_boot_s][-1:] or [facts.fault.at_boot_s]
        after_s = [at_s for at_s in done_s if facts.fault.at_boot_s < at_s <= until_s]
        points_s = [*before_s, *after_s, until_s]
        gaps[population] = max(after - before for before, after in pairwise(points_s))
    return gaps


def _write_gap_s(attempts: Sequence[Attempt], span: Span) -> float:
    """Return the longest time between two acknowledged writes in the span and around its edges."""
    done_s = sorted(attempt.done_s for attempt in attempts if _acknowledged(attempt, Operation.WRITE))
    before_s = [at_s for at_s in done_s if at_s < span.from_s][-1:] or [span.from_s]
    after_s = [at_s for at_s in done_s if at_s > span.until_s][:1] or [span.until_s]
    points_s = [*before_s, *(at_s for at_s in done_s if span.holds(at_s)), *after_s]
    return max(after - before for before, after in pairwise(points_s))


def _rpo_s(facts: RunFacts) -> float:
    lost_at_s = facts.reconciliation.lost_at_s
    if not lost_at_s:
        return 0.0
    return max(facts.fault.at_boot_s, max(lost_at_s)) - min(lost_at_s)


def _acknowledged(attempt: Attempt, operation: Operation) -> bool:
    return attempt.operation is operation and attempt.outcome is Outcome.ACKNOWLEDGED
