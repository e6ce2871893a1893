"""What failover depends on in PostgreSQL, held by the stand-in: acknowledgements, divergence, slots of history."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from leeward.core.values import Region, Role, Synchronous, SynchronousMethod
from leeward.sim import postgres
from leeward.sim.network import Network
from leeward.sim.postgres import ASK_ROUND_TRIPS, CONNECT_ROUND_TRIPS, FOLLOW_ROUND_TRIPS, Greeting, Postgres
from leeward.sim.process import Process
from leeward.sim.schedule import Schedule

US, EU, AP = Region("us"), Region("eu"), Region("ap")
ANY_ONE = Synchronous(SynchronousMethod.ANY, 1, (EU, AP))
FIRST_ONE = Synchronous(SynchronousMethod.FIRST, 1, (EU, AP))


@dataclass
class Trio:
    """Three servers, 50 ms apart one way, and how they were greeted."""

    schedule: Schedule = field(default_factory=Schedule)
    servers: dict[Region, Postgres] = field(default_factory=dict)
    greetings: list[tuple[Region, Greeting]] = field(default_factory=list)
    acknowledged: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        links = {(a, b): 0.05 for a in (US, EU, AP) for b in (US, EU, AP) if a != b}
        self.network = Network(self.schedule, Random(1), links)
        self.processes = {region: Process(self.schedule) for region in (US, EU, AP)}
        for region, process in self.processes.items():
            self.servers[region] = Postgres(
                region,
                self.network,
                process,
                self.servers,
                chance=Random(1),
                changed=lambda region=region: self.note(region),  # type: ignore[misc]
            )
            self.servers[region].start(recovery=True)

    def note(self, region: Region) -> None:
        greeting, upstream = self.servers[region].greeting, self.servers[region].follows
        if greeting is not None and upstream is not None and self.greetings[-1:] != [(upstream, greeting)]:
            self.greetings.append((upstream, greeting))

    def run(self, seconds: float) -> None:
        self.schedule.run_until(self.schedule.now_s + seconds)

    def write(self, region: Region, key: str) -> None:
        self.servers[region].write(key, lambda epoch, lsn, waived: self.acknowledged.append((epoch, lsn)), refused)

    def follow(self, standby: Region, upstream: Region) -> None:
        self.servers[standby].greeting = None
        self.servers[standby].follow(upstream)
        self.run(1.0)

    def lead(self, region: Region, epoch: int, proved: Callable[[], None] = lambda: None) -> None:
        """Promote, write the record of the epoch, and commit something that waits."""
        if self.servers[region].role is not Role.PRIMARY:
            self.servers[region].promote()
        self.servers[region].record(epoch)
        self.servers[region].commit(proved)


def refused() -> None:
    raise AssertionError("the write was refused")


def led(synchronous: Synchronous | None, then: Callable[[Trio], None] = lambda trio: None) -> Trio:
    trio = Trio()
    trio.servers[US].enforce(synchronous)
    trio.lead(US, 1)
    trio.follow(EU, US)
    trio.follow(AP, US)
    then(trio)
    return trio


def forked() -> Trio:
    """US has ended; EU holds two writes of it that AP never saw."""
    trio = led(None)
    trio.servers[AP].follow(None)
    trio.write(US, "a")
    trio.write(US, "b")
    trio.run(1.0)
    trio.servers[US].end()
    return trio


def test_async_acknowledges_at_once() -> None:
    trio = led(None)
    trio.write(US, "a")
    assert trio.acknowledged == [(1, 3)]


def test_quorum_waits_for_any_and_first_for_the_first_in_line() -> None:
    def freeze_first(trio: Trio) -> None:
        trio.processes[EU].freeze()

    any_one, first_one = led(ANY_ONE, freeze_first), led(FIRST_ONE, freeze_first)
    for trio in (any_one, first_one):
        trio.write(US, "a")
        assert trio.acknowledged == []
        trio.run(1.0)
    assert (any_one.acknowledged, first_one.acknowledged) == ([(1, 3)], [])
    first_one.processes[EU].thaw()
    first_one.run(1.0)
    assert first_one.acknowledged == [(1, 3)]


def test_a_standby_that_hung_up_acknowledges_nothing_any_more() -> None:
    trio = led(ANY_ONE)
    trio.write(US, "a")
    trio.servers[EU].follow(None)
    trio.servers[AP].follow(None)
    trio.run(1.0)
    assert trio.acknowledged == []
    assert len(trio.servers[EU].history) == 2


def test_a_retry_waits_for_the_standbys_like_a_write() -> None:
    trio = led(ANY_ONE)
    trio.network.cut(US, EU)
    trio.network.cut(US, AP)
    trio.write(US, "a")
    trio.write(US, "a")
    trio.run(1.0)
    assert trio.acknowledged == []


def test_who_holds_more_than_a_new_primary_has_diverged_and_who_holds_less_is_welcome() -> None:
    trio = forked()
    trio.lead(AP, 2)
    trio.greetings.clear()
    trio.follow(EU, AP)
    assert trio.greetings[:2] == [(AP, Greeting.WELCOME), (AP, Greeting.DIVERGED)], "and it tries again, in vain"
    trio.servers[EU].follow(None)
    trio.run(1.0)
    assert trio.servers[AP].receivers == {}
    history = trio.servers[EU].history
    history.cut_at(history.common_with(trio.servers[AP].history))
    trio.follow(EU, AP)
    assert trio.greetings[-1] == (AP, Greeting.WELCOME)
    assert trio.servers[EU].role is Role.STANDBY
    assert history.records == trio.servers[AP].history.records


@pytest.mark.parametrize("believed", [False, True])
def test_a_standby_whose_history_forked_off_acknowledges_nothing(
    believed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if believed:
        monkeypatch.setattr(postgres, "claim", lambda held_lsn, sent_lsn: held_lsn)
    trio, proved = forked(), list[str]()
    trio.servers[AP].enforce(Synchronous(SynchronousMethod.ANY, 1, (US, EU)))
    trio.lead(AP, 2, lambda: proved.append("a commit"))
    trio.follow(EU, AP)
    assert bool(proved) is believed, "a claim is about positions: only the WAL proxy knows what was sent"


def test_after_a_promotion_who_lined_up_before_is_soon_on_the_new_timeline() -> None:
    trio = led(None)
    trio.follow(AP, EU)
    trio.servers[US].end()
    trio.lead(EU, 2)
    trio.write(EU, "a")
    one_way_s = 0.05
    trio.run(one_way_s * (1 + 2 * FOLLOW_ROUND_TRIPS) - 0.01)
    assert len(trio.servers[AP].history) == 2
    trio.run(0.02)
    assert trio.servers[AP].history.records == trio.servers[EU].history.records


def test_who_comes_after_the_promotion_asks_for_the_new_timeline() -> None:
    trio = led(None)
    trio.servers[AP].follow(None)
    trio.servers[US].end()
    trio.lead(EU, 2)
    trio.servers[AP].follow(EU)
    connected_s = 0.05 * (2 * CONNECT_ROUND_TRIPS + 2)
    trio.run(connected_s + 0.05 * 2 * ASK_ROUND_TRIPS - 0.01)
    assert len(trio.servers[AP].history) == 2
    trio.run(0.02)
    assert trio.servers[AP].history.records == trio.servers[EU].history.records


def test_a_primary_that_goes_on_under_another_epoch_begins_no_timeline() -> None:
    trio = led(None)
    trio.lead(US, 2)
    trio.run(0.06)
    assert len(trio.servers[EU].history) == 4


def test_a_cut_delivers_late_and_in_order() -> None:
    trio = led(None)
    trio.network.cut(US, EU)
    for key in ("a", "b", "c"):
        trio.write(US, key)
        trio.run(0.03)
    trio.network.heal(US, EU)
    trio.run(1.0)
    assert trio.servers[EU].history.records == trio.servers[US].history.records


def test_a_disk_that_goes_on_while_its_process_stands_still_is_caught_up_with_afterwards() -> None:
    trio = Trio()
    trio.servers[US].promote()
    trio.follow(EU, US)
    trio.servers[EU].hang()
    for number in range(3):
        trio.write(US, f"hung-{number}")
    trio.run(1.0)
    trio.processes[EU].freeze()
    trio.servers[EU].go_on()
    trio.processes[EU].thaw()
    trio.run(1.0)
    assert len(trio.servers[EU].history) == len(trio.servers[US].history)
