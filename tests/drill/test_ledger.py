"""What clients saw, compared with what the database holds."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leeward.drill.ledger import Attempt, Outcome, Reconciliation, Row, key_outcomes, reconcile

from .builders import ACKED, FAILED, UNKNOWN, read, write

ROW = Row("a", "id-a")


@pytest.mark.parametrize(
    ("attempts", "rows", "expected"),
    [
        pytest.param([write("a")], [ROW], Reconciliation(acknowledged=1), id="acknowledged and there"),
        pytest.param(
            [write("a", 1.0, took_s=0.5)],
            [],
            Reconciliation(acknowledged=1, lost=("a",), lost_at_s=(1.5,)),
            id="acknowledged and absent is lost",
        ),
        pytest.param([write("a", outcome=FAILED)], [], Reconciliation(), id="failed and absent"),
        pytest.param(
            [write("a", outcome=FAILED)], [ROW], Reconciliation(failed_present=("a",)), id="failed and there is a lie"
        ),
        pytest.param(
            [write("a", outcome=UNKNOWN)], [ROW], Reconciliation(unknown_present=("a",)), id="unknown and there"
        ),
        pytest.param(
            [write("a", outcome=UNKNOWN)],
            [],
            Reconciliation(unknown_absent=("a",)),
            id="unknown and absent",
        ),
        pytest.param(
            [write("a", outcome=UNKNOWN), write("a", 1, FAILED)],
            [ROW],
            Reconciliation(unknown_present=("a",)),
            id="a later failure does not settle an earlier unknown",
        ),
        pytest.param(
            [write("a", outcome=UNKNOWN), write("a", 1, FAILED), write("a", 2)],
            [ROW],
            Reconciliation(acknowledged=1),
            id="a repetition settles it",
        ),
        pytest.param(
            [write("a"), write("a", 1, UNKNOWN)],
            [],
            Reconciliation(acknowledged=1, lost=("a",), lost_at_s=(0.01,)),
            id="once acknowledged is acknowledged",
        ),
        pytest.param(
            [write("a")],
            [ROW, Row("a", "id-b")],
            Reconciliation(acknowledged=1, duplicated=("a",)),
            id="two rows for one key",
        ),
        pytest.param(
            [write("a")],
            [Row("a", "id-b")],
            Reconciliation(acknowledged=1, duplicated=("a",)),
            id="there, under another id than acknowledged",
        ),
        pytest.param(
            [write("a"), write("a", 1, payment_id="id-b")],
            [ROW],
            Reconciliation(acknowledged=1, duplicated=("a",)),
            id="acknowledged under two ids",
        ),
        pytest.param([write("a")], [ROW, Row("z", "id-z")], Reconciliation(acknowledged=1), id="foreign rows"),
        pytest.param([read("a", 0)], [], Reconciliation(), id="reads write nothing"),
        pytest.param([], [], Reconciliation(), id="nothing at all"),
    ],
)
def test_reconcile(attempts: list[Attempt], rows: list[Row], expected: Reconciliation) -> None:
    assert reconcile(attempts, rows) == expected


KEYS = st.sampled_from(["a", "b", "c", "d"])
ATTEMPTS = st.lists(st.builds(write, KEYS, st.floats(0, 100), st.sampled_from(Outcome)), max_size=30)
ROWS = st.lists(KEYS, unique=True).map(lambda keys: [Row(key, f"id-{key}") for key in keys])


@given(ATTEMPTS, ROWS)
def test_every_key_is_counted_exactly_once(attempts: Sequence[Attempt], rows: Sequence[Row]) -> None:
    reconciliation = reconcile(attempts, rows)
    keys = {attempt.key for attempt in attempts}
    failed = {key for key, each in key_outcomes(attempts).items() if each.outcome is FAILED}
    assert reconciliation.acknowledged + len(reconciliation.unknown_present) + len(reconciliation.unknown_absent) + len(
        failed
    ) == len(keys)
    assert len(reconciliation.lost) <= reconciliation.acknowledged
    assert len(reconciliation.lost_at_s) == len(reconciliation.lost)


@given(ATTEMPTS, ROWS)
def test_lost_is_exactly_what_was_acknowledged_and_is_absent(attempts: Sequence[Attempt], rows: Sequence[Row]) -> None:
    acknowledged = {attempt.key for attempt in attempts if attempt.outcome is ACKED}
    reconciliation = reconcile(attempts, rows)
    assert set(reconciliation.lost) == acknowledged - {row.key for row in rows}
    assert reconciliation.duplicated == ()


@given(ATTEMPTS, ROWS, st.randoms(use_true_random=False))
def test_the_order_of_events_changes_nothing(attempts: list[Attempt], rows: list[Row], random: object) -> None:
    shuffled = list(attempts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert reconcile(shuffled, rows[::-1]) == reconcile(attempts, rows)


@given(ATTEMPTS)
def test_a_database_that_keeps_all_loses_nothing(attempts: Sequence[Attempt]) -> None:
    rows = [Row(key, f"id-{key}") for key in {attempt.key for attempt in attempts}]
    reconciliation = reconcile(attempts, rows)
    assert reconciliation.lost == reconciliation.unknown_absent == reconciliation.duplicated == ()
