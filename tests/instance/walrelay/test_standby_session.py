"""A standby session with PostgreSQL's own messages: what it asks, what of the answers counts, and how it takes over."""

import pytest

from leeward.core.values import Region
from leeward.instance.walrelay.messages import Start, UnforeseenError
from leeward.instance.walrelay.prefetch import SEGMENT_BYTES, Passing, Prefetch
from leeward.instance.walrelay.standby_session import StandbySession
from tests.instance.walrelay.test_prefetch import (
    COPY_DONE,
    ENDED,
    HISTORY,
    HISTORY_ANSWER,
    IDENTIFY,
    IDENTIFY_ANSWER,
    LAST,
    LOGIN,
    OWN,
    SLOT,
    STARTUP,
    STATUS,
    STREAM,
    UNLIKELY_FORKS,
    answer,
    ended,
    frame,
    login,
    query,
    start,
    status,
    wal,
)

SEGMENT = 3 * SEGMENT_BYTES
PASSWORD = "it's: a \\secret"
LOGGED_IN = frame(b"R", bytes(4)) + frame(b"S", b"in_hot_standby\x00on\x00") + frame(b"Z", b"I")
WAITED = frame(b"C", b"DO\x00") + frame(b"Z", b"I")
# The timeline ends where it was asked for, or after some WAL.
ENDS_THERE, ENDS_LATER = ENDED, STREAM + wal(LAST - 8, bytes(8)) + COPY_DONE + ENDED
REST = HISTORY_ANSWER + IDENTIFY_ANSWER + STREAM
PROMOTED = WAITED + ENDS_THERE + REST
SLOTLESS = query(b"START_REPLICATION 0/3000000 TIMELINE 1")
GOODBYE = frame(b"X")


def says(recovering: bool) -> bytes:
    return LOGGED_IN + answer(b"t" if recovering else b"f")


def own_wal(timeline: int, from_lsn: int, to_lsn: int) -> bytes:
    assert (timeline, from_lsn) == (1, SEGMENT)
    return (OWN + b"more")[: to_lsn - from_lsn]


def fresh() -> tuple[Prefetch, StandbySession]:
    standby_session = StandbySession(Region("japaneast"), PASSWORD)
    prefetch = Prefetch(own_wal, standby_session)
    prefetch.from_server(LOGIN)
    return prefetch, standby_session


def lined_up() -> Prefetch:
    """A connection to an upstream in recovery, caught up at ``LAST``, whose standby session has just asked."""
    prefetch, _ = fresh()
    assert not prefetch.from_standby_session(says(recovering=True)).to_server
    assert prefetch.from_client(STARTUP + start(SEGMENT, 1)).to_server.endswith(SLOTLESS)
    passed = prefetch.from_server(STREAM + wal(SEGMENT, bytes(LAST - SEGMENT)))
    assert passed.to_standby_session
    assert not passed.to_server
    assert prefetch.relies_on_standby_session
    return prefetch


def test_it_logs_in_without_waiting_to_be_asked() -> None:
    _, standby_session = fresh()
    opening = standby_session.opening()
    words = opening[8:].partition(b"\x00\x00")[0].split(b"\x00")
    parameters = dict(zip(words[::2], words[1::2], strict=True))
    assert parameters[b"application_name"] == b"japaneast"
    assert (parameters[b"database"], parameters[b"replication"]) == (b"leeward", b"database")
    assert opening.endswith(frame(b"p", PASSWORD.encode() + b"\x00") + query(b"SELECT pg_catalog.pg_is_in_recovery()"))
    assert PASSWORD not in repr(standby_session)


def test_it_asks_behind_a_statement_that_waits() -> None:
    _, standby_session = fresh()
    wait, _, rest = standby_session.ask(Start(SLOT, SEGMENT, 1), LAST).partition(query(Start(None, LAST, 1).query()))
    assert wait[:1] == b"Q"
    assert b"WHILE pg_catalog.pg_is_in_recovery()" in wait
    assert rest == COPY_DONE + HISTORY + IDENTIFY + start(LAST, 2)


@pytest.mark.parametrize("ends", [pytest.param(ENDS_THERE, id="there"), pytest.param(ENDS_LATER, id="later")])
@pytest.mark.parametrize("chunk_bytes", [1, 7, 4096])
def test_of_its_answers_only_what_a_wal_receiver_expects_counts(ends: bytes, chunk_bytes: int) -> None:
    _, standby_session = fresh()
    sent = says(recovering=True) + WAITED + ends + HISTORY_ANSWER + STREAM + wal(LAST, b"new")
    counted = [standby_session.feed(sent[at : at + chunk_bytes]) for at in range(0, len(sent), chunk_bytes)]
    assert standby_session.recovering
    assert b"".join(f for frames in counted for f in frames) == ENDED + HISTORY_ANSWER + STREAM + wal(LAST, b"new")


def test_when_the_timeline_ends_the_answers_are_there_already() -> None:
    prefetch = lined_up()
    first = wal(LAST, b"new")
    assert prefetch.from_standby_session(PROMOTED + first) == prefetch.from_standby_session(b"")
    assert prefetch.held_bytes > 0
    passed = prefetch.from_server(COPY_DONE)
    assert passed.taken_over
    assert passed.to_client == COPY_DONE
    assert passed.to_server == GOODBYE
    for asked, answered in (
        (STATUS, b""),
        (COPY_DONE, ENDED),
        (HISTORY, HISTORY_ANSWER),
        (IDENTIFY, IDENTIFY_ANSWER),
        (start(SEGMENT, 2), STREAM + wal(SEGMENT, OWN) + first),
    ):
        passed = prefetch.from_client(asked)
        assert passed.to_client == answered
        assert not passed.to_server
    # From here on the standby session is the upstream, with all that holds for one.
    assert prefetch.held_bytes == 0
    claim = status(LAST + 9, LAST + 9, LAST)
    assert prefetch.from_client(claim).to_server == status(LAST + 3, LAST + 3, LAST)
    assert prefetch.from_standby_session(wal(LAST + 3, b"longer")).to_server == claim
    passed = prefetch.from_standby_session(COPY_DONE)
    assert passed.to_server.endswith(start(LAST + 9, 3))
    assert prefetch.accompanied


def test_the_timeline_may_end_before_the_answers_come() -> None:
    prefetch = lined_up()
    assert prefetch.from_server(COPY_DONE).taken_over
    assert not prefetch.from_client(COPY_DONE + HISTORY + IDENTIFY + start(SEGMENT, 2)).to_client
    passed = prefetch.from_standby_session(PROMOTED)
    assert passed.to_client == ENDED + HISTORY_ANSWER + IDENTIFY_ANSWER + STREAM + wal(SEGMENT, OWN)


def test_wal_that_came_by_the_old_timeline_is_not_handed_out_again() -> None:
    prefetch = lined_up()
    # It asked for all from LAST on; the fork came later.
    prefetch.from_server(wal(LAST, b"more") + COPY_DONE)
    prefetch.from_standby_session(WAITED + ended(LAST + 4) + REST + wal(LAST, b"mo") + wal(LAST + 2, b"renew"))
    passed = prefetch.from_client(COPY_DONE + HISTORY + IDENTIFY + start(SEGMENT, 2))
    assert passed.to_client.endswith(STREAM + wal(SEGMENT, OWN + b"more") + wal(LAST + 4, b"new"))


def test_nothing_is_handed_out_or_claimed_of_what_is_beyond_the_fork() -> None:
    # The upstream had received, and sent on, the first 100 bytes of a record that its promotion did without.
    prefetch = lined_up()
    prefetch.from_server(wal(LAST, bytes(100)))
    beyond = LAST + 100
    assert prefetch.from_server(COPY_DONE).taken_over
    assert not prefetch.from_client(COPY_DONE + HISTORY + IDENTIFY + start(SEGMENT, 2)).to_client
    assert not prefetch.from_client(status(beyond, beyond, LAST)).to_server
    with pytest.raises(UnforeseenError, match=r"timeline 2 begins at 3000050, .* ends at 30000B4"):
        prefetch.from_standby_session(PROMOTED + wal(LAST, b"new"))


@pytest.mark.parametrize("early", [pytest.param(True, id="early"), pytest.param(False, id="late")])
@pytest.mark.parametrize(("answered", "because"), UNLIKELY_FORKS)
def test_a_fork_anywhere_but_at_the_end_of_what_came_starts_over(early: bool, answered: bytes, because: str) -> None:
    prefetch = lined_up()
    promoted = WAITED + answered + REST
    if early:
        prefetch.from_standby_session(promoted)
        with pytest.raises(UnforeseenError, match=because):
            prefetch.from_server(COPY_DONE)
        return
    prefetch.from_server(COPY_DONE)
    with pytest.raises(UnforeseenError, match=because):
        prefetch.from_standby_session(promoted)


def test_a_fork_in_a_later_segment_is_asked_about_as_without_it() -> None:
    # It has asked for the new timeline from the last segment on, which that timeline does not have.
    prefetch = lined_up()
    prefetch.from_server(wal(LAST, bytes(SEGMENT_BYTES)))
    prefetch.from_standby_session(WAITED + ended(LAST + SEGMENT_BYTES) + HISTORY_ANSWER)
    passed = prefetch.from_server(COPY_DONE)
    assert not passed.taken_over
    assert passed.to_server == COPY_DONE + HISTORY + IDENTIFY + start(LAST + SEGMENT_BYTES, 2)
    assert not prefetch.accompanied
    assert not prefetch.relies_on_standby_session
    assert prefetch.held_bytes == 0
    # Whatever else it brings is of no use.
    assert prefetch.from_standby_session(IDENTIFY_ANSWER + frame(b"E", b"not here\0")) == Passing()


def test_an_upstream_that_is_a_primary_needs_none() -> None:
    prefetch, _ = fresh()
    prefetch.from_standby_session(says(recovering=False))
    assert not prefetch.accompanied
    assert prefetch.from_client(STARTUP + start(SEGMENT, 1)).to_server.endswith(start(SEGMENT, 1))
    assert not prefetch.from_server(STREAM + wal(SEGMENT, bytes(80))).to_standby_session
    assert prefetch.from_server(COPY_DONE).to_server.endswith(start(LAST, 2))


def test_a_request_to_stream_waits_for_what_it_says() -> None:
    for recovering, expected in ((True, SLOTLESS), (False, start(SEGMENT, 1))):
        prefetch, _ = fresh()
        assert not prefetch.from_client(STARTUP + start(SEGMENT, 1)).to_server.endswith(SLOTLESS)
        assert prefetch.from_standby_session(says(recovering)).to_server == expected


def test_a_request_does_not_wait_for_one_that_is_not_there() -> None:
    prefetch, _ = fresh()
    prefetch.from_client(STARTUP + start(SEGMENT, 1))
    assert prefetch.without_standby_session().to_server == start(SEGMENT, 1)
    assert not prefetch.relies_on_standby_session
    refused, _ = fresh()
    refused.from_client(STARTUP + start(SEGMENT, 1))
    assert refused.from_standby_session(frame(b"E", b"SFATAL\x00")).to_server == start(SEGMENT, 1)


def test_a_promotion_that_comes_too_soon_is_asked_about_as_without_it() -> None:
    prefetch, _ = fresh()
    prefetch.from_standby_session(says(recovering=True))
    prefetch.from_client(STARTUP + start(SEGMENT, 1))
    # The upstream has more: it is not caught up, and nothing has been asked.
    behind = bytearray(wal(SEGMENT, bytes(80)))
    behind[14:22] = (LAST + 9).to_bytes(8)
    assert not prefetch.from_server(STREAM + behind).to_standby_session
    passed = prefetch.from_server(COPY_DONE)
    assert not passed.taken_over
    assert passed.to_server.endswith(start(LAST, 2))
    assert not prefetch.accompanied


def test_it_asks_once_only() -> None:
    prefetch = lined_up()
    passed = prefetch.from_server(wal(LAST, b"more"))
    assert passed.to_client == wal(LAST, b"more")
    assert not passed.to_standby_session


def test_an_upstream_that_does_not_wait_starts_over() -> None:
    prefetch = lined_up()
    with pytest.raises(UnforeseenError, match="does not let us wait"):
        prefetch.from_standby_session(frame(b"E", b"SFATAL\x00"))
    assert prefetch.without_standby_session() == prefetch.from_standby_session(b"")
    assert prefetch.relies_on_standby_session


def test_it_is_not_used_with_a_version_that_was_not_tested() -> None:
    prefetch = Prefetch(own_wal, StandbySession(Region("japaneast"), PASSWORD))
    prefetch.from_server(login("19.0"))
    prefetch.from_standby_session(says(recovering=True))
    assert prefetch.from_client(STARTUP + start(SEGMENT, 1)).to_server.endswith(start(SEGMENT, 1))
    assert not prefetch.accompanied
    assert not prefetch.from_server(STREAM + wal(SEGMENT, bytes(LAST - SEGMENT))).to_standby_session
