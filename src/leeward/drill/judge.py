"""Judge a run by its fault's rules, beyond the objectives. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from leeward.core.values import ReplicationMode
from leeward.drill.ledger import Attempt, Operation, Outcome
from leeward.drill.measure import RETRY_FOR_S, RunFacts, RunMeasure


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What must hold after a fault. Safety rules always apply and are not repeated here."""

    failovers_min: int = 0
    failovers_max: int = 1
    recovers: bool = True
    """Writes are acknowledged again while the fault lasts."""
    explains: bool = False
    """While no region accepts writes, an agent reports why."""
    no_failed_requests: bool = False
    """No request fails that a client retries for a while."""


def unsafe(facts: RunFacts, measured: RunMeasure) -> list[str]:
    """Return a sentence for each safety rule that this run broke. An overloaded machine does not excuse these."""
    found: list[str] = []
    if facts.mode is not ReplicationMode.ASYNC and measured.lost:
        found.append(
            f"{measured.lost} acknowledged writes were lost under {facts.mode} ({_some(facts.reconciliation.lost)})"
        )
    if measured.duplicated:
        found.append(f"{measured.duplicated} payments exist twice ({_some(facts.reconciliation.duplicated)})")
    if measured.failed_present:
        found.append(f"{measured.failed_present} writes were reported as failed, but exist")
    if after_resuming := _acknowledged_after_resuming(facts):
        found.append(f"{facts.primary} acknowledged {after_resuming} writes after it resumed, and they are lost")
    if facts.fenced is not None:
        late = sum(
            facts.fenced.holds(attempt.sent_s) and facts.fenced.holds(attempt.done_s)
            for attempt in _acknowledged_writes(facts)
            if attempt.gateway in facts.lost_regions
        )
        if late:
            found.append(
                f"{late} writes were acknowledged inside {', '.join(sorted(facts.lost_regions))} after the lease"
            )
    if facts.rejoined:
        found += _unaccounted(facts)
    if facts.silence is not None:
        early = sum(
            facts.silence.holds(attempt.sent_s) and facts.silence.holds(attempt.done_s)
            for attempt in _acknowledged_writes(facts)
        )
        if early:
            found.append(f"{early} writes were acknowledged while no majority of regions was alive")
    found += [
        f"{record.region} was elected under epoch {record.epoch} although it was not eligible: {record.because}"
        for record in facts.records
        if record.kind == "PrimaryElected"
        and facts.fault.at_unix_s <= record.at_unix_s <= facts.cleared.at_unix_s
        and record.region in facts.ineligible
    ]
    return found


def _acknowledged_writes(facts: RunFacts) -> Iterator[Attempt]:
    for attempt in facts.attempts:
        if attempt.operation is Operation.WRITE and attempt.outcome is Outcome.ACKNOWLEDGED:
            yield attempt


def _acknowledged_after_resuming(facts: RunFacts) -> int:
    """Count lost writes that a frozen primary acknowledged after it resumed: they are on its own timeline only.

    In async, writes that were in flight when it froze are allowed.
    """
    if facts.resumed_s is None:
        return 0
    lost = frozenset(facts.reconciliation.lost)
    allowed_from_s = facts.fault.at_boot_s if facts.mode is ReplicationMode.ASYNC else -math.inf
    return len(
        {
            attempt.key
            for attempt in _acknowledged_writes(facts)
            if attempt.key in lost and attempt.done_s >= facts.resumed_s and attempt.sent_s >= allowed_from_s
        }
    )


def _unaccounted(facts: RunFacts) -> list[str]:
    """Return a sentence if a lost write is not among the orphans that deposed primaries kept."""
    lost, orphans = frozenset(facts.reconciliation.lost), facts.orphans
    if orphans.keys is not None:
        missing = lost - orphans.keys
        return (
            [f"{len(missing)} lost writes are in no file of orphans ({_some(tuple(sorted(missing)))})"]
            if missing
            else []
        )
    if len(lost) > orphans.transactions:
        return [f"{len(lost)} writes were lost, but only {orphans.transactions} orphans are reported"]
    return []


def unexpected(facts: RunFacts, measured: RunMeasure, expected: Expectation) -> list[str]:
    """Return a sentence for each expectation that was not met; on an overloaded machine these are inconclusive."""
    found: list[str] = []
    if measured.failovers < expected.failovers_min:
        found.append(f"{measured.failovers} failovers happened, at least {expected.failovers_min} expected")
    if measured.failovers > expected.failovers_max:
        found.append(f"{measured.failovers} failovers happened, at most {expected.failovers_max} expected")
    if expected.recovers and measured.rto_write_s is None:
        found.append("writes were not acknowledged again while the fault lasted")
    if expected.no_failed_requests and measured.failed_requests:
        found.append(f"{measured.failed_requests} requests failed although clients retried them for {RETRY_FOR_S:g} s")
    if not facts.rejoined:
        found += [f"{sentence}, and not every region rejoined" for sentence in _unaccounted(facts)]
    if expected.explains and not facts.explained:
        found.append("no agent reported why there is no primary")
    return found


def _some(keys: tuple[str, ...]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
