"""What one look at PostgreSQL says of its standbys."""

from leeward.core.values import Region, Sender
from leeward.instance.postgres.session import standbys

EU, AP = Region("eu"), Region("ap")


def test_a_region_with_two_sessions_is_one_standby() -> None:
    ended = Sender(EU, streaming=False, flushed_lsn=90, replayed_lsn=90, synchronous=False)
    old = Sender(EU, streaming=True, flushed_lsn=100, replayed_lsn=90, synchronous=False)
    new = Sender(EU, streaming=True, flushed_lsn=100, replayed_lsn=100, synchronous=True)
    other = Sender(AP, streaming=True, flushed_lsn=80, replayed_lsn=80, synchronous=False)
    assert standbys([old, ended, new, other]) == (other, new)
    assert standbys([new, other, old]) == (other, new)
    assert standbys([]) == ()
