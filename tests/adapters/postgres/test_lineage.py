"""Whose history is whose: the pure comparison, and the arithmetic of WAL positions."""

import pytest

from leeward.adapters.postgres.data import record_end
from leeward.adapters.postgres.lineage import (
    Compatible,
    Diverged,
    Foreign,
    Lineage,
    Undecided,
    compare,
    format_lsn,
    parse_history,
    parse_lsn,
)
from leeward.adapters.postgres.orphans import ranges, read_commits

MEGABYTE = 1024 * 1024


def lineage(
    *segments: tuple[int, int], epochs: set[int] | None = None, system: str = "s", replayed: int | None = None
) -> Lineage:
    known = frozenset({1} if epochs is None else epochs)
    return Lineage(system, segments, known, replayed is not None, replayed or 0)


@pytest.mark.parametrize(
    ("own", "theirs", "expected"),
    [
        pytest.param(lineage((1, 100)), lineage((1, 100)), Compatible(), id="equal"),
        pytest.param(lineage((1, 100)), lineage((1, 150)), Compatible(), id="behind on the same timeline"),
        pytest.param(lineage((1, 150)), lineage((1, 100)), Undecided, id="ahead of an upstream yet to promote"),
        pytest.param(lineage((1, 100)), lineage((1, 100), (2, 120)), Compatible(), id="they promoted at our end"),
        pytest.param(lineage((1, 90)), lineage((1, 100), (2, 120)), Compatible(), id="they promoted past our end"),
        pytest.param(lineage((1, 130)), lineage((1, 100), (2, 120)), Diverged, id="we went on past their fork"),
        pytest.param(lineage((1, 100), (2, 120)), lineage((1, 100)), Undecided, id="they have yet to follow us"),
        pytest.param(lineage((1, 100), (2, 120)), lineage((1, 110)), Diverged, id="they went on past our fork"),
        pytest.param(
            lineage((1, 130)), lineage((1, 100), (2, 120), replayed=120), Undecided, id="diverged, but no primary"
        ),
        pytest.param(lineage((1, 100), (2, 120)), lineage((1, 100), (3, 120)), Diverged, id="two successors"),
        pytest.param(
            lineage((1, 100), (2, 120)), lineage((1, 90), (2, 100), (3, 130)), Diverged, id="forks at two points"
        ),
        pytest.param(lineage((1, 5), system="x"), lineage((1, 5)), Foreign(), id="another database"),
        pytest.param(
            lineage((1, 100), (2, 120), epochs={1, 2}),
            lineage((1, 100), (2, 130), epochs={1, 3}),
            Diverged,
            id="same timeline number, another epoch",
        ),
        pytest.param(
            lineage((1, 100), epochs={1, 4}),
            lineage((1, 100), epochs={1}),
            Compatible(),
            id="the epoch in force may still wait for its standbys there",
        ),
        pytest.param(
            lineage((1, 100), epochs={1, 2}),
            lineage((1, 100), epochs={1}, replayed=90),
            Undecided,
            id="they have not replayed the epoch's record",
        ),
    ],
)
def test_compare(own: Lineage, theirs: Lineage, expected: object) -> None:
    verdict = compare(own, theirs, epoch=4)
    assert isinstance(verdict, expected) if isinstance(expected, type) else verdict == expected


def test_the_fork_is_the_earliest_point_that_differs() -> None:
    verdict = compare(lineage((1, 100), (2, 120)), lineage((1, 90), (2, 110), (3, 130)), epoch=4)
    assert verdict == Diverged(90, True, "timelines fork at different points")
    same_number = compare(lineage((1, 100), (2, 120)), lineage((1, 90), (2, 130)), epoch=4)
    assert isinstance(same_number, Diverged)
    assert not same_number.rewindable


def test_orphaned_stretches_follow_our_own_timelines() -> None:
    own = lineage((1, 100), (2, 120), (3, 140))
    assert ranges(own, 90) == ((1, 90, 100), (2, 100, 120), (3, 120, 140))
    assert ranges(own, 100) == ((2, 100, 120), (3, 120, 140))
    assert ranges(own, 140) == ()


def test_positions_are_read_and_written_as_postgres_does() -> None:
    assert parse_lsn("1/2A") == (1 << 32) + 42
    assert format_lsn((1 << 32) + 42) == "1/2A"
    assert parse_history("1\t0/3000000\tno recovery target specified\n\n2\t0/40000A0\tx\n") == (
        (1, 0x3000000),
        (2, 0x40000A0),
    )


@pytest.mark.parametrize(
    ("start", "length", "end"),
    [
        pytest.param(0x28, 114, 0xA0, id="aligned to 8"),
        pytest.param(8192 - 40, 114, 8192 + 24 + 74 + 6, id="continued after a page header"),
        pytest.param(16 * MEGABYTE - 8, 114, 16 * MEGABYTE + 40 + 106 + 6, id="after a segment header"),
        pytest.param(8192 - 120, 114, 8192, id="exactly to the end of a page"),
    ],
)
def test_record_end(start: int, length: int, end: int) -> None:
    assert record_end(start, length) == end


def record(manager: str, xid: int, description: str) -> str:
    """A line as pg_waldump prints it."""
    return (
        f"rmgr: {manager:11} len (rec/tot):     59/    59, tx: {xid:10}, "
        f"lsn: 0/01D5A3C8, prev 0/01D5A388, desc: {description}"
    )


def test_commits_are_read_with_their_subtransactions_and_relations() -> None:
    text = "\n".join(
        (
            record("Heap", 700, "INSERT off: 1, flags: 0x08, blkref #0: rel 1663/5/16390 blk 0"),
            record("Heap", 701, "HOT_UPDATE old_xmax: 701, blkref #0: rel 1663/5/16391 blk 0"),
            record("Transaction", 700, "COMMIT 2026-01-01 00:00:00.0 UTC; subxacts: 701 703"),
            record("Heap", 702, "DELETE xmax: 702, blkref #0: rel 1663/5/16390 blk 0"),
            record("Transaction", 702, "ABORT 2026-01-01 00:00:00.0 UTC"),
            record("XLOG", 0, "NOOP"),
        )
    )
    commits = read_commits(text.splitlines())
    assert commits.transactions == {700: frozenset({700, 701, 703})}
    assert commits.touched[700] == frozenset({(5, 16390)})
    assert commits.touched[701] == frozenset({(5, 16391)})
