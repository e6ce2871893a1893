"""Whose history is whose: the pure comparison, and the arithmetic of WAL positions."""

import pytest

from leeward.base.units import lsn_text, parse_lsn
from leeward.instance.machine.lineage import Compatible, Diverged, Foreign, Lineage, Undecided, compare
from leeward.instance.orphans.wal import Changes, began_later, ranges, users_files
from leeward.instance.postgres.data import record_end
from leeward.instance.postgres.lineage import parse_history

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


@pytest.mark.parametrize(
    ("own", "promoted_under", "diverged"),
    [
        pytest.param(lineage((1, 100), (2, 110), replayed=110), 2, True, id="it died between promotion and record"),
        pytest.param(lineage((1, 100), (2, 110), epochs={1, 2}, replayed=110), 2, False, id="the record is there"),
        pytest.param(lineage((1, 100), (2, 110), replayed=105), 2, False, id="the record may not be replayed yet"),
        pytest.param(lineage((1, 100), (2, 110), replayed=110), None, False, id="it was never promoted"),
        pytest.param(
            lineage((1, 100), (2, 110), replayed=110), 4, False, id="the epoch in force may have no record yet"
        ),
        pytest.param(lineage((1, 100), replayed=100), 2, False, id="it died before the promotion"),
    ],
)
def test_a_timeline_that_was_begun_without_a_record_is_not_theirs_for_its_number(
    own: Lineage, promoted_under: int | None, diverged: bool
) -> None:
    """Another instance was promoted from the same LSN: its timeline has the same number, and pg_rewind sees none."""
    verdict = compare(own, lineage((1, 100), (2, 150), epochs={1, 2, 3}), epoch=4, promoted_under=promoted_under)
    assert isinstance(verdict, Diverged) == diverged
    if isinstance(verdict, Diverged):
        assert (verdict.fork_lsn, verdict.rewindable) == (100, False)


@pytest.mark.parametrize(
    ("own", "theirs", "expected"),
    [
        pytest.param(
            lineage((1, 61), (2, 67), epochs={1, 2}),
            lineage((1, 61), (2, 65), (3, 80), epochs={1, 3, 5}),
            (61, False),
            id="we went further on ours than they on theirs",
        ),
        pytest.param(
            lineage((1, 61), (2, 64), epochs={1, 2}),
            lineage((1, 61), (2, 65), (3, 80), epochs={1, 3, 5}),
            (61, False),
            id="they went further",
        ),
        pytest.param(
            lineage((1, 61), (2, 64), (3, 70), epochs={1, 2, 4}),
            lineage((1, 61), (2, 66), epochs={1, 3}),
            (61, False),
            id="we were promoted twice",
        ),
        pytest.param(
            lineage((1, 61), (2, 64), (3, 70), epochs={1, 2, 4}),
            lineage((1, 61), (2, 66), (4, 80), epochs={1, 3, 5}),
            (61, False),
            id="both were",
        ),
        pytest.param(
            lineage((1, 61), (2, 64), (3, 70), epochs={1, 2, 4}),
            lineage((1, 61), (2, 64), (4, 80), epochs={1, 3, 5}),
            (61, False),
            id="both ended it at the same LSN",
        ),
        pytest.param(
            lineage((1, 61), (2, 64), (3, 70), epochs={1, 2, 4}),
            lineage((1, 61), (2, 64), (3, 80), epochs={1, 3, 5}),
            (61, False),
            id="both ended it at the same LSN, and began another one of the same number",
        ),
        pytest.param(
            lineage((1, 61), (2, 64), (3, 70), epochs={1, 2, 4}),
            lineage((1, 61), (2, 66), (4, 80), epochs={1, 2, 5}),
            (64, True),
            id="only the later one of our timelines is ours alone",
        ),
        pytest.param(
            lineage((1, 61), (2, 67), epochs={1, 2}),
            lineage((1, 61), (2, 65), (3, 80), epochs={1, 2, 5}),
            (65, True),
            id="the timeline is the same one",
        ),
    ],
)
def test_a_timeline_of_the_same_number_is_theirs_only_with_its_epoch(
    own: Lineage, theirs: Lineage, expected: tuple[int, bool]
) -> None:
    """Both were promoted from the same LSN. pg_rewind would take the later end for the fork (seed 980011)."""
    verdict = compare(own, theirs, epoch=6)
    assert isinstance(verdict, Diverged)
    assert (verdict.fork_lsn, verdict.rewindable) == expected


def test_a_second_timeline_of_ours_without_a_record_does_not_hide_the_first() -> None:
    own = lineage((1, 61), (2, 64), (3, 70), epochs={1, 2}, replayed=70)
    verdict = compare(own, lineage((1, 61), (2, 66), (4, 80), epochs={1, 3, 5}), epoch=6, promoted_under=4)
    assert isinstance(verdict, Diverged)
    assert (verdict.fork_lsn, verdict.rewindable) == (61, False)


def test_a_promotion_that_never_took_effect_leaves_the_fork_where_it_is() -> None:
    own = lineage((1, 61), (2, 170), epochs={1, 2}, replayed=170)
    verdict = compare(own, lineage((1, 61), (2, 150), (3, 180), epochs={1, 2, 4}), epoch=5, promoted_under=3)
    assert isinstance(verdict, Diverged)
    assert (verdict.fork_lsn, verdict.rewindable) == (150, True)


def test_a_timeline_without_a_record_is_not_theirs_either_where_it_went_on_past_their_fork() -> None:
    own = lineage((1, 100), (2, 170), replayed=170)
    verdict = compare(own, lineage((1, 100), (2, 150), (3, 180), epochs={1, 3, 4}), epoch=5, promoted_under=2)
    assert isinstance(verdict, Diverged)
    assert (verdict.fork_lsn, verdict.rewindable) == (100, False)


def test_orphaned_stretches_follow_our_own_timelines() -> None:
    own = lineage((1, 100), (2, 120), (3, 140))
    assert ranges(own, 90) == ((1, 90, 100), (2, 100, 120), (3, 120, 140))
    assert ranges(own, 100) == ((2, 100, 120), (3, 120, 140))
    assert ranges(own, 140) == ()


def test_positions_are_read_and_written_as_postgres_does() -> None:
    assert parse_lsn("1/2A") == (1 << 32) + 42
    assert lsn_text((1 << 32) + 42) == "1/2A"
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


def test_commits_are_read_with_their_subtransactions_files_and_blocks() -> None:
    changes = Changes()
    changes.read(
        (
            record("Heap", 700, "INSERT off: 1, flags: 0x08, blkref #0: rel 1663/5/16390 blk 0"),
            record(
                "Heap",
                701,
                "UPDATE old_xmax: 701, blkref #0: rel 1663/5/16391 blk 7 FPW, blkref #1: rel 1663/5/16391 blk 3",
            ),
            record("Transaction", 700, "COMMIT 2026-01-01 00:00:00.0 UTC; subxacts: 701 703"),
            record(
                "Heap",
                702,
                "DELETE blkref #0: rel 1663/5/16390 blk 2, blkref #1: rel 1663/5/16390 fork vm blk 9",
            ),
            record("Transaction", 702, "ABORT 2026-01-01 00:00:00.0 UTC"),
            record("Storage", 704, "CREATE base/5/16400"),
            record("Storage", 704, "CREATE base/5/16401_vm"),
            record("Storage", 704, "CREATE pg_tblspc/16388/PG_18_202506291/5/16402"),
            record("XLOG", 0, "NOOP"),
        )
    )
    assert changes.transactions == {700: frozenset({700, 701, 703})}
    assert changes.members == frozenset({700, 701, 703})
    assert changes.files_of(700) == frozenset({(1663, 5, 16390), (1663, 5, 16391)})
    assert changes.blocks == {(1663, 5, 16390): {0, 2}, (1663, 5, 16391): {3, 7}}
    assert changes.created == {(1663, 5, 16400), (16388, 5, 16402)}


def test_before_the_fork_only_changes_of_the_named_transactions_count() -> None:
    changes = Changes()
    first = changes.read_earlier(
        (
            record("Heap", 700, "INSERT off: 1, flags: 0x08, blkref #0: rel 1663/5/16390 blk 1"),
            record("Standby", 0, "RUNNING_XACTS nextXid 701 latestCompletedXid 699 oldestRunningXid 700; 1 xacts: 700"),
            record("Heap", 701, "INSERT off: 1, flags: 0x08, blkref #0: rel 1663/5/16390 blk 2"),
            record("Standby", 0, "RUNNING_XACTS nextXid 702 latestCompletedXid 701 oldestRunningXid 702"),
        ),
        frozenset({701}),
    )
    assert first == 701
    assert changes.blocks == {(1663, 5, 16390): {2}}


@pytest.mark.parametrize(
    ("xids", "next_xid", "expected"),
    [
        pytest.param({701, 705}, 701, True, id="the next one itself"),
        pytest.param({700, 705}, 701, False, id="one before"),
        pytest.param({3, 4294967295}, 4294967290, True, id="wrapped"),
        pytest.param({4294967289, 3}, 4294967290, False, id="one before, wrapped"),
        pytest.param(set[int](), 701, True, id="none"),
    ],
)
def test_began_later(xids: set[int], next_xid: int, expected: bool) -> None:
    assert began_later(xids, next_xid) is expected


def test_only_files_that_may_hold_a_users_rows_count() -> None:
    numbers = (1259, 2613, 16390, 16399, 17000)
    changes = Changes(blocks={(1663, database, number): {0} for database in (5, 6) for number in numbers})
    known = {(1663, 5, 1259): False, (1663, 5, 2613): True, (1663, 5, 16390): False, (1663, 5, 16399): True}
    assert users_files(changes, known, 6) == {(1663, 5, 2613), (1663, 5, 16399), (1663, 5, 17000)}
