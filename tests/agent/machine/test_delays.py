"""The histogram of silences: what counts, what an agent must not count, and that it outlives the agent."""

from dataclasses import replace

import pytest

from leeward.agent.machine.delays import WRITE_EVERY_S, DelayLog
from leeward.agent.machine.outbox import Outbox
from leeward.agent.machine.store import StoreCopy
from leeward.core import keys
from leeward.core.codec import decode
from leeward.core.delays import Delays, bucket
from leeward.core.values import Heartbeat, Region
from leeward.core.view import Seen
from leeward.ports.quorum import Change, Put
from leeward.sim.fleet import THREE
from leeward.sim.fleet import settings as settings_of

EU, US = Region("eu"), Region("us")


class Watching:
    """An agent's log, its clock and its store."""

    def __init__(self, store: StoreCopy | None = None) -> None:
        settings = settings_of(EU, [(THREE, THREE.data_regions)])
        self.out = Outbox(settings)
        self.store = store or StoreCopy(settings.fleet)
        self.log = DelayLog(settings, self.store, self.out)
        self.at_s = 100.0
        self.last: Seen | None = None
        self.look()
        self.log.continue_from_store()

    def heard(self, after_s: float, *, still: bool = False, incarnation: str = "a", region: Region = US) -> None:
        """A heartbeat comes; meanwhile the agent looks around, or stood still itself."""
        until_s = self.at_s + after_s
        while not still and self.at_s + 0.25 < until_s:
            self.at_s += 0.25
            self.look()
        self.at_s = until_s
        self.look()
        revision = self.last.revision + 1 if self.last is not None else 1
        after = Seen(Heartbeat(region, incarnation, revision, 0), revision, self.at_s)
        self.log.seen(region, self.last, after)
        self.last = after

    def look(self) -> None:
        self.out.begin(self.at_s, self.at_s)
        self.log.look()

    def counts(self) -> dict[int, int]:
        found = self.log.delays.regions.get(US)
        return {index: count for index, count in enumerate(found.counts) if count} if found is not None else {}


def test_silences_are_counted_by_length() -> None:
    watching = Watching()
    for after_s in (0.25, 0.25, 9.0, 0.25):
        watching.heard(after_s)
    assert watching.counts() == {0: 2, bucket(9.0): 1}
    assert watching.log.delays.regions[US].observed_s == pytest.approx(9.5)


def test_an_agent_that_stood_still_itself_counts_nothing() -> None:
    watching = Watching()
    watching.heard(0.25)
    watching.heard(9.0, still=True)
    assert watching.counts() == {}
    watching.heard(0.25)
    assert watching.counts() == {}, "it began while nobody looked"
    watching.heard(0.25)
    assert watching.counts() == {0: 1}


def test_a_region_that_started_again_was_not_silent() -> None:
    watching = Watching()
    watching.heard(0.25)
    watching.heard(9.0, incarnation="b")
    assert watching.counts() == {}


def test_it_is_kept_in_the_store_and_goes_on_there() -> None:
    watching = Watching()
    watching.heard(0.25)
    watching.heard(9.0)
    watching.log.write()
    assert watching.out.actions == []
    watching.at_s += WRITE_EVERY_S
    watching.look()
    watching.log.write()
    (transaction,) = watching.out.actions
    (put,) = transaction.changes  # type: ignore[union-attr]
    assert isinstance(put, Put)
    assert put.key == keys.delays("simulated", EU)
    assert decode(Delays, put.value) == watching.log.delays
    store = StoreCopy("simulated")
    store.fold(Change(7, {put.key: put.value}), 0.0)
    after = Watching(store)
    assert after.log.delays == watching.log.delays
    after.heard(0.25)
    after.heard(0.25)
    assert sum(after.counts().values()) == sum(watching.counts().values()) + 1


def test_one_region_is_never_silent_to_itself() -> None:
    watching = Watching()
    watching.heard(0.25, region=EU)
    watching.heard(9.0, region=EU)
    assert watching.log.delays == replace(watching.log.delays, regions={})
