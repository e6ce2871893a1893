"""The rules a run may not break."""

import pytest

from leeward.core.values import ReplicationMode
from leeward.drill.judge import Expectation, broken_rules
from leeward.drill.ledger import Reconciliation
from leeward.drill.measure import RunFacts, Span, measure

from .builders import EU, FAULT_S, facts, record, write

ANYTHING = Expectation(failovers_max=9, recovers=False)
LOST = Reconciliation(acknowledged=3, lost=("a", "b"), lost_at_s=(101.0, 104.0))


@pytest.mark.parametrize(
    ("run", "expected", "words"),
    [
        pytest.param(facts(), ANYTHING, [], id="nothing broken"),
        pytest.param(facts(bill=LOST), ANYTHING, ["2 acknowledged writes were lost under sync"], id="loss in sync"),
        pytest.param(facts(bill=LOST, mode=ReplicationMode.ASYNC), ANYTHING, [], id="loss in async is for the rpo"),
        pytest.param(
            facts(bill=LOST, mode=ReplicationMode.ASYNC, woke_s=103.0), ANYTHING, ["1 writes after it woke"], id="woke"
        ),
        pytest.param(facts(bill=Reconciliation(duplicated=("k",))), ANYTHING, ["exist twice (k)"], id="duplicates"),
        pytest.param(facts(bill=Reconciliation(failed_present=("k",))), ANYTHING, ["said to have failed"], id="lies"),
        pytest.param(
            facts([write("k", FAULT_S + 5)], silence=Span(FAULT_S + 4, FAULT_S + 9)),
            ANYTHING,
            ["1 writes were acknowledged while no majority"],
            id="acknowledged without a majority",
        ),
        pytest.param(
            facts([write("k", FAULT_S + 3)], silence=Span(FAULT_S + 4, FAULT_S + 9)), ANYTHING, [], id="before silence"
        ),
        pytest.param(
            facts(records=[record("PrimaryElected", 2, region=EU)], ineligible=frozenset({EU})),
            ANYTHING,
            ["eu was elected under epoch 2 although it must not be"],
            id="the wrong one was elected",
        ),
        pytest.param(
            facts(), Expectation(failovers_min=1, recovers=False), ["0 failovers happened, 1 must"], id="none"
        ),
        pytest.param(
            facts(records=[record("FailoverPrepared", 2)]),
            Expectation(failovers_max=0, recovers=False),
            ["1 failovers happened, at most 0 may"],
            id="a needless failover",
        ),
        pytest.param(facts(), Expectation(), ["not acknowledged again"], id="no recovery"),
        pytest.param(facts(), Expectation(recovers=False, explains=True), ["no agent said why"], id="silent agents"),
        pytest.param(facts(explained="waiting"), Expectation(recovers=False, explains=True), [], id="explained"),
    ],
)
def test_rules(run: RunFacts, expected: Expectation, words: list[str]) -> None:
    broken = broken_rules(run, measure(run), expected)
    assert len(broken) == len(words), broken
    for sentence, part in zip(broken, words, strict=True):
        assert part in sentence
