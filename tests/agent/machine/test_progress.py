"""Every agent estimates a loss from what the store holds: whenever it started, and however late its watch delivers."""

import math
from collections.abc import Iterator

from leeward.agent.machine import actions as do
from leeward.agent.machine import events as on
from leeward.agent.machine.machine import Machine
from leeward.core import keys, progress
from leeward.core.codec import decode, encode
from leeward.core.progress import ProgressRecord
from leeward.core.values import Order, Phase, Region, ReplicationMode, Role
from leeward.ports.quorum import Change, Entry, Put, Snapshot
from tests.agent.machine.test_machine import FLEET, Driven, heartbeats, of, settings
from tests.core.views import AP, APP, EU, US, electing, status, topology, wal

KEY = keys.progress(FLEET, APP)


def records(actions: list[do.Action]) -> Iterator[str]:
    for beat in heartbeats(actions):
        yield from (put.value for put in beat.changes if isinstance(put, Put) and put.key == KEY)


def led(driven: Driven, epoch: int, *, for_s: float, from_lsn: int) -> list[str]:
    """Let the driven region's primary write 100 bytes a second; return the records its agent wrote."""
    found = list[str]()
    for tenths in range(int(for_s * 10) + 1):
        lsn = from_lsn + tenths * 10
        reported = status(
            Role.PRIMARY, epoch=epoch, lsn=lsn, clock_s=driven.now_s - 50, order=Order(epoch, Role.PRIMARY)
        )
        for event in (on.InstanceReported(APP, reported), on.Woke()):
            actions = driven.post(event)
            found += records(actions)
            for asked in of(do.Transact, actions):
                for put in asked.changes:
                    assert isinstance(put, Put)
                    driven.change(**{put.key: put.value})
                driven.commit(asked)
        driven.now_s += 0.1
    return found


def estimate(machine: Machine, lsn: int) -> float:
    return progress.loss_s(machine.view(machine.apps[APP], 0.0).progress, wal(1, lsn))


def reader(*, after: tuple[str, ...]) -> Machine:
    """An agent that takes a snapshot and then gets the rest at one moment."""
    machine = Machine(settings(EU), "e")
    entries = {keys.topology(FLEET, APP): Entry(encode(topology()), 5)}
    machine.handle(on.SnapshotTaken(Snapshot(10, entries)), 7.0, 0.0)
    for number, text in enumerate(after):
        machine.handle(on.StoreChanged(Change(11 + number, {KEY: text})), 7.0, 0.0)
    return machine


def test_the_record_is_written_with_heartbeats_and_not_with_every_one() -> None:
    driven = Driven(US)
    driven.load(topology(), us=7)
    written = led(driven, 1, for_s=10.0, from_lsn=0)
    interval_s = progress.interval_s(5.0, 0.25)
    assert 10.0 / interval_s * 0.5 <= len(written) <= 10.0 / interval_s + 2
    assert led(driven, 1, for_s=0.0, from_lsn=1000) == []


def test_agents_judge_alike_from_the_same_store_whenever_they_hear_of_it() -> None:
    driven = Driven(US)
    driven.load(topology(), us=7)
    written = led(driven, 1, for_s=20.0, from_lsn=0)
    burst, late = reader(after=tuple(written)), reader(after=(written[-1],))
    for lsn in (0, 500, 1000, 1500, 1900, 2000):
        assert estimate(burst, lsn) == estimate(late, lsn)
    assert estimate(late, 900) > 10.0
    assert estimate(reader(after=()), 2000) == math.inf, "nothing known is no reason to expect no loss"


def test_an_agent_that_starts_again_beside_its_primary_goes_on_with_the_record() -> None:
    driven = Driven(US)
    driven.load(topology(), us=7)
    (*_, text) = led(driven, 1, for_s=10.0, from_lsn=0)
    again = Driven(US)
    again.now_s = driven.now_s + 5.0
    entries = {
        keys.topology(FLEET, APP): Entry(encode(topology()), 5),
        keys.fence(FLEET, US): Entry("7", 2),
        KEY: Entry(text, 9),
    }
    again.post(on.SnapshotTaken(Snapshot(10, entries)))
    (*_, last) = led(again, 1, for_s=2.0, from_lsn=1500)
    points = decode(ProgressRecord, last).points()
    assert progress.loss_s(points, wal(1, 990)) >= 7.0
    assert progress.loss_s(points, wal(1, 990)) < 8.5


def test_the_next_primary_goes_on_with_the_record_of_the_one_before() -> None:
    driven = Driven(US)
    driven.load(topology(), us=7)
    (*_, text) = led(driven, 1, for_s=60.0, from_lsn=0)
    heir = Driven(EU)
    heir.now_s = 55.0
    promoting = topology(epoch=2, primary=EU, phase=Phase.PROMOTING, deposed=US)
    entries = {keys.topology(FLEET, APP): Entry(encode(promoting), 9), KEY: Entry(text, 8)}
    heir.post(on.SnapshotTaken(Snapshot(10, entries)))
    held = status(Role.STANDBY, epoch=2, clock_s=4.9, lsn=0, order=Order(2, Role.PRIMARY), wal=wal(1, 5900))
    heir.post(on.InstanceReported(APP, held))
    (*_, last) = led(heir, 2, for_s=3.0, from_lsn=5910)
    points = decode(ProgressRecord, last).points()
    assert progress.loss_s(points, wal(1, 100)) > 5.0, "a minute behind stays a minute behind"
    assert 3.0 <= progress.loss_s(points, wal(1, 5950)) < 4.5


def test_a_record_that_did_not_arrive_is_written_again() -> None:
    driven = Driven(US)
    driven.load(topology(), us=7)
    driven.post(on.InstanceReported(APP, status(Role.PRIMARY, lsn=100)))
    driven.now_s += 1.0
    (beat,) = heartbeats(driven.post(on.Woke()))
    assert list(records([beat]))
    driven.post(on.TransactionEnded(beat.transaction, None))
    driven.now_s += 1.0
    assert list(records(driven.post(on.Woke())))


def test_no_record_is_kept_where_no_loss_is_allowed() -> None:
    driven = Driven(US)
    driven.load(topology(mode=ReplicationMode.QUORUM), us=7)
    assert led(driven, 1, for_s=3.0, from_lsn=0) == []


def test_a_region_that_is_not_the_primary_writes_no_record() -> None:
    for found in (topology(primary=AP), electing()):
        driven = Driven(US)
        driven.load(found, us=7)
        assert led(driven, found.epoch, for_s=3.0, from_lsn=0) == []


def test_a_record_alone_changes_no_decision() -> None:
    machine = reader(after=())
    record = encode(progress.advance(None, Region("us"), "a", 1.0, wal(1, 100), 0.25))
    known = Change(11, {KEY: record})
    other = Change(12, {keys.topology(FLEET, APP): encode(topology(paused=True)), KEY: record})
    assert machine._fold(known) is False
    assert machine._fold(other) is True
