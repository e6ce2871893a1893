"""What the record of the primaries' WAL says of a loss: never less than is lost; what it does not cover is infinite."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leeward.core import progress
from leeward.core.codec import decode, encode
from leeward.core.progress import POINTS_KEPT, Progress, ProgressRecord
from leeward.core.values import WalPosition
from tests.core.views import EU, US, wal

MB = 1 << 20


def follow(
    record: ProgressRecord | None,
    region: str,
    *seen: tuple[float, WalPosition],
    life: str = "a",
    spacing_s: float = 0.0,
) -> ProgressRecord:
    for clock_s, held in seen:
        record = progress.advance(record, EU if region == "eu" else US, life, clock_s, held, spacing_s)
    assert record is not None
    return record


def loss(record: ProgressRecord, held: WalPosition) -> float:
    return progress.loss_s(record.points(), held)


WROTE = follow(None, "us", *((1000.0 + s, wal(1, 100 * s)) for s in range(11)))


@pytest.mark.parametrize(
    ("record", "held", "lost_s"),
    [
        pytest.param(WROTE, wal(1, 1000), 0.0, id="it holds everything"),
        pytest.param(WROTE, wal(1, 1001), 0.0, id="and more than was on record"),
        pytest.param(WROTE, wal(1, 350), 7.0, id="rounded up to the last point it holds"),
        pytest.param(WROTE, wal(1, 0), 10.0, id="all there is"),
        pytest.param(follow(None, "us", (5.0, wal(1, 100))), wal(1, 99), math.inf, id="before the record begins"),
        pytest.param(WROTE, wal(0, 5000), math.inf, id="another history"),
        pytest.param(WROTE, WalPosition(1, 350, 4), 7.0, id="a timeline of one side only does not count"),
        pytest.param(
            follow(WROTE, "us", (1011.0, WalPosition(1, 1100, 4))),
            WalPosition(1, 350, 4),
            8.0,
            id="nor one of some points only",
        ),
        pytest.param(
            follow(None, "us", (1.0, WalPosition(1, 100, 2)), (3.0, WalPosition(1, 300, 2))),
            WalPosition(1, 400, 1),
            math.inf,
            id="more of an older timeline is another history",
        ),
        pytest.param(
            follow(WROTE, "us", (1070.0, wal(1, 1000)), (1070.1, wal(1, 1001))),
            wal(1, 1000),
            0.1,
            id="a minute without writes is no loss",
        ),
        pytest.param(
            follow(WROTE, "eu", (7.0, wal(1, 1000)), (8.0, wal(2, 1100)), (10.0, wal(2, 1300))),
            wal(1, 0),
            13.0,
            id="after a failover, what the next primary wrote is added to what was lacked before",
        ),
        pytest.param(
            follow(WROTE, "eu", (7.0, wal(1, 900)), (8.0, wal(2, 1000)), (10.0, wal(2, 1200))),
            wal(1, 1000),
            3.0,
            id="the old primary would lose all that the next one wrote",
        ),
        pytest.param(
            follow(WROTE, "us", (3.0, wal(1, 1000)), (4.0, wal(1, 1100)), life="b"),
            wal(1, 800),
            3.0,
            id="another boot of the same region: its clock begins again, the record does not",
        ),
    ],
)
def test_loss(record: ProgressRecord, held: WalPosition, lost_s: float) -> None:
    assert loss(record, held) == pytest.approx(lost_s)


def test_nothing_on_record_is_an_infinite_loss() -> None:
    assert progress.loss_s((), wal(9, 1 << 40)) == math.inf


def test_a_replica_that_stopped_long_before_a_failover_does_not_count_as_seconds_behind() -> None:
    """16 MB a second; a replica stopped at the first. us fails over to eu after 100 s, and eu is lost 3 s later."""
    spacing_s = progress.interval_s(5.0, 0.25)
    record: ProgressRecord | None = None
    for s in range(100):
        record = follow(record, "us", (float(s), wal(1, (s + 1) * 16 * MB)), spacing_s=spacing_s)
    assert record is not None
    stale = wal(1, 16 * MB)
    assert loss(record, stale) > 5.0
    for s in range(4):
        record = follow(record, "eu", (500.0 + s, wal(2, 101 * 16 * MB + s)), spacing_s=spacing_s)
    assert loss(record, stale) > 5.0
    assert 3.0 <= loss(record, wal(1, 100 * 16 * MB)) <= 4.0 + spacing_s, "what it lacks, and at most one point more"


def test_the_record_is_small_and_reversible() -> None:
    seen = ((9.0e6 + n / 8, wal(900, (1 << 44) + n * MB)) for n in range(400))
    record = follow(None, "us", *seen, spacing_s=progress.interval_s(1.0, 0.25))
    text = encode(record)
    assert decode(ProgressRecord, text) == record
    assert len(text) < 700


def test_the_record_covers_the_rpo_and_is_exact_to_one_interval() -> None:
    rpo_s = 5.0
    spacing_s = progress.interval_s(rpo_s, 0.25)
    record: ProgressRecord | None = None
    for n in range(2000):
        record = follow(record, "us", (n * 0.11, wal(1, n)), spacing_s=spacing_s)
        for behind_s in (0.5, 2.0, 4.0, 5.0):
            held = n - int(behind_s / 0.11)
            if held >= 0:
                assert loss(record, wal(1, held)) - (n - held) * 0.11 <= spacing_s + 0.2


STEPS = st.lists(st.tuples(st.floats(0.01, 30.0), st.integers(0, 3)), min_size=1, max_size=120)


@given(steps=STEPS, spacing_s=st.sampled_from((0.0, 0.25, 1.0)), changes=st.sets(st.integers(0, 119), max_size=4))
def test_a_thinned_record_never_estimates_less_than_what_was_written_since(
    steps: list[tuple[float, int]], spacing_s: float, changes: set[int]
) -> None:
    record: ProgressRecord | None = None
    every = list[Progress]()
    clock_s, written_s, lsn, epoch = 100.0, 0.0, 0, 1
    for index, (step_s, more) in enumerate(steps):
        if index in changes:
            epoch, clock_s = epoch + 1, 5.0 * index
        elif record is not None:
            clock_s, written_s = clock_s + step_s, written_s + step_s
            lsn += more
        record = progress.advance(record, US, str(epoch), clock_s, wal(epoch, lsn), spacing_s)
        every.append(Progress(written_s, wal(epoch, lsn)))
        assert len(record.at_s) <= POINTS_KEPT
        assert all(earlier <= later for earlier, later in pairwise(record.at_s))
        assert record.wal == wal(epoch, lsn), "the newest point is kept"
    assert record is not None
    for point in every:
        assert progress.loss_s(record.points(), point.wal) >= progress.loss_s(tuple(every), point.wal) - 0.2
