"""Reconcile the outcomes that clients saw for their writes with what the database holds afterwards.

Pure. An attempt to write ends *acknowledged*, *failed* (certainly not done) or *unknown*. A key, which may
have had many attempts, is acknowledged when any attempt was; else unknown when any attempt was; else failed.

Always true: only an acknowledged key can be lost. Nothing is inferred from an answer that did not arrive.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from leeward.core.values import Region


class Operation(StrEnum):
    """What a request asked for."""

    WRITE = "write"
    READ = "read"


class Outcome(StrEnum):
    """What the client knows after one attempt. A read that did not return its payment has failed."""

    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One HTTP request. Times are seconds of the client's boot clock."""

    operation: Operation
    key: str
    """The idempotency key; for a read, a unique name per request, shared by its retries."""
    population: Region
    """Where the user lives."""
    gateway: Region
    """Whose gateway received the request."""
    sent_s: float
    done_s: float
    outcome: Outcome
    payment_id: str | None = None
    served_by: Region | None = None
    """The region whose service answered, according to its answer."""
    because: str = ""
    """Why it was not acknowledged."""


@dataclass(frozen=True, slots=True)
class Row:
    """A payment as the database holds it."""

    key: str
    payment_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOutcome:
    """All that the client saw of one key."""

    key: str
    outcome: Outcome
    ids: frozenset[str]
    """The ids it was acknowledged under; more than one is a duplicate."""
    first_sent_s: float
    acknowledged_s: float | None
    """When the first acknowledgement arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """The result of the comparison. Every tuple holds keys, sorted."""

    acknowledged: int = 0
    lost: tuple[str, ...] = ()
    """Acknowledged, and absent."""
    duplicated: tuple[str, ...] = ()
    """More than one row, or more than one id seen by the client and the database together."""
    unknown_present: tuple[str, ...] = ()
    unknown_absent: tuple[str, ...] = ()
    failed_present: tuple[str, ...] = ()
    """Reported as certainly not done, but present: the service's answer was wrong."""
    lost_at_s: tuple[float, ...] = field(default=())
    """When each lost write had been acknowledged, in the order of ``lost``."""


def key_outcomes(attempts: Iterable[Attempt]) -> Mapping[str, KeyOutcome]:
    """Return the outcome of each written key, as the client saw it."""
    writes: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        if attempt.operation is Operation.WRITE:
            writes.setdefault(attempt.key, []).append(attempt)
    return {key: _key_outcome(key, tries) for key, tries in writes.items()}


def reconcile(attempts: Iterable[Attempt], rows: Iterable[Row]) -> Reconciliation:
    """Compare what clients saw with all rows read back after recovery. Foreign rows are ignored."""
    stored: dict[str, list[str]] = {}
    for row in rows:
        stored.setdefault(row.key, []).append(row.payment_id)
    known = key_outcomes(attempts)
    by_outcome = {outcome: sorted(key for key, each in known.items() if each.outcome is outcome) for outcome in Outcome}
    lost = tuple(key for key in by_outcome[Outcome.ACKNOWLEDGED] if key not in stored)
    return Reconciliation(
        acknowledged=len(by_outcome[Outcome.ACKNOWLEDGED]),
        lost=lost,
        duplicated=tuple(sorted(key for key, each in known.items() if _duplicated(each, stored.get(key, [])))),
        unknown_present=tuple(key for key in by_outcome[Outcome.UNKNOWN] if key in stored),
        unknown_absent=tuple(key for key in by_outcome[Outcome.UNKNOWN] if key not in stored),
        failed_present=tuple(key for key in by_outcome[Outcome.FAILED] if key in stored),
        lost_at_s=tuple(known[key].acknowledged_s or 0.0 for key in lost),
    )


def _key_outcome(key: str, tries: list[Attempt]) -> KeyOutcome:
    acknowledged = [attempt for attempt in tries if attempt.outcome is Outcome.ACKNOWLEDGED]
    unknown = any(attempt.outcome is Outcome.UNKNOWN for attempt in tries)
    return KeyOutcome(
        key=key,
        outcome=Outcome.ACKNOWLEDGED if acknowledged else Outcome.UNKNOWN if unknown else Outcome.FAILED,
        ids=frozenset(attempt.payment_id for attempt in acknowledged if attempt.payment_id is not None),
        first_sent_s=min(attempt.sent_s for attempt in tries),
        acknowledged_s=min((attempt.done_s for attempt in acknowledged), default=None),
    )


def _duplicated(outcome: KeyOutcome, ids: list[str]) -> bool:
    return len(ids) > 1 or len(outcome.ids.union(ids)) > 1
