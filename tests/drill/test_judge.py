"""The rules of a run, broken and kept."""

import pytest

from leeward.core.values import ReplicationMode
from leeward.drill.judge import Expectation, unexpected, unsafe
from leeward.drill.ledger import Reconciliation
from leeward.drill.measure import RunFacts, Span, measure
from leeward.drill.orphans import OrphansFound

from .builders import EU, FAILED, FAULT_S, US, facts, record, write

ANYTHING = Expectation(failovers_max=9, recovers=False)
LOST = Reconciliation(acknowledged=3, lost=("a", "b"), lost_at_s=(101.0, 104.0))
KEPT = OrphansFound(3, frozenset({"a", "b", "unknown"}))
ASYNC = ReplicationMode.ASYNC
IN_FLIGHT = [write("b", FAULT_S - 0.1, took_s=4.1)]
HELD_UP = [write("b", FAULT_S + 0.1, took_s=3.9)]


@pytest.mark.parametrize(
    ("run", "expected", "words"),
    [
        pytest.param(facts(), ANYTHING, [], id="nothing broken"),
        pytest.param(
            facts(reconciliation=LOST, orphans=KEPT),
            ANYTHING,
            ["2 acknowledged writes were lost under sync"],
            id="loss in sync",
        ),
        pytest.param(
            facts(reconciliation=LOST, orphans=KEPT, mode=ASYNC), ANYTHING, [], id="loss in async is for the rpo"
        ),
        pytest.param(
            facts(reconciliation=LOST, orphans=OrphansFound(9, frozenset("a")), mode=ASYNC),
            ANYTHING,
            ["1 lost writes are in no file of orphans (b)"],
            id="lost and not kept",
        ),
        pytest.param(
            facts(reconciliation=LOST, orphans=OrphansFound(1, None), mode=ASYNC),
            ANYTHING,
            ["2 writes were lost, but only 1 orphans are reported"],
            id="more lost than kept",
        ),
        pytest.param(
            facts(IN_FLIGHT, reconciliation=LOST, orphans=KEPT, mode=ASYNC, resumed_s=103.0),
            ANYTHING,
            [],
            id="in flight when it froze, in async",
        ),
        pytest.param(
            facts(HELD_UP, reconciliation=LOST, orphans=KEPT, mode=ASYNC, resumed_s=103.0),
            ANYTHING,
            ["1 writes after it resumed"],
            id="resumed in async",
        ),
        pytest.param(
            facts(IN_FLIGHT, reconciliation=LOST, orphans=KEPT, resumed_s=103.0),
            ANYTHING,
            ["2 acknowledged writes were lost", "1 writes after it resumed"],
            id="resumed in sync",
        ),
        pytest.param(
            facts([write("k", FAULT_S + 3, by=US)], fenced=Span(FAULT_S + 2, FAULT_S + 9)),
            ANYTHING,
            ["1 writes were acknowledged inside us after the lease"],
            id="acknowledged inside after the lease",
        ),
        pytest.param(
            facts([write("k", FAULT_S + 3, by=US, via=EU)], fenced=Span(FAULT_S + 2, FAULT_S + 9)),
            ANYTHING,
            [],
            id="a user from there, through another gateway",
        ),
        pytest.param(
            facts(reconciliation=Reconciliation(duplicated=("k",))), ANYTHING, ["exist twice (k)"], id="duplicates"
        ),
        pytest.param(
            facts(reconciliation=Reconciliation(failed_present=("k",))),
            ANYTHING,
            ["reported as failed"],
            id="reported as failed",
        ),
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
            ["eu was elected under epoch 2 although it was not eligible"],
            id="the wrong one was elected",
        ),
        pytest.param(
            facts(),
            Expectation(failovers_min=1, recovers=False),
            ["0 failovers happened, at least 1 expected"],
            id="none",
        ),
        pytest.param(
            facts(records=[record("FailoverPrepared", 2)]),
            Expectation(failovers_max=0, recovers=False),
            ["1 failovers happened, at most 0 expected"],
            id="a needless failover",
        ),
        pytest.param(facts(), Expectation(), ["not acknowledged again"], id="no recovery"),
        pytest.param(
            facts(), Expectation(recovers=False, explains=True), ["no agent reported why"], id="silent agents"
        ),
        pytest.param(
            facts([write("k", FAULT_S + 1, FAILED), write("k", FAULT_S + 4)]),
            Expectation(no_failed_requests=True, recovers=False),
            ["1 requests failed although clients retried them for 2 s"],
            id="a request that failed",
        ),
        pytest.param(
            facts([write("k", FAULT_S + 1, FAILED), write("k", FAULT_S + 2)]),
            Expectation(no_failed_requests=True, recovers=False),
            [],
            id="a request whose retry succeeded",
        ),
        pytest.param(facts(explained="waiting"), Expectation(recovers=False, explains=True), [], id="explained"),
    ],
)
def test_rules(run: RunFacts, expected: Expectation, words: list[str]) -> None:
    broken = [*unsafe(run, measure(run)), *unexpected(run, measure(run), expected)]
    assert len(broken) == len(words), broken
    for sentence, part in zip(broken, words, strict=True):
        assert part in sentence


def test_what_a_region_kept_is_judged_only_once_it_rejoined() -> None:
    run = facts(reconciliation=LOST, orphans=OrphansFound(0, frozenset()), mode=ASYNC, rejoined=False)
    assert unsafe(run, measure(run)) == []
    assert unexpected(run, measure(run), ANYTHING) == [
        "2 lost writes are in no file of orphans (a, b), and not every region rejoined"
    ]
