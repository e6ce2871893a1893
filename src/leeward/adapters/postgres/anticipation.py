"""Ask the upstream what the WAL receiver will ask next. Bytes in, bytes out; no I/O.

When a standby's upstream is promoted, its WAL sender ends the old timeline, and the WAL receiver answers, fetches
the new timeline's history, identifies the system and starts again: four questions, each a round trip, and in the
synchronous modes the first acknowledged write waits for all of them. The questions are known beforehand. Asked all
at once, the moment the old timeline ends, their answers are there after one round trip, and are handed out as the
WAL receiver asks.

The WAL receiver wants the new timeline from the start of its segment on, up to 16 MiB that it holds already, under the
old timeline's name. What this connection brought of it is not sent again but taken from there: up to the fork both are
the same, byte for byte.

Nothing is made up: every answer is the upstream's own, to the very question. A question that was not foreseen
ends the connection, and the WAL receiver starts over as without us. The messages are those of PostgreSQL's manual
("Frontend/Backend Protocol", "Streaming Replication Protocol"); the order of the questions is walreceiver.c's.

Nothing is acknowledged that did not pass here. A WAL receiver begins by reporting all that its PostgreSQL has
replayed, be it of another history, and a primary lets such a report release commits at those positions. Here it
says no more than the upstream has sent; the whole of it follows as soon as that much has been sent.
"""

import re
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

SEGMENT_BYTES = 16 * 1024 * 1024
PAYLOAD_MAX_BYTES = 128 * 1024
FRAME_MAX_BYTES = 64 * 1024 * 1024
_START = re.compile(
    rb'START_REPLICATION(?: SLOT "(?P<slot>[^"]*)")? (?P<lsn>[0-9A-F]+/[0-9A-F]+) TIMELINE (?P<timeline>\d+)'
)
_WAL_HEADER_BYTES = 25  # kind, start, end of WAL on the server, time
_COPY_DONE = b"c\x00\x00\x00\x04"
_CLAIMS = struct.Struct("!3Q")  # in a status: how far WAL is written, flushed, applied
_CLAIMS_AT = 6


class UnforeseenError(Exception):
    """The WAL receiver asked something else than foreseen, or the stream is none of PostgreSQL's."""


@dataclass(frozen=True, slots=True)
class Start:
    """A request to stream: the slot, the position and the timeline."""

    slot: bytes | None
    lsn: int
    timeline: int

    @classmethod
    def read(cls, query: bytes) -> "Start | None":
        """Return the request a query makes; None when it is another one."""
        match = _START.fullmatch(query)
        if match is None:
            return None
        high, low = (int(part, 16) for part in match["lsn"].split(b"/"))
        return cls(match["slot"], (high << 32) + low, int(match["timeline"]))

    def query(self) -> bytes:
        """Return the query that makes it."""
        slot = b"" if self.slot is None else b' SLOT "%s"' % self.slot
        return b"START_REPLICATION%s %X/%X TIMELINE %d" % (slot, self.lsn >> 32, self.lsn & 0xFFFFFFFF, self.timeline)


@dataclass(slots=True)
class Passing:
    """What one step passes on."""

    to_client: bytearray = field(default_factory=bytearray)
    to_server: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class _Question:
    """One question asked ahead, and what came back so far."""

    frame: bytes
    """As the WAL receiver will ask it."""
    asked: bool = False
    """The WAL receiver has asked it too."""
    skipped: bool = False
    """It asked a later one: it does not need this answer."""
    answer: list[bytes] = field(default_factory=list)
    answered: bool = False

    def is_asked_by(self, frame: bytes) -> bool:
        return frame == self.frame or (_start_of(frame) is not None and _start_of(frame) == _start_of(self.frame))


class Anticipation:
    """One connection's state between a WAL receiver (the client) and its upstream (the server)."""

    def __init__(self, held: Callable[[int, int, int], bytes]) -> None:
        """``held`` returns this standby's own WAL: of a timeline, from one LSN to another of the same segment."""
        self._held = held
        self._again: tuple[int, int, int] | None = None
        """What the client will get from its own WAL, as ``held`` is asked for it."""
        self._from_client = _Frames(untyped_first=True)
        self._from_server = _Frames(untyped_first=False)
        self._start: Start | None = None
        self._streaming = False
        self._end_lsn = 0
        self._sent_at = 0
        """The upstream's clock as it last sent WAL, as the protocol has it."""
        self._withheld: bytes | None = None
        """The last status, when it says more than has been sent."""
        self._ahead: deque[_Question] = deque()

    @property
    def held_bytes(self) -> int:
        """How much has come from the server that the client has not asked for yet."""
        return sum(len(frame) for question in self._ahead for frame in question.answer)

    def from_client(self, data: bytes) -> Passing:
        """Take what the WAL receiver sent. Raises UnforeseenError."""
        passing = Passing()
        for frame in self._from_client.feed(data):
            waiting = [question for question in self._ahead if not question.asked]
            if not waiting:
                self._start = _start_of(frame) or self._start
                passing.to_server += self._modest(frame) if frame[:1] == b"d" else frame
            elif frame[:1] != b"d":
                self._match(frame, waiting)
                self._hand_out(passing)
            # A status of the old timeline: the stream it belongs to has ended; the next status says as much.
        return passing

    def from_server(self, data: bytes) -> Passing:
        """Take what the upstream sent. Raises UnforeseenError."""
        passing = Passing()
        for frame in self._from_server.feed(data):
            if not self._ahead:
                self._deliver(frame, passing)
                continue
            # What follows the answer to the last question is the stream that it asked for.
            last = self._ahead[-1]
            question = next((question for question in self._ahead if not question.answered), last)
            question.answer.append(frame)
            question.answered |= frame[:1] == b"Z" or (question is last and frame[:1] == b"W")
            self._hand_out(passing)
        return passing

    def _modest(self, frame: bytes) -> bytes:
        """Return what the WAL receiver says in the stream, with no position beyond what has been sent to it."""
        if frame[5:6] != b"r":
            return frame
        claims = _claims_of(frame)
        self._withheld = frame if max(claims) > self._end_lsn else None
        modest = bytearray(frame)
        _CLAIMS.pack_into(modest, _CLAIMS_AT, *(min(lsn, self._end_lsn) for lsn in claims))
        return bytes(modest)

    def _match(self, frame: bytes, waiting: list[_Question]) -> None:
        for question in waiting:
            question.asked = True
            if question.is_asked_by(frame):
                return
            question.skipped = True
        raise UnforeseenError(f"the WAL receiver sent {frame[:60]!r}, which was not foreseen")

    def _hand_out(self, passing: Passing) -> None:
        while self._ahead and self._ahead[0].asked:
            question = self._ahead[0]
            answer, question.answer = question.answer, []
            if question.answered:
                self._ahead.popleft()
            if not question.skipped:
                for frame in answer:
                    self._deliver(frame, passing)
            if not question.answered:
                return

    def _deliver(self, frame: bytes, passing: Passing) -> None:
        passing.to_client += frame
        kind = frame[:1]
        if kind == b"W" and self._start is not None:
            self._streaming, self._end_lsn, self._withheld = True, self._start.lsn, None
            if self._again is not None:
                passing.to_client += self._of_its_own(*self._again)
                self._again = None
        elif kind == b"d" and frame[5:6] == b"w":
            at, _, self._sent_at = struct.unpack_from("!QQq", frame, 6)
            self._end_lsn = at + len(frame) - 5 - _WAL_HEADER_BYTES
            if self._withheld is not None and max(_claims_of(self._withheld)) <= self._end_lsn:
                passing.to_server += self._withheld
                self._withheld = None
        elif kind == b"c" and self._streaming and self._start is not None:
            self._streaming, self._withheld = False, None
            self._ask_ahead(self._start, passing)

    def _ask_ahead(self, ended: Start, passing: Passing) -> None:
        timeline, fork_lsn = ended.timeline + 1, self._end_lsn
        segment_lsn = fork_lsn - fork_lsn % SEGMENT_BYTES
        self._start = start = Start(ended.slot, segment_lsn, timeline)
        if ended.lsn <= segment_lsn < fork_lsn:
            self._again = (ended.timeline, segment_lsn, fork_lsn)
            start = Start(ended.slot, fork_lsn, timeline)
        questions = (_COPY_DONE, _query(b"TIMELINE_HISTORY %d" % timeline), _query(b"IDENTIFY_SYSTEM"))
        self._ahead.extend(map(_Question, (*questions, _query(self._start.query()))))
        passing.to_server += b"".join((*questions, _query(start.query())))

    def _of_its_own(self, timeline: int, from_lsn: int, to_lsn: int) -> bytes:
        """Return the messages that bring the client what it holds already. Raises UnforeseenError."""
        wal = self._held(timeline, from_lsn, to_lsn)
        if len(wal) != to_lsn - from_lsn:
            raise UnforeseenError(f"of {to_lsn - from_lsn} bytes of WAL before the fork only {len(wal)} are here")
        self._end_lsn = to_lsn
        messages = bytearray()
        for at in range(0, len(wal), PAYLOAD_MAX_BYTES):
            payload = wal[at : at + PAYLOAD_MAX_BYTES]
            messages += b"d" + struct.pack("!I", 4 + _WAL_HEADER_BYTES + len(payload))
            messages += b"w" + struct.pack("!QQq", from_lsn + at, to_lsn, self._sent_at) + payload
        return bytes(messages)


class _Frames:
    """Cuts a byte stream into messages: a type, a length, a body. A client's first has no type."""

    def __init__(self, *, untyped_first: bool) -> None:
        self._untyped = untyped_first
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        rest, frames, at = self._rest, [], 0
        rest += data
        while True:
            head = 0 if self._untyped else 1
            if len(rest) < at + head + 4:
                break
            (length,) = struct.unpack_from("!I", rest, at + head)
            if not 4 <= length <= FRAME_MAX_BYTES:
                raise UnforeseenError(f"a message of {length} bytes is none of PostgreSQL's")
            if len(rest) < at + head + length:
                break
            frames.append(bytes(rest[at : at + head + length]))
            at += head + length
            self._untyped = False
        del rest[:at]
        return frames


def _query(text: bytes) -> bytes:
    return b"Q" + struct.pack("!I", len(text) + 5) + text + b"\x00"


def _start_of(frame: bytes) -> Start | None:
    return Start.read(frame[5:-1]) if frame[:1] == b"Q" else None


def _claims_of(status: bytes) -> tuple[int, int, int]:
    written, flushed, applied = _CLAIMS.unpack_from(status, _CLAIMS_AT)
    return written, flushed, applied
