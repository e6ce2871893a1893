"""The WAL relay under hostile and broken input: it passes on what it understands, or ends the connection.

Sessions are PostgreSQL's own messages, cut anywhere, mangled, repeated or left out. Nothing but ``UnforeseenError``
may come out of one, what is held stays bounded, and no claim that is passed on is above what was sent.
"""

import struct
from collections.abc import Iterator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from leeward.core.values import Region
from leeward.instance.walrelay.messages import UnforeseenError
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
    STARTUP,
    STREAM,
    answer,
    frame,
    start,
    status,
    wal,
)
from tests.instance.walrelay.test_standby_session import PROMOTED, says

CLIENT, SERVER, SESSION = "client", "server", "session"
FIRST_LSN = 3 * SEGMENT_BYTES
SESSION_OF_OLD = (
    (CLIENT, STARTUP),
    (SERVER, LOGIN),
    (CLIENT, IDENTIFY),
    (SERVER, answer(b"sysid", b"1", b"0/3000050", b"")),
    (CLIENT, start(FIRST_LSN, 1)),
    (SERVER, STREAM + wal(FIRST_LSN, bytes(LAST - FIRST_LSN))),
    (CLIENT, status(LAST, LAST, LAST)),
    (SERVER, COPY_DONE),
    (SERVER, ENDED + HISTORY_ANSWER + IDENTIFY_ANSWER + STREAM),
    (CLIENT, COPY_DONE),
    (CLIENT, HISTORY),
    (CLIENT, IDENTIFY),
    (CLIENT, start(FIRST_LSN, 2)),
    (SERVER, wal(LAST, b"new")),
    (CLIENT, status(LAST + 3, LAST + 3, LAST)),
)
# The same with a standby session that takes over when the old timeline ends.
SESSION_AHEAD = (
    (SERVER, LOGIN),
    (SESSION, says(recovering=True)),
    (CLIENT, STARTUP),
    (CLIENT, start(FIRST_LSN, 1)),
    (SERVER, STREAM + wal(FIRST_LSN, bytes(LAST - FIRST_LSN))),
    (CLIENT, status(LAST, LAST, LAST)),
    (SESSION, PROMOTED + wal(LAST, b"new")),
    (SERVER, COPY_DONE),
    (CLIENT, COPY_DONE),
    (CLIENT, HISTORY),
    (CLIENT, IDENTIFY),
    (CLIENT, start(FIRST_LSN, 2)),
    (CLIENT, status(LAST + 3, LAST + 3, LAST)),
    (SESSION, wal(LAST + 3, b"longer")),
)
Step = tuple[str, bytes]
HELD_MAX_BYTES = 1 << 20

# Lengths that are absurd, types that do not exist, and texts where numbers belong.
garbage = st.one_of(
    st.binary(max_size=64),
    st.builds(
        lambda kind, size, body: kind + struct.pack("!I", size) + body,
        st.binary(min_size=1, max_size=1),
        st.sampled_from([0, 3, 4, 5, 0x7FFFFFFF, 0xFFFFFFFF]),
        st.binary(max_size=16),
    ),
    st.builds(
        frame, st.sampled_from([b"E", b"D", b"T", b"C", b"Z", b"W", b"d", b"c", b"Q", b"R"]), st.binary(max_size=48)
    ),
    st.builds(status, *(st.integers(0, 2**64 - 1) for _ in range(3))),
    st.builds(wal, st.integers(0, 2**63), st.binary(max_size=64)),
    st.builds(answer, *(st.binary(max_size=20) for _ in range(2))),
)


@st.composite
def sessions(draw: st.DrawFn, template: Sequence[Step] = SESSION_OF_OLD) -> list[Step]:
    """Draw a session in which a few things are wrong."""
    steps = list(template)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(steps) - 1))
        side, data = steps[at]
        match draw(st.sampled_from(["insert", "replace", "drop", "repeat", "mangle", "swap"])):
            case "insert":
                steps.insert(at, (draw(st.sampled_from([CLIENT, SERVER, SESSION])), draw(garbage)))
            case "replace":
                steps[at] = (side, draw(garbage))
            case "drop" if len(steps) > 1:
                del steps[at]
            case "repeat":
                steps.insert(at, (side, data))
            case "mangle" if data:
                position = draw(st.integers(0, min(len(data), 4096) - 1))
                steps[at] = (side, data[:position] + draw(st.binary(min_size=1, max_size=2)) + data[position + 1 :])
            case _:
                other = draw(st.integers(0, len(steps) - 1))
                steps[at], steps[other] = steps[other], steps[at]
    return steps


def cut(steps: Sequence[Step], sizes: Sequence[int]) -> Iterator[Step]:
    """Yield the steps in pieces, as sockets deliver them."""
    for number, (side, data) in enumerate(steps):
        size = sizes[number % len(sizes)]
        for at in range(0, max(len(data), 1), max(size, len(data) // 8 + 1)):
            yield side, data[at : at + max(size, len(data) // 8 + 1)]


def carried(prefetch: Prefetch, steps: Iterator[Step]) -> Iterator[tuple[str, bytes, Passing]]:
    """Yield each piece with what was passed on, until the connection is ended."""
    take = {CLIENT: prefetch.from_client, SERVER: prefetch.from_server, SESSION: prefetch.from_standby_session}
    for side, data in steps:
        try:
            passed = take[side](data)
        except UnforeseenError:
            return
        assert prefetch.held_bytes <= HELD_MAX_BYTES
        yield side, data, passed


def held(timeline: int, from_lsn: int, to_lsn: int) -> bytes:
    assert 0 <= to_lsn - from_lsn <= SEGMENT_BYTES
    return bytes(to_lsn - from_lsn)


@given(sessions(), st.lists(st.integers(1, 4096), min_size=1, max_size=5))
@settings(max_examples=400)
def test_a_broken_session_ends_or_goes_on(steps: list[Step], sizes: list[int]) -> None:
    for _ in carried(Prefetch(held), cut(steps, sizes)):
        pass


def accompanied() -> Prefetch:
    return Prefetch(held, StandbySession(Region("japaneast"), "secret"))


@given(st.one_of(sessions(SESSION_AHEAD), sessions()), st.lists(st.integers(1, 4096), min_size=1, max_size=5))
@settings(max_examples=800)
def test_so_does_one_with_a_standby_session_beside_it(steps: list[Step], sizes: list[int]) -> None:
    for _ in carried(accompanied(), cut(steps, sizes)):
        pass


@given(st.lists(st.integers(1, 4096), min_size=1, max_size=5))
def test_a_standby_session_takes_over_in_order_however_it_is_cut(sizes: list[int]) -> None:
    to_client, taken_over = bytearray(), False
    for _, _, passed in carried(accompanied(), cut(SESSION_AHEAD, sizes)):
        to_client += passed.to_client
        taken_over |= passed.taken_over
    assert taken_over
    assert bytes(to_client).endswith(
        STREAM + wal(FIRST_LSN, bytes(LAST - FIRST_LSN)) + wal(LAST, b"new") + wal(LAST + 3, b"longer")
    )


@given(st.lists(st.integers(1, 4096), min_size=1, max_size=5))
def test_a_session_in_order_is_carried_whole_however_it_is_cut(sizes: list[int]) -> None:
    to_client, sent = bytearray(), bytearray()
    for side, data, passed in carried(Prefetch(held), cut(SESSION_OF_OLD, sizes)):
        to_client += passed.to_client
        sent += data if side == SERVER else b""
    # WAL that it has already is sent again from the segment's beginning, and comes from its own.
    stream, rest = bytes(sent).split(wal(LAST, b"new"))
    assert bytes(to_client).startswith(stream)
    assert bytes(to_client).endswith(wal(LAST, b"new") + rest)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_no_claim_is_passed_on_that_is_above_what_was_sent(written: int, flushed: int) -> None:
    prefetch = Prefetch(held)
    for _ in carried(prefetch, iter(SESSION_OF_OLD[:6])):
        pass
    asked = prefetch.from_client(status(written, flushed, 0)).to_server
    assert asked or max(written, flushed) > LAST, "a claim that is right is passed on"
    if asked:
        claims = struct.unpack_from("!3Q", asked, 6)
        assert max(claims) <= LAST


@given(st.integers(0, LAST), st.integers(0, LAST))
def test_a_claim_that_is_right_is_passed_on_as_it_is(written: int, flushed: int) -> None:
    prefetch = Prefetch(held)
    for _ in carried(prefetch, iter(SESSION_OF_OLD[:6])):
        pass
    asked = status(written, flushed, 0)
    assert prefetch.from_client(asked).to_server == asked
