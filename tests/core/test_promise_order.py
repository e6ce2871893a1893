"""Decision 15's argument as a small model: the best promise holds every acknowledged write.

Three replicas in quorum (W = 1). A log is a list of entries; a promotion begins a timeline whose number is one more
than the last of the promoted replica's own log, as in PostgreSQL, so two promotions may pick the same number.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leeward.core.values import WalPosition

Order = Callable[[WalPosition], object]


@dataclass(frozen=True, slots=True)
class Entry:
    """``record``: the epoch it is the record of, or 0."""

    number: int
    timeline: int
    epoch: int
    record: int = 0


def position(log: list[Entry]) -> WalPosition:
    recorded = [entry.record for entry in log if entry.record]
    return WalPosition(recorded[-1] if recorded else 0, len(log), log[-1].timeline if log else 0)


@dataclass
class Model:
    """``closed``: no client writes before the record of the epoch is acknowledged."""

    order: Order
    closed: bool
    logs: list[list[Entry]] = field(default_factory=lambda: [[Entry(0, 1, 1, 1)] for _ in range(3)])
    epoch: int = 1
    leader: int = 0
    following: set[int] = field(default_factory=lambda: {1, 2})
    acknowledged: set[int] = field(default_factory=set)
    numbers: int = 0
    lost: bool = False

    def step(self, what: int, who: int, how_far: int) -> None:
        match what % 5:
            case 0:
                self.elect(without=who % 3)
            case 1:
                self.append(record=self.epoch)
            case 2 if not self.closed or self.admits():
                self.append()
            case 3:
                self.replicate(who % 3, how_far)
            case 4:
                self.following.add(who % 3)

    def admits(self) -> bool:
        own = self.logs[self.leader]
        records = [entry for entry in own if entry.record == self.epoch]
        return any(entry in log for entry in records for at, log in enumerate(self.logs) if at != self.leader)

    def append(self, record: int = 0) -> None:
        own = self.logs[self.leader]
        self.numbers += 1
        timeline = own[-1].timeline
        own.append(Entry(self.numbers, timeline, self.epoch, record))

    def replicate(self, who: int, how_far: int) -> None:
        own, theirs = self.logs[self.leader], self.logs[who]
        if who == self.leader or who not in self.following:
            return
        common = 0
        while common < min(len(own), len(theirs)) and own[common] == theirs[common]:
            common += 1
        # It holds a prefix of ours, whatever it had beyond the fork; and it never gives up what we have.
        self.logs[who] = own[: max(common, min(len(own), common + how_far))]
        self.acknowledged |= {
            e.number for e in self.logs[who] if e.epoch == self.epoch and not e.record and e.number > 0
        }

    def elect(self, without: int) -> None:
        promised = [at for at in range(3) if at != without]
        self.epoch += 1
        self.leader = max(promised, key=lambda at: (self.order(position(self.logs[at])), at))
        self.following = set(promised) - {self.leader}
        own = self.logs[self.leader]
        if not self.acknowledged <= {entry.number for entry in own}:
            self.lost = True
        self.numbers += 1
        # The end of recovery: it is nothing that a client waits for.
        own.append(Entry(-self.numbers, own[-1].timeline + 1, self.epoch))


def run(steps: list[tuple[int, int, int]], order: Order, *, closed: bool = True) -> bool:
    """Return whether an election lost an acknowledged write."""
    model = Model(order, closed)
    for step in steps:
        model.step(*step)
    model.elect(without=model.leader)
    return model.lost


STEPS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(1, 9)), max_size=40)
ELECT, RECORD, WRITE, REPLICATE = 0, 1, 2, 3

UNACKNOWLEDGED_TAIL = [(WRITE, 0, 0)] * 9
EARLY_WRITE = [*UNACKNOWLEDGED_TAIL, (ELECT, 0, 0), (WRITE, 0, 0), (REPLICATE, 1, 9)]
"""0 keeps a tail of its own. 2 leads; 1 acknowledges a write before its record; 2 is lost, and 0 is back."""
RECORDED_WRITE = [
    *UNACKNOWLEDGED_TAIL,
    (ELECT, 0, 0),
    (RECORD, 0, 0),
    (REPLICATE, 1, 9),
    (WRITE, 0, 0),
    (REPLICATE, 1, 9),
]


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_the_best_promise_holds_every_acknowledged_write(steps: list[tuple[int, int, int]]) -> None:
    assert not run(steps, lambda wal: (wal.epoch, wal.timeline, wal.lsn))


@pytest.mark.parametrize("steps", [EARLY_WRITE, RECORDED_WRITE])
def test_positions_are_ordered_so(steps: list[tuple[int, int, int]]) -> None:
    class Held:
        def __init__(self, wal: WalPosition) -> None:
            self.wal = wal

        def __lt__(self, other: "Held") -> bool:
            return self.wal < other.wal

        def __gt__(self, other: "Held") -> bool:
            return self.wal > other.wal

    assert not run(steps, Held, closed=False)


def test_without_epochs_or_timelines_a_longer_tail_wins() -> None:
    assert run(RECORDED_WRITE, lambda wal: wal.lsn)
    assert run(EARLY_WRITE, lambda wal: (wal.epoch, wal.lsn), closed=False)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        pytest.param(WalPosition(1, 900, 1), WalPosition(2, 5, 2), id="a later epoch beats a higher LSN"),
        pytest.param(WalPosition(1, 900, 1), WalPosition(1, 5, 2), id="a branch beats the timeline it left"),
        pytest.param(WalPosition(1, 900, 3), WalPosition(2, 5, 2), id="an epoch on record beats a timeline's number"),
        pytest.param(WalPosition(1, 4, 2), WalPosition(1, 5, 2), id="on one timeline the LSN decides"),
    ],
)
def test_order_of_positions(less: WalPosition, more: WalPosition) -> None:
    assert less < more
    assert less <= more
    assert more > less
    assert more >= less
    assert not more <= less
