"""From attempts and records to seconds and counts."""

import pytest

from leeward.drill.ledger import Attempt, Reconciliation
from leeward.drill.measure import Span, Timeline, measure

from .builders import EU, FAILED, FAULT_S, JP, UNKNOWN, US, facts, read, record, write


def steady_writes(from_s: float, until_s: float) -> list[Attempt]:
    """A write every tenth of a second, times from the fault."""
    count = round((until_s - from_s) * 10)
    return [write(f"s{from_s + i / 10:.1f}", FAULT_S + from_s + i / 10, took_s=0.0) for i in range(count + 1)]


def steady_reads(from_s: float, until_s: float, *, by: object = EU) -> list[Attempt]:
    count = round((until_s - from_s) * 20)
    return [
        read(f"r{by}{from_s + i / 20:.2f}", FAULT_S + from_s + i / 20, by=by)  # type: ignore[arg-type]
        for i in range(count + 1)
    ]


@pytest.mark.parametrize(
    ("attempts", "expected_s"),
    [
        pytest.param([*steady_writes(-2, -0.1), *steady_writes(3, 20)], 3.0, id="from the fault to the first write"),
        pytest.param(
            [write("late", FAULT_S - 0.1, took_s=0.2), *steady_writes(3, 20)],
            3.0,
            id="sent before the fault",
        ),
        pytest.param(
            [write("inside", FAULT_S + 0.5, by=US), *steady_writes(3, 20)], 3.0, id="the lost region does not count"
        ),
        pytest.param(
            [write("moved", FAULT_S + 2.5, by=US, via=EU, took_s=0.0), *steady_writes(2.6, 20)],
            2.5,
            id="its users do, once they went elsewhere",
        ),
        pytest.param(
            [*steady_writes(0.1, 0.3), *steady_writes(3, 20)], 3.0, id="the last words of a dying primary do not count"
        ),
        pytest.param(steady_writes(0.1, 20), 0.1, id="writes that never stop"),
        pytest.param(steady_writes(0.1, 19.3), 0.1, id="the last one comes a moment before mending"),
        pytest.param(
            [write("x", FAULT_S + 1, FAILED), write("x", FAULT_S + 2, UNKNOWN), *steady_writes(4, 20)],
            4.0,
            id="only acknowledgements count",
        ),
        pytest.param([write("x", FAULT_S + 1, FAILED)], None, id="never"),
        pytest.param(steady_writes(0.1, 5), None, id="stopped for good"),
        pytest.param(steady_writes(25, 30), None, id="after mending is too late"),
    ],
)
def test_rto_of_writes(attempts: list[Attempt], expected_s: float | None) -> None:
    assert measure(facts(attempts)).rto_write_s == pytest.approx(expected_s)


def test_outages_of_a_recurring_fault_count_from_their_own_beginning() -> None:
    attempts = [*steady_writes(0.1, 5), *steady_writes(6.2, 12), *steady_writes(12.9, 20)]
    assert measure(facts(attempts, recurring=True)).rto_write_s == pytest.approx(1.2)


def test_reads_are_interrupted_for_their_longest_gap_in_each_surviving_region() -> None:
    attempts = [
        *steady_writes(-1, 20),
        *steady_reads(-1, -0.05),
        *steady_reads(0.35, 20),
        *steady_reads(-1, 20, by=JP),
        *steady_reads(-1, -0.05, by=US),
    ]
    measured = measure(facts(attempts))
    assert measured.rto_read_by_region_s == {EU: pytest.approx(0.4), JP: pytest.approx(0.05)}
    assert measured.rto_read_s == pytest.approx(0.4)


def test_reads_that_never_come_back_last_until_the_end_of_watching() -> None:
    attempts = [*steady_writes(-1, -0.1), *steady_writes(3, 20), *steady_reads(-1, -0.05)]
    assert measure(facts(attempts)).rto_read_s == pytest.approx(4.05)


def test_the_timeline_is_that_of_the_last_election() -> None:
    records = [
        record("PrimaryLost", -30, epoch=1),
        record("PrimaryLost", 2.1),
        record("FailoverPrepared", 2.2),
        record("PrimaryElected", 2.5),
        record("FailoverPrepared", 2.6, epoch=3),
        record("PrimaryElected", 2.9, epoch=3),
        record("PrimaryPromoted", 3.0, epoch=3),
        record("PrimaryRouted", 3.2, epoch=3, region=JP),
        record("PrimaryRouted", 3.1, epoch=3),
        record("PrimaryPromoted", 40.0, epoch=4),
    ]
    measured = measure(facts(steady_writes(3.3, 20), records))
    assert measured.timeline == Timeline(
        detected=pytest.approx(2.1),
        fenced=pytest.approx(2.2),
        elected=pytest.approx(2.9),
        elected_region=EU,
        promoted=pytest.approx(3.0),
        routed=pytest.approx(3.1),
        first_write=pytest.approx(3.3),
    )
    assert measured.failovers == 2


def test_without_decisions_the_timeline_is_empty() -> None:
    assert measure(facts(steady_writes(0.1, 20))).timeline == Timeline(first_write=pytest.approx(0.1))
    assert measure(facts()).failovers == 0


def test_a_failover_after_the_fault_is_cleared_does_not_count() -> None:
    assert measure(facts((), [record("FailoverPrepared", 25)])).failovers == 0


def test_a_request_fails_when_two_seconds_of_repetition_do_not_help() -> None:
    attempts = [
        write("quick", 1.0, FAILED),
        write("quick", 2.9),
        write("slow", 1.0, FAILED),
        write("slow", 3.5),
        write("never", 1.0, UNKNOWN),
        write("cut-short", FAULT_S + 29, UNKNOWN),
        read("blind", 1.0, FAILED),
    ]
    measured = measure(facts(attempts, held_s=20))
    assert measured.failed_requests == 3
    assert measured.attempts_not_acknowledged == 5


@pytest.mark.parametrize(
    ("lost_at_s", "expected_s"),
    [
        pytest.param((), 0.0, id="nothing lost"),
        pytest.param((98.5, 99.9), 1.5, id="up to the fault"),
        pytest.param((99.0, 101.0), 2.0, id="an old primary that went on after the fault"),
    ],
)
def test_rpo_is_the_stretch_of_lost_writes(lost_at_s: tuple[float, ...], expected_s: float) -> None:
    found = Reconciliation(lost=tuple(map(str, lost_at_s)), lost_at_s=lost_at_s)
    assert measure(facts(reconciliation=found)).rpo_s == pytest.approx(expected_s)


def test_a_switchovers_gap_is_the_longest_silence_around_it() -> None:
    attempts = [*steady_writes(25, 26), *steady_writes(26.6, 28)]
    measured = measure(facts(attempts, switchover=Span(FAULT_S + 25.95, FAULT_S + 27)))
    assert measured.switchover_gap_s == pytest.approx(0.6)
    assert measured.switchover_failed_requests == 0
    assert measure(facts(attempts)).switchover_gap_s is None


def test_a_request_that_a_switchover_made_fail_is_counted() -> None:
    attempts = [write("x", FAULT_S + 25, FAILED), write("x", FAULT_S + 28)]
    measured = measure(facts(attempts, switchover=Span(FAULT_S + 24, FAULT_S + 26)))
    assert measured.switchover_failed_requests == 1
