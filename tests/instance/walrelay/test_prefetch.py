"""What is asked ahead, what is handed out, and when it starts over: with PostgreSQL's own messages."""

import struct

import pytest

from leeward.instance.walrelay.messages import Start, UnforeseenError
from leeward.instance.walrelay.prefetch import SEGMENT_BYTES, Prefetch

SLOT = b"japaneast"
STARTUP = struct.pack("!II", 22, 196608) + b"user\x00replica\x00\x00"
COPY_DONE = b"c\x00\x00\x00\x04"


def frame(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def status(*claims: int) -> bytes:
    return frame(b"d", b"r" + struct.pack("!3Q", *claims) + bytes(9))


def query(text: bytes) -> bytes:
    return frame(b"Q", text + b"\x00")


def start(lsn: int, timeline: int) -> bytes:
    return query(Start(SLOT, lsn, timeline).query())


def wal(at: int, payload: bytes) -> bytes:
    return frame(b"d", b"w" + struct.pack("!QQQ", at, at + len(payload), 0) + payload)


def row(*columns: bytes) -> bytes:
    values = b"".join(struct.pack("!I", len(column)) + column for column in columns)
    return frame(b"D", struct.pack("!H", len(columns)) + values)


def answer(*columns: bytes) -> bytes:
    return frame(b"T", b"columns") + row(*columns) + frame(b"C", b"SELECT\x00") + frame(b"Z", b"I")


def ended(fork_lsn: int, timeline: int = 2) -> bytes:
    """What the upstream answers to the end of a timeline: which one goes on, and from where."""
    return answer(b"%d" % timeline, b"%X/%X" % (fork_lsn >> 32, fork_lsn & 0xFFFFFFFF))


def login(version: str = "18.4") -> bytes:
    """What the upstream answers to a login."""
    reported = frame(b"S", f"server_version\0{version}\0".encode())
    return frame(b"R", bytes(4)) + frame(b"S", b"in_hot_standby\0off\0") + reported + frame(b"Z", b"I")


LOGIN = login()
STATUS = frame(b"d", b"r" + bytes(33))
STREAM = frame(b"W", bytes(3))
IDENTIFY, HISTORY = query(b"IDENTIFY_SYSTEM"), query(b"TIMELINE_HISTORY 2")
LAST = 3 * SEGMENT_BYTES + 80
ENDED, IDENTIFY_ANSWER = ended(LAST), answer(b"sysid", b"2", b"0/3000050", b"")
HISTORY_ANSWER = answer(b"00000002.history", b"1\t0/3000050\tno reason")
# A WAL sender sends what it has received; a promotion forks off after the last whole record of that.
UNLIKELY_FORKS = [
    pytest.param(ended(LAST - 40), "timeline 2 begins at 3000028, .* ends at 3000050", id="before the end"),
    pytest.param(ended(LAST + 40), "timeline 2 begins at 3000078, .* ends at 3000050", id="after the end"),
    pytest.param(ended((1 << 32) + LAST), "timeline 2 begins at 103000050,", id="the same but for its high half"),
    pytest.param(ended(LAST, timeline=3), "timeline 3 begins at 3000050,", id="another timeline"),
    pytest.param(answer(b"2", b"3000050"), "does not report where", id="no position"),
    pytest.param(answer(b"2", b"0/3000050", b""), "does not report where", id="three columns"),
    pytest.param(frame(b"D", b"2, 0/3000050"), "does not report where", id="no row"),
    pytest.param(frame(b"D", b"\0\2" + 2 * b"\xff\xff\xff\xff"), "does not report where", id="nothing but nulls"),
    pytest.param(frame(b"D"), "does not report where", id="an empty row"),
    pytest.param(frame(b"C", b"COPY 0\0") + frame(b"Z", b"I"), "does not report where", id="no fork"),
    pytest.param(frame(b"E", b"not here\0") + frame(b"Z", b"I"), "does not report where", id="an error"),
]


OWN = bytes(range(80))


def held(timeline: int, from_lsn: int, to_lsn: int) -> bytes:
    assert (timeline, from_lsn) == (1, 3 * SEGMENT_BYTES)
    return OWN[: to_lsn - from_lsn]


def streaming(from_lsn: int = 3 * SEGMENT_BYTES, *, greeting: bytes = LOGIN, asks_ahead: bool = True) -> Prefetch:
    """A connection on timeline 1 whose WAL receiver has received up to ``LAST``."""
    prefetch = Prefetch(held, asks_ahead=asks_ahead)
    for asked, answered in (
        (STARTUP, greeting),
        (IDENTIFY, answer(b"sysid", b"1", b"0/3000050", b"")),
        (start(from_lsn, 1), STREAM + wal(from_lsn, bytes(LAST - from_lsn))),
        (STATUS, b""),
    ):
        assert prefetch.from_client(asked).to_server == asked
        passed = prefetch.from_server(answered)
        assert passed.to_client == answered
        assert not passed.to_server
    return prefetch


def test_everything_is_asked_the_moment_the_timeline_ends() -> None:
    passed = streaming().from_server(COPY_DONE)
    assert passed.to_client == COPY_DONE
    assert passed.to_server == COPY_DONE + HISTORY + IDENTIFY + start(LAST, 2)


def test_what_this_connection_did_not_bring_is_sent_again() -> None:
    prefetch = streaming(from_lsn=LAST - 8)
    assert prefetch.from_server(COPY_DONE).to_server.endswith(IDENTIFY + start(3 * SEGMENT_BYTES, 2))
    prefetch.from_server(ENDED + HISTORY_ANSWER + IDENTIFY_ANSWER + STREAM)
    for asked in (COPY_DONE, HISTORY, IDENTIFY):
        prefetch.from_client(asked)
    assert prefetch.from_client(start(3 * SEGMENT_BYTES, 2)).to_client == STREAM


@pytest.mark.parametrize("asked", [pytest.param(COPY_DONE, id="asked"), pytest.param(b"", id="not asked yet")])
@pytest.mark.parametrize(("answered", "because"), UNLIKELY_FORKS)
def test_a_fork_anywhere_but_at_the_end_of_what_came_starts_over(asked: bytes, answered: bytes, because: str) -> None:
    prefetch = streaming()
    prefetch.from_server(COPY_DONE)
    prefetch.from_client(asked)
    with pytest.raises(UnforeseenError, match=because):
        prefetch.from_server(answered + HISTORY_ANSWER + IDENTIFY_ANSWER + STREAM)


def test_the_next_fork_is_compared_as_well() -> None:
    prefetch = streaming()
    prefetch.from_server(COPY_DONE + ENDED + HISTORY_ANSWER + IDENTIFY_ANSWER + STREAM)
    prefetch.from_client(COPY_DONE + HISTORY + IDENTIFY + start(3 * SEGMENT_BYTES, 2))
    prefetch.from_server(wal(LAST, b"new") + COPY_DONE)
    with pytest.raises(UnforeseenError, match=r"timeline 3 begins at 3000052, .* ends at 3000053"):
        prefetch.from_server(ended(LAST + 2, timeline=3))


def test_positions_may_be_padded() -> None:
    # PostgreSQL 19 does.
    prefetch = streaming()
    prefetch.from_server(COPY_DONE + answer(b"2", b"0/03000050"))
    assert prefetch.from_client(COPY_DONE).to_client == answer(b"2", b"0/03000050")


def test_a_fork_between_two_segments_needs_nothing_of_its_own() -> None:
    prefetch = streaming(from_lsn=LAST)
    prefetch.from_server(wal(LAST, bytes(SEGMENT_BYTES - 80)))
    assert prefetch.from_server(COPY_DONE).to_server.endswith(start(4 * SEGMENT_BYTES, 2))


def test_wal_of_its_own_that_is_gone_starts_over() -> None:
    prefetch = Prefetch(lambda *_: b"")
    prefetch.from_server(LOGIN)
    prefetch.from_client(STARTUP + start(3 * SEGMENT_BYTES, 1))
    prefetch.from_server(STREAM + wal(3 * SEGMENT_BYTES, bytes(80)) + COPY_DONE)
    prefetch.from_server(ENDED + HISTORY_ANSWER + IDENTIFY_ANSWER + STREAM)
    with pytest.raises(UnforeseenError, match="only 0 of"):
        prefetch.from_client(COPY_DONE + HISTORY + IDENTIFY + start(3 * SEGMENT_BYTES, 2))


def test_answers_are_handed_out_as_they_are_asked_for() -> None:
    prefetch = streaming()
    prefetch.from_server(COPY_DONE)
    first = wal(LAST, b"new")
    assert not prefetch.from_server(ENDED + HISTORY_ANSWER + IDENTIFY_ANSWER + STREAM + first).to_client
    assert prefetch.held_bytes > 0
    for asked, answered in (
        (STATUS, b""),
        (COPY_DONE, ENDED),
        (HISTORY, HISTORY_ANSWER),
        (IDENTIFY, IDENTIFY_ANSWER),
        (start(3 * SEGMENT_BYTES, 2), STREAM + wal(3 * SEGMENT_BYTES, OWN) + first),
    ):
        passed = prefetch.from_client(asked)
        assert passed.to_client == answered
        assert not passed.to_server
    assert prefetch.held_bytes == 0
    # And so it goes on, in both directions, until that timeline ends too.
    assert prefetch.from_client(STATUS).to_server == STATUS
    more = wal(LAST + 3, b"more")
    assert prefetch.from_server(more).to_client == more
    assert HISTORY.replace(b"HISTORY 2", b"HISTORY 3") in prefetch.from_server(COPY_DONE).to_server


def test_questions_may_come_before_their_answers() -> None:
    prefetch = streaming()
    prefetch.from_server(COPY_DONE)
    assert not prefetch.from_client(COPY_DONE).to_client
    assert prefetch.from_server(ENDED[:7]).to_client == b""
    assert prefetch.from_server(ENDED[7:] + HISTORY_ANSWER).to_client == ENDED
    assert prefetch.from_client(HISTORY).to_client == HISTORY_ANSWER


def test_a_history_that_is_there_already_is_not_asked_for() -> None:
    prefetch = streaming()
    prefetch.from_server(COPY_DONE + ENDED + HISTORY_ANSWER + IDENTIFY_ANSWER)
    assert prefetch.from_client(COPY_DONE).to_client == ENDED
    assert prefetch.from_client(IDENTIFY).to_client == IDENTIFY_ANSWER
    assert not prefetch.from_client(start(3 * SEGMENT_BYTES, 2)).to_server
    assert prefetch.from_server(STREAM).to_client == STREAM + wal(3 * SEGMENT_BYTES, OWN)


def test_an_error_is_the_answer_it_is() -> None:
    prefetch = streaming()
    refused = frame(b"E", b"not in this server's history") + frame(b"Z", b"I")
    prefetch.from_server(COPY_DONE + ENDED + HISTORY_ANSWER + IDENTIFY_ANSWER + refused)
    for asked in (COPY_DONE, HISTORY, IDENTIFY):
        prefetch.from_client(asked)
    assert prefetch.from_client(start(3 * SEGMENT_BYTES, 2)).to_client == refused


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(start(3 * SEGMENT_BYTES, 3), id="another timeline"),
        pytest.param(start(4 * SEGMENT_BYTES, 2), id="another position"),
        pytest.param(query(b"SHOW data_directory_mode"), id="another question"),
        pytest.param(frame(b"X"), id="goodbye"),
    ],
)
def test_what_was_not_foreseen_starts_over(asked: bytes) -> None:
    prefetch = streaming()
    prefetch.from_server(COPY_DONE)
    with pytest.raises(UnforeseenError, match="unexpected message"):
        prefetch.from_client(asked)


def test_a_stream_of_something_else_is_refused() -> None:
    with pytest.raises(UnforeseenError, match="not valid in PostgreSQL"):
        Prefetch(held).from_server(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize("chunk_bytes", [1, 3, 7, 64])
def test_messages_may_come_in_any_pieces(chunk_bytes: int) -> None:
    prefetch = streaming()
    answered = ended(LAST + 4)
    stream = wal(LAST, b"some") + COPY_DONE + answered
    passed = b"".join(
        bytes(prefetch.from_server(stream[at : at + chunk_bytes]).to_client)
        for at in range(0, len(stream), chunk_bytes)
    )
    assert passed == wal(LAST, b"some") + COPY_DONE
    assert prefetch.from_client(COPY_DONE).to_client == answered


def test_a_history_of_its_own_acknowledges_nothing_here() -> None:
    # It has replayed far more of timeline 1 than the upstream ever had; the fork is at LAST.
    ahead = LAST + 4096
    prefetch = streaming()
    assert prefetch.from_client(status(ahead, ahead, LAST - 1)).to_server == status(LAST, LAST, LAST - 1)
    # The upstream streams its new timeline to us before the WAL receiver asks: it never does, it cannot follow.
    passed = prefetch.from_server(COPY_DONE + ENDED + HISTORY_ANSWER + IDENTIFY_ANSWER + STREAM)
    later = prefetch.from_server(wal(3 * SEGMENT_BYTES, bytes(8192)))
    assert status(ahead, ahead, LAST - 1) not in passed.to_server + later.to_server
    assert not prefetch.from_client(status(ahead, ahead, LAST - 1)).to_server


def test_what_was_held_before_is_acknowledged_as_soon_as_the_upstream_has_sent_it() -> None:
    # After a reconnection streaming begins at the segment's start, long before the end of what is held.
    held = LAST + 200
    prefetch = streaming()
    assert prefetch.from_client(status(held, held, held)).to_server == status(LAST, LAST, LAST)
    assert not prefetch.from_server(wal(LAST, bytes(199))).to_server
    assert prefetch.from_server(wal(LAST + 199, bytes(1))).to_server == status(held, held, held)
    assert not prefetch.from_server(wal(held, bytes(1))).to_server
    # And what is within the limits goes its way untouched.
    assert prefetch.from_client(status(held + 1, held, held)).to_server == status(held + 1, held, held)


def test_a_later_and_modest_status_replaces_one_that_was_withheld() -> None:
    prefetch = streaming()
    prefetch.from_client(status(LAST + 9, LAST + 9, LAST))
    assert prefetch.from_client(status(LAST, LAST, LAST)).to_server == status(LAST, LAST, LAST)
    assert not prefetch.from_server(wal(LAST, bytes(100))).to_server


@pytest.mark.parametrize(
    ("greeting", "asks_ahead", "untested"),
    [
        pytest.param(LOGIN, False, None, id="switched off"),
        pytest.param(login("19.1"), True, 19, id="a later version"),
        pytest.param(login("19beta2"), True, 19, id="a beta of it"),
        pytest.param(login("17.9 (Debian 17.9-1)"), True, 17, id="an earlier version"),
        pytest.param(frame(b"R", bytes(4)) + frame(b"Z", b"I"), True, None, id="no version"),
    ],
)
def test_without_asking_ahead_all_passes_unchanged_but_for_what_was_not_sent(
    greeting: bytes, asks_ahead: bool, untested: int | None
) -> None:
    prefetch = streaming(greeting=greeting, asks_ahead=asks_ahead)
    assert not prefetch.asks_ahead
    assert prefetch.untested == untested
    ahead = status(LAST + 4096, LAST + 4096, LAST)
    assert prefetch.from_client(ahead).to_server == status(LAST, LAST, LAST)
    passed = prefetch.from_server(COPY_DONE)
    assert (passed.to_client, passed.to_server) == (COPY_DONE, b"")
    segment_lsn = 3 * SEGMENT_BYTES
    for asked, answered in (
        (COPY_DONE, ENDED),
        (HISTORY, HISTORY_ANSWER),
        (IDENTIFY, IDENTIFY_ANSWER),
        (start(segment_lsn, 2), STREAM),
    ):
        passed = prefetch.from_client(asked)
        assert (passed.to_client, passed.to_server) == (b"", asked)
        passed = prefetch.from_server(answered)
        assert (passed.to_client, passed.to_server) == (answered, b"")
    # Of the new timeline, too, no more is claimed than came.
    assert prefetch.from_client(ahead).to_server == status(segment_lsn, segment_lsn, segment_lsn)
    again = wal(segment_lsn, bytes(LAST - segment_lsn))
    assert prefetch.from_server(again).to_client == again
    assert prefetch.from_client(ahead).to_server == status(LAST, LAST, LAST)
    assert prefetch.held_bytes == 0


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(frame(b"d", b"r" + bytes(41)), id="a longer status"),
        pytest.param(frame(b"d", b"r" + bytes(8)), id="a shorter status"),
        pytest.param(frame(b"d", b"s" + bytes(33)), id="another kind"),
        pytest.param(frame(b"d"), id="nothing"),
    ],
)
def test_what_might_claim_wal_and_is_not_known_ends_the_connection(message: bytes) -> None:
    with pytest.raises(UnforeseenError, match="from the WAL receiver is not known"):
        streaming(greeting=login("19.1")).from_client(message)


def test_a_hot_standby_s_feedback_passes() -> None:
    feedback = frame(b"d", b"h" + bytes(24))
    assert streaming().from_client(feedback).to_server == feedback


def test_wal_without_a_position_ends_the_connection() -> None:
    with pytest.raises(UnforeseenError, match="too short to bring WAL"):
        streaming().from_server(frame(b"d", b"w" + bytes(8)))
