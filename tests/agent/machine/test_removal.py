"""A removed application leaves nothing in the store: when every region's files omit it, after a grace period."""

import pytest

from leeward.agent.machine import actions as do
from leeward.agent.machine import events as on
from leeward.agent.machine.removal import GRACE_S
from leeward.core import keys
from leeward.core.codec import encode
from leeward.core.values import App, Declared, LastDrill, Promise, Region, Removed, Tally, WalPosition
from leeward.ports.quorum import Compare, Delete, Entry, Put, Snapshot
from tests.agent.machine.test_machine import FLEET, Driven, of
from tests.core.views import AP, APP, EU, REGIONS, US, topology

OLD = App("ledger")
NAMED, OMITTED = Declared({APP: REGIONS, OLD: REGIONS}), Declared({APP: REGIONS})
PROMISED = Promise(AP, OLD, 2, WalPosition(1, 100))
KEPT = {
    keys.topology(FLEET, OLD): encode(topology(app=OLD)),
    keys.promise(FLEET, OLD, AP): encode(PROMISED),
    keys.drill(FLEET, OLD): encode(LastDrill("region-loss", "async", "passed", 1.0)),
    keys.topology(FLEET, APP): encode(topology()),
}


def driven(**words: Declared) -> Driven:
    """An agent whose files omit the old application, which is in the store."""
    found = Driven(EU)
    declared = {keys.declared(FLEET, Region(region)): encode(word) for region, word in words.items()}
    entries = {key: Entry(value, 5) for key, value in (KEPT | declared).items()}
    found.post(on.SnapshotTaken(Snapshot(found.revision, entries)))
    return found


def removals(actions: list[do.Action]) -> list[do.Transact]:
    gone = Delete(keys.topology(FLEET, OLD))
    return [asked for asked in of(do.Transact, actions) if gone in asked.changes]


def test_what_no_region_names_is_removed_after_the_grace_period_and_leaves_nothing() -> None:
    agent = driven(us=OMITTED, eu=OMITTED, ap=OMITTED)
    agent.now_s += GRACE_S - 1
    assert removals(agent.post(on.Woke())) == []
    agent.now_s += 1
    (asked,) = removals(agent.post(on.Woke()))
    assert set(asked.compares) == {
        Compare(keys.generation(FLEET), 0),
        Compare(keys.topology(FLEET, OLD), 5),
        *(Compare(keys.declared(FLEET, region), 5) for region in REGIONS),
    }, "nobody has named it again meanwhile"
    removed = {change.key for change in asked.changes if isinstance(change, Delete)}
    assert removed >= {key for key in KEPT if f"/{OLD}/" in key}
    assert not any(f"/{APP}/" in key for key in removed)
    assert removals(agent.post(on.Woke())) == [], "once"
    agent.change(**dict.fromkeys(removed))
    store = agent.machine.store
    assert OLD not in store.topologies
    assert OLD not in store.drills
    assert (OLD, AP) not in store.promises


@pytest.mark.parametrize(
    "words",
    [
        pytest.param({"us": NAMED, "eu": OMITTED, "ap": OMITTED}, id="one region names it still"),
        pytest.param({"us": OMITTED, "eu": OMITTED}, id="one region's word is unknown"),
    ],
)
def test_one_region_is_enough_to_keep_it(words: dict[str, Declared]) -> None:
    agent = driven(**words)
    agent.now_s += 2 * GRACE_S
    assert removals(agent.post(on.Woke())) == []


def test_a_mistake_that_is_put_right_begins_the_grace_period_again() -> None:
    agent = driven(us=OMITTED, eu=OMITTED, ap=OMITTED)
    agent.now_s += GRACE_S - 1
    agent.store(keys.declared(FLEET, US), NAMED)
    agent.store(keys.declared(FLEET, US), OMITTED)
    agent.now_s += 2
    assert removals(agent.post(on.Woke())) == []


def test_an_agent_with_old_files_does_not_found_it_again() -> None:
    agent = Driven(US)
    agent.load(None)
    for region in (EU, AP):
        agent.store(keys.declared(FLEET, region), Declared({}))
    agent.now_s += 1
    asked = of(do.Transact, agent.post(on.Woke()))
    assert not any(keys.topology(FLEET, APP) == change.key for each in asked for change in each.changes)
    assert agent.machine.apps[APP].because.startswith("waiting until the files of most regions agree on payments")


def test_a_removed_application_leaves_no_tally_but_its_epoch() -> None:
    agent = driven(us=OMITTED, eu=OMITTED, ap=OMITTED)
    agent.store(keys.tally(FLEET, OLD), Tally(needless=3))
    agent.now_s += GRACE_S + 1
    (removal,) = removals(agent.post(on.Woke()))
    assert keys.tally(FLEET, OLD) in {change.key for change in removal.changes if isinstance(change, Delete)}
    assert Put(keys.removed(FLEET, OLD), encode(Removed(1))) in removal.changes
