"""A second session with the upstream, which waits there for its promotion. Bytes in, bytes out; no I/O.

A standby whose upstream is itself in recovery is prepared for a promotion. Sending the requests only when the old
timeline has ended costs a round trip. So they are sent in advance, over
a session of their own, behind a statement that waits, on the upstream, until it has left recovery. The answers and the
first WAL of the new timeline are sent at that moment.

It is a replication session, which speaks SQL too, of the same name and, for the new timeline only, with the same slot.
It holds no snapshot for longer than a moment, for that could hold up replay, and with it the promotion. It ends by
itself: soon after this end has gone, and anyhow after a time.
"""

import struct
from dataclasses import dataclass, field

from leeward.core.values import Region
from leeward.instance.postgres.configuration import OWN_DATABASE, REPLICATOR
from leeward.instance.postgres.pinned import options
from leeward.instance.walrelay.messages import COPY_DONE, Frames, Start, UnforeseenError, query

WAIT_MAX_S = 60
"""A promotion that takes longer is not waited for."""
_POLL_S = 0.005
_PROTOCOL = 196608
_WAIT = b"""\
DO $$ DECLARE began timestamptz := pg_catalog.clock_timestamp();
BEGIN WHILE pg_catalog.pg_is_in_recovery() LOOP
IF pg_catalog.clock_timestamp() > began + interval '%d s' THEN
PERFORM pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid()); END IF;
PERFORM pg_catalog.pg_sleep(%g); COMMIT;
END LOOP; END $$""" % (WAIT_MAX_S, _POLL_S)
# Its answers, each with an end of its own: to the login, to whether it is in recovery, to the wait.
_LOGGED_IN, _SAID, _WAITED, _TIMELINE_ENDED = range(1, 5)


@dataclass(slots=True)
class StandbySession:
    """One such session."""

    region: Region
    """This standby's name with the upstream."""
    password: str = field(repr=False)
    recovering: bool | None = None
    """Whether the upstream is in recovery; None until it has answered."""
    asked_at_lsn: int | None = None
    """From where on it has asked for WAL; None: it has not asked."""
    _frames: Frames = field(default_factory=lambda: Frames(untyped_first=False))
    _ends: int = 0
    """How many answers have ended."""

    @property
    def waits(self) -> bool:
        """Whether the upstream has not been promoted yet, as far as it has answered."""
        return self._ends < _WAITED

    def opening(self) -> bytes:
        """Return what opens the session, all at once: who it is, its password, and the question whether to stay."""
        words = {
            "user": REPLICATOR,
            "database": OWN_DATABASE,
            "replication": "database",
            "application_name": self.region,
            "options": options(),
        }
        body = b"".join(word.encode() + b"\0" for pair in words.items() for word in pair) + b"\0"
        password = self.password.encode() + b"\0"
        return b"".join(
            (
                struct.pack("!II", len(body) + 8, _PROTOCOL) + body,
                b"p" + struct.pack("!I", len(password) + 4) + password,
                query(b"SELECT pg_catalog.pg_is_in_recovery()"),
            )
        )

    def ask(self, streamed: Start, at_lsn: int) -> bytes:
        """Return the questions a WAL receiver asks when the timeline it streams ends, and it holds WAL to ``at_lsn``.

        The end of the timeline is asked for by streaming it, from there, and by ending that at once.
        """
        self.asked_at_lsn = at_lsn
        timeline = streamed.timeline + 1
        questions = (
            query(_WAIT),
            query(Start(None, at_lsn, streamed.timeline).query()),
            COPY_DONE,
            query(b"TIMELINE_HISTORY %d" % timeline),
            query(b"IDENTIFY_SYSTEM"),
            query(Start(streamed.slot, at_lsn, timeline).query()),
        )
        return b"".join(questions)

    def feed(self, data: bytes) -> list[bytes]:
        """Take what the upstream sent; return of it what a WAL receiver expects for an answer.

        Raises UnforeseenError when the upstream does not wait.
        """
        return [frame for frame in self._frames.feed(data) if self._take(frame)]

    def _take(self, frame: bytes) -> bool:
        kind, ends = frame[:1], self._ends
        if kind == b"Z" and ends < _TIMELINE_ENDED:
            self._ends += 1
        if ends < _SAID:
            if kind == b"E":
                self.recovering = False
            elif kind == b"D":
                self.recovering = frame.endswith(b"t")
            return False
        if ends < _WAITED:
            if kind == b"E":
                raise UnforeseenError(f"the upstream does not let us wait for its promotion: {frame[5:160]!r}")
            return False
        return ends >= _TIMELINE_ENDED or kind not in (b"W", b"d", b"c")
