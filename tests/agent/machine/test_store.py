"""One agent's copy of the store."""

from leeward.agent.machine.store import StoreCopy
from leeward.core import keys
from leeward.core.codec import encode
from leeward.ports.quorum import Entry, Snapshot
from tests.core.views import APP, US, electing, seen


def test_reading_the_store_again_does_not_restart_the_wait_for_the_old_primary() -> None:
    copy, opened = StoreCopy("fleet"), electing(deposed_lease_over=False)
    last = seen(US, 0.0).heartbeat
    entries = {
        keys.topology("fleet", APP): Entry(encode(opened), 5),
        keys.heartbeat("fleet", US): Entry(encode(last), 4),
    }
    copy.take(Snapshot(5, entries), 10.0)
    copy.take(Snapshot(6, entries), 12.0)  # the watch broke, as when the store's leader is lost
    assert copy.topologies[APP].seen_at_s == 10.0
    assert copy.seen_under[US, 0].at_s == 10.0


def test_a_history_is_read_first_when_its_first_snapshot_is_taken() -> None:
    """Who waits for the regions that know more counts from there, also when the store was lost again."""
    store = StoreCopy("fleet")
    store.take(Snapshot(5, {}), 100.0)
    store.take(Snapshot(6, {}), 110.0)
    assert store.read_at_s == 100.0
    store.take(Snapshot(2, {}), 120.0, replaced=True)
    assert store.read_at_s == 120.0
