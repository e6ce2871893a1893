"""Send the upstream the WAL receiver's next requests in advance. Bytes in, bytes out; no I/O.

When a standby's upstream is promoted, its WAL sender ends the old timeline, and the WAL receiver answers, fetches
the new timeline's history, identifies the system and starts again: four requests, each a round trip, and in the
synchronous modes the first acknowledged write waits for all of them. The requests are known in advance. Sent all
at once, the moment the old timeline ends, their answers arrive after one round trip, and are passed on when the
WAL receiver sends the request.

The WAL receiver wants the new timeline from the start of its segment on, up to 16 MiB that it holds already, under the
old timeline's name. What this connection brought of it is not sent again but taken from there: up to the fork both are
the same, byte for byte.

A standby that is lined up behind one that is to be promoted asks earlier still: a ``standby_session`` asks while the
upstream waits for its promotion, and takes over when the old timeline ends, unless that is in a later segment than
it has asked for. Until then the WAL receiver streams without its slot, which is the standby session's. So afterwards
everything is as if it had asked by itself.

No answer is made up: each is the upstream's own, to exactly that request. An unexpected request ends the connection,
and the WAL receiver starts over as without the proxy. The order of the requests is walreceiver.c's.

Only the upstream knows where the fork is. We assume it is where our WAL of the old timeline ends, and the answer to
the first request confirms or refutes that. A promotion forks off after the last whole record, and what had come of
the next one may have been sent on. Then too the WAL receiver starts over: asked for again, the old timeline ends there.

Nothing is acknowledged that did not pass here. A WAL receiver begins by reporting all that its PostgreSQL has
replayed, even of another history, and a primary lets such a report release commits at those positions. Here it
reports no more than the upstream has sent; the full report follows as soon as that much has been sent.

Without ``asks_ahead``, and with an upstream of a major version that this was not tested with, nothing is sent in
advance: PostgreSQL's own requests and their answers pass unchanged. The limit on what is reported stays
(docs/decisions/0031).
"""

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from leeward.instance.walrelay.messages import (
    COPY_DONE,
    GOODBYE,
    Fork,
    Frames,
    Start,
    UnforeseenError,
    Wal,
    claims_of,
    is_status,
    major_of,
    query,
    refusal_of,
    start_of,
    with_claims_to,
)
from leeward.instance.walrelay.standby_session import StandbySession

TESTED_MAJORS = frozenset({18})
"""PostgreSQL's major versions whose WAL receiver asks what is asked ahead here, in that order."""
SEGMENT_BYTES = 16 * 1024 * 1024
PAYLOAD_MAX_BYTES = 128 * 1024
_KEEPALIVE = struct.Struct("!Q")  # end of WAL on the server
_KEEPALIVE_AT = 6


@dataclass(slots=True)
class Passing:
    """What one step passes on."""

    to_client: bytearray = field(default_factory=bytearray)
    to_server: bytearray = field(default_factory=bytearray)
    to_standby_session: bytearray = field(default_factory=bytearray)
    taken_over: bool = False
    """The standby session is the server from now on; the connection to the previous one has been closed."""


@dataclass(slots=True)
class _Request:
    """One request sent ahead, and its answer so far."""

    frame: bytes
    """As the WAL receiver will send it."""
    asked: bool = False
    """The WAL receiver has sent it too."""
    skipped: bool = False
    """It sent a later one: it does not need this answer."""
    answer: list[bytes] = field(default_factory=list)
    answered: bool = False

    def is_asked_by(self, frame: bytes) -> bool:
        return frame == self.frame or (start_of(frame) is not None and start_of(frame) == start_of(self.frame))


class Prefetch:
    """One connection's state between a WAL receiver (the client) and its upstream (the server)."""

    def __init__(
        self,
        held: Callable[[int, int, int], bytes],
        standby_session: StandbySession | None = None,
        *,
        asks_ahead: bool = True,
    ) -> None:
        """``held`` returns this standby's own WAL: of a timeline, from one LSN to another of the same segment."""
        self._held = held
        self._allowed = asks_ahead
        self._major: int | None = None
        """The upstream's major version; None until it has reported one."""
        self._standby_session = standby_session
        """None: not, or no longer, of use."""
        self._early: list[bytes] = []
        """What the standby session has received ahead of time."""
        self._relies = False
        self._undecided = b""
        """A request to stream, held until it is known whether the standby session is of use."""
        self._again: tuple[int, int, int] | None = None
        """What the client will get from its own WAL, as ``held`` is asked for it."""
        self._from_client = Frames(untyped_first=True)
        self._from_server: Frames | StandbySession = Frames(untyped_first=False)
        self._start: Start | None = None
        self._streaming = False
        self._end_lsn = 0
        self._sent_at = 0
        """The upstream's clock as it last sent WAL, as the protocol has it."""
        self._withheld: bytes | None = None
        """The last status, if it reports more than has been sent."""
        self._ahead: deque[_Request] = deque()
        self._agreed = False
        """The upstream has confirmed that the old timeline ends where our WAL of it does."""
        self.refusal: str | None = None
        """The SQLSTATE of the last error the upstream answered with."""
        self.arrived = False
        """The upstream sent WAL, or that there is none to send."""

    @property
    def held_bytes(self) -> int:
        """How much the server has sent that the client has not requested yet."""
        return sum(map(len, self._early)) + sum(len(frame) for question in self._ahead for frame in question.answer)

    @property
    def streaming(self) -> bool:
        """Whether the upstream has granted the request to stream. WAL it no longer has it refuses afterwards."""
        return self._streaming

    @property
    def accompanied(self) -> bool:
        """Whether the standby session is still of use, or is the server."""
        return self._standby_session is not None or self._relies

    @property
    def relies_on_standby_session(self) -> bool:
        """Whether nothing goes on when the standby session ends: it has the slot, or will have it."""
        return self._relies

    @property
    def asks_ahead(self) -> bool:
        """Whether anything is sent in advance."""
        return self._allowed and self._major in TESTED_MAJORS

    @property
    def untested(self) -> int | None:
        """The upstream's major version, if that is the reason for not asking ahead."""
        return None if not self._allowed or self._major in TESTED_MAJORS else self._major

    def from_client(self, data: bytes) -> Passing:
        """Take what the WAL receiver sent. Raises UnforeseenError."""
        passing = Passing()
        for frame in self._from_client.feed(data):
            waiting = [question for question in self._ahead if not question.asked]
            if frame[:1] == b"d":
                # Else it is one of the old timeline: the stream it belongs to has ended; the next status has the same.
                if not self._ahead:
                    passing.to_server += self._capped(frame)
            elif waiting:
                self._match(frame, waiting)
                self._hand_out(passing)
            else:
                passing.to_server += self._request(frame)
        return passing

    def from_server(self, data: bytes) -> Passing:
        """Take what the upstream sent. Raises UnforeseenError."""
        passing = Passing()
        for frame in self._from_server.feed(data):
            self._take(frame, passing)
            if passing.taken_over:
                break
        return passing

    def from_standby_session(self, data: bytes) -> Passing:
        """Take what the upstream sent to the standby session, also after that is the server. Raises UnforeseenError."""
        if self._standby_session is None:
            return self.from_server(data) if self._relies else Passing()
        self._early += self._standby_session.feed(data)
        return Passing() if self._standby_session.recovering is None else self._decide()

    def without_standby_session(self) -> Passing:
        """Continue without the standby session, if it is not too late for that."""
        if self._relies:
            return Passing()
        self._standby_session = None
        return self._decide()

    def _decide(self) -> Passing:
        """Pass on a request to stream that has waited for the standby session's answer."""
        if self._standby_session is not None and not self._standby_session.recovering:
            self._standby_session = None
        request, self._undecided = self._undecided, b""
        return Passing(to_server=bytearray(self._request(request)))

    def _take(self, frame: bytes, passing: Passing) -> None:
        if not self._ahead:
            self._deliver(frame, passing)
            return
        # What follows the answer to the last question is the stream that it asked for.
        last = self._ahead[-1]
        question = next((question for question in self._ahead if not question.answered), last)
        if question.frame == COPY_DONE:
            self._check_fork(frame)
        question.answer.append(frame)
        question.answered |= frame[:1] == b"Z" or (question is last and frame[:1] == b"W")
        self._hand_out(passing)

    def _check_fork(self, frame: bytes) -> None:
        """Take of the answer to the end of the stream where the timeline ends. Raises UnforeseenError.

        A promotion forks off after the last whole record. What a WAL sender had received by then it may have sent
        on, be it the first part of a record: then we hold WAL that the new timeline does not have.
        """
        if frame[:1] == b"D":
            fork, start = Fork.read(frame), self._start
            if start is None or fork != Fork(start.timeline, self._end_lsn):
                ours = f"the WAL received of the previous timeline ends at {self._end_lsn:X}"
                raise UnforeseenError(f"timeline {fork.timeline} begins at {fork.at_lsn:X}, {ours}")
            self._agreed = True
        elif frame[:1] == b"Z" and not self._agreed:
            raise UnforeseenError("the upstream does not report where the timeline ended")

    def _request(self, frame: bytes) -> bytes:
        start = start_of(frame)
        if start is None:
            return frame
        if not self.asks_ahead:
            self._standby_session = None
        if self._standby_session is not None and self._standby_session.recovering is None:
            self._undecided = frame
            return b""
        self._start = start
        if self._standby_session is None:
            return frame
        self._relies = True
        return query(replace(start, slot=None).query())

    def _capped(self, frame: bytes) -> bytes:
        """Return the WAL receiver's status, which claims nothing beyond what was sent. Raises UnforeseenError."""
        if not is_status(frame):
            return frame
        claims = claims_of(frame)
        self._withheld = frame if max(claims) > self._end_lsn else None
        return with_claims_to(frame, self._end_lsn)

    def _match(self, frame: bytes, waiting: list[_Request]) -> None:
        for question in waiting:
            question.asked = True
            if question.is_asked_by(frame):
                return
            question.skipped = True
        raise UnforeseenError(f"unexpected message from the WAL receiver: {frame[:60]!r}")

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
        kind = frame[:1]
        if self._streaming and kind == b"d":
            self._deliver_of_stream(frame, passing)
            return
        passing.to_client += frame
        if kind == b"E":
            self.refusal = refusal_of(frame)
        elif kind == b"S":
            self._major = major_of(frame) or self._major
        if kind == b"W" and self._start is not None:
            self._streaming, self._end_lsn, self._withheld = True, self._start.lsn, None
            if self._again is not None:
                passing.to_client += self._of_its_own(*self._again)
                self._again = None
        elif kind == b"c" and self._streaming and self._start is not None:
            self._streaming, self._withheld = False, None
            if self.asks_ahead:
                self._ask_ahead(self._start, passing)

    def _deliver_of_stream(self, frame: bytes, passing: Passing) -> None:
        self.arrived = True
        if frame[5:6] != b"w":
            passing.to_client += frame
            if frame[5:6] == b"k" and len(frame) >= _KEEPALIVE_AT + _KEEPALIVE.size:
                (server_end_lsn,) = _KEEPALIVE.unpack_from(frame, _KEEPALIVE_AT)
                self._start_standby_session(server_end_lsn, passing)
            return
        wal = Wal.read(frame)
        self._sent_at = wal.sent_at
        if wal.at_lsn < self._end_lsn:
            # Asked for before the old timeline ended: up to there it came by that one.
            wal = wal.from_lsn(self._end_lsn)
            frame = wal.frame() if wal.payload else b""
        passing.to_client += frame
        self._end_lsn = max(self._end_lsn, wal.end_lsn)
        if self._withheld is not None and max(claims_of(self._withheld)) <= self._end_lsn:
            passing.to_server += self._withheld
            self._withheld = None
        self._start_standby_session(wal.server_end_lsn, passing)

    def _start_standby_session(self, server_end_lsn: int, passing: Passing) -> None:
        """Have the standby session ask, once the standby holds all there is: the WAL from here on comes again."""
        standby_session = self._standby_session
        if standby_session is None or standby_session.asked_at_lsn is not None or self._start is None:
            return
        if self._end_lsn >= server_end_lsn:
            passing.to_standby_session += standby_session.ask(self._start, self._end_lsn)

    def _ask_ahead(self, ended: Start, passing: Passing) -> None:
        timeline, fork_lsn = ended.timeline + 1, self._end_lsn
        segment_lsn = fork_lsn - fork_lsn % SEGMENT_BYTES
        self._start = start = Start(ended.slot, segment_lsn, timeline)
        self._agreed = False
        if ended.lsn <= segment_lsn < fork_lsn:
            self._again = (ended.timeline, segment_lsn, fork_lsn)
            start = Start(ended.slot, fork_lsn, timeline)
        questions = (COPY_DONE, query(b"TIMELINE_HISTORY %d" % timeline), query(b"IDENTIFY_SYSTEM"))
        self._ahead.extend(map(_Request, (*questions, query(self._start.query()))))
        standby_session, self._standby_session = self._standby_session, None
        early, self._early = self._early, []
        # The new timeline begins with the fork's segment: what was asked for before that does not exist.
        if (
            standby_session is None
            or standby_session.asked_at_lsn is None
            or standby_session.asked_at_lsn < segment_lsn
        ):
            if standby_session is not None:
                self._relies = False
            passing.to_server += b"".join((*questions, query(start.query())))
            return
        if ended.lsn > segment_lsn:
            raise UnforeseenError("the WAL receiver did not begin at the start of a segment")
        passing.to_server += GOODBYE
        passing.taken_over, self._from_server = True, standby_session
        for frame in early:
            self._take(frame, passing)

    def _of_its_own(self, timeline: int, from_lsn: int, to_lsn: int) -> bytes:
        """Return the messages that bring the client what it holds already. Raises UnforeseenError."""
        wal = self._held(timeline, from_lsn, to_lsn)
        if len(wal) != to_lsn - from_lsn:
            raise UnforeseenError(
                f"only {len(wal)} of {to_lsn - from_lsn} bytes of WAL before the fork are available locally"
            )
        self._end_lsn = to_lsn
        return b"".join(
            Wal(from_lsn + at, to_lsn, self._sent_at, wal[at : at + PAYLOAD_MAX_BYTES]).frame()
            for at in range(0, len(wal), PAYLOAD_MAX_BYTES)
        )
