"""Attempts, records and facts, with what a test is not about left out."""

from collections.abc import Sequence

from leeward.core.values import App, Record, Region, ReplicationMode
from leeward.drill.ledger import Attempt, Operation, Outcome, Reconciliation
from leeward.drill.measure import Moment, RunFacts

US, EU, JP = Region("us"), Region("eu"), Region("jp")
APP = App("payments")
FAULT_UNIX_S, FAULT_S = 1_000_000.0, 100.0
ACKED, FAILED, UNKNOWN = Outcome.ACKNOWLEDGED, Outcome.FAILED, Outcome.UNKNOWN


def write(
    key: str,
    sent_s: float = 0.0,
    outcome: Outcome = ACKED,
    *,
    took_s: float = 0.01,
    by: Region = EU,
    via: Region | None = None,
    payment_id: str | None = None,
) -> Attempt:
    """A write; acknowledged under an id made of its key unless given."""
    return Attempt(
        operation=Operation.WRITE,
        key=key,
        population=by,
        gateway=via or by,
        sent_s=sent_s,
        done_s=sent_s + took_s,
        outcome=outcome,
        payment_id=(payment_id or f"id-{key}") if outcome is ACKED else None,
    )


def read(key: str, sent_s: float, outcome: Outcome = ACKED, *, by: Region = EU, via: Region | None = None) -> Attempt:
    """A read that takes no time."""
    return Attempt(
        operation=Operation.READ,
        key=key,
        population=by,
        gateway=via or by,
        sent_s=sent_s,
        done_s=sent_s,
        outcome=outcome,
    )


def record(kind: str, after_s: float, *, epoch: int = 2, region: Region = EU, because: str = "because") -> Record:
    """A decision, so long after the fault."""
    return Record(FAULT_UNIX_S + after_s, region, APP, epoch, kind, because)


def facts(
    attempts: Sequence[Attempt] = (),
    records: Sequence[Record] = (),
    reconciliation: Reconciliation | None = None,
    *,
    lost_regions: frozenset[Region] = frozenset({US}),
    held_s: float = 20.0,
    **others: object,
) -> RunFacts:
    """A run whose fault is injected in us at FAULT_S and is cleared ``held_s`` later."""
    given: dict[str, object] = {"mode": ReplicationMode.SYNC, **others}
    return RunFacts(
        number=1,
        app=APP,
        primary=US,
        fault=Moment(FAULT_UNIX_S, FAULT_S),
        cleared=Moment(FAULT_UNIX_S + held_s, FAULT_S + held_s),
        ended_s=FAULT_S + held_s + 10,
        lost_regions=lost_regions,
        attempts=attempts,
        records=records,
        reconciliation=reconciliation or Reconciliation(),
        **given,  # type: ignore[arg-type]
    )
