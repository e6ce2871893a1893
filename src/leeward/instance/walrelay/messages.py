"""The messages of PostgreSQL's replication protocol, as far as what is between standby and upstream must read them.

They are those of PostgreSQL's manual ("Frontend/Backend Protocol", "Streaming Replication Protocol").
"""

import re
import struct
from dataclasses import dataclass, replace

from leeward.base.units import parse_lsn

FRAME_MAX_BYTES = 64 * 1024 * 1024
COPY_DONE = b"c\x00\x00\x00\x04"
GOODBYE = b"X\x00\x00\x00\x04"
STATUS_BYTES = 39
"""A status of a WAL receiver: its kind, three positions, a clock, and whether it asks for a reply."""
_TIMELINE = re.compile(rb"\d{1,10}")
_LSN = re.compile(rb"[0-9A-F]{1,8}/[0-9A-F]{1,8}")
_START = re.compile(
    rb'START_REPLICATION(?: SLOT "(?P<slot>[^"]*)")? (?P<lsn>[0-9A-F]+/[0-9A-F]+) TIMELINE (?P<timeline>\d+)'
)
_CLAIMS = struct.Struct("!3Q")  # in a status: how far WAL is written, flushed, applied
_CLAIMS_AT = 6
_FEEDBACK = b"h"  # of a standby's snapshots: claims nothing
_VERSION = re.compile(rb"server_version\0(\d+)[^\0]*\0")
_WAL = struct.Struct("!QQq")  # start, end of WAL on the server, the server's clock
_WAL_AT = 6
_PAYLOAD_AT = _WAL_AT + _WAL.size
_COUNT_AT, _COLUMNS_AT = 5, 7  # in a row: how many columns, and the columns
_LENGTH = struct.Struct("!I")  # of a column; null is far beyond any message's end


class UnforeseenError(Exception):
    """The WAL receiver sent an unexpected request, or the stream is not PostgreSQL's protocol."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Where a timeline ended, by the upstream's report, and which one continues from there."""

    timeline: int
    at_lsn: int

    @classmethod
    def read(cls, row: bytes) -> "Fork":
        """Parse the row that the upstream sends at the end of a stream. Raises UnforeseenError."""
        columns = _columns(row)
        if len(columns) == 2 and _TIMELINE.fullmatch(columns[0]) and _LSN.fullmatch(columns[1]):
            return cls(int(columns[0]), parse_lsn(columns[1].decode()))
        raise UnforeseenError(f"{row[:60]!r} does not report where the timeline ended")


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
        return cls(match["slot"], parse_lsn(match["lsn"].decode()), int(match["timeline"]))

    def query(self) -> bytes:
        """Return the query that makes it."""
        slot = b"" if self.slot is None else b' SLOT "%s"' % self.slot
        return b"START_REPLICATION%s %X/%X TIMELINE %d" % (slot, self.lsn >> 32, self.lsn & 0xFFFFFFFF, self.timeline)


def refusal_of(error: bytes) -> str:
    """Return the SQLSTATE of an ErrorResponse; empty when it has none."""
    fields = error[5:].split(b"\0")
    return next((field[1:].decode("ascii", "replace") for field in fields if field[:1] == b"C"), "")


class Frames:
    """Cuts a byte stream into messages: a type, a length, a body. A client's first has no type."""

    def __init__(self, *, untyped_first: bool) -> None:
        self._untyped = untyped_first
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the messages that are complete. Raises UnforeseenError."""
        rest, frames, at = self._rest, [], 0
        rest += data
        while True:
            head = 0 if self._untyped else 1
            if len(rest) < at + head + 4:
                break
            (length,) = struct.unpack_from("!I", rest, at + head)
            if not 4 <= length <= FRAME_MAX_BYTES:
                raise UnforeseenError(f"a message of {length} bytes is not valid in PostgreSQL's protocol")
            if len(rest) < at + head + length:
                break
            frames.append(bytes(rest[at : at + head + length]))
            at += head + length
            self._untyped = False
        del rest[:at]
        return frames


@dataclass(frozen=True, slots=True)
class Wal:
    """A message that brings WAL."""

    at_lsn: int
    server_end_lsn: int
    sent_at: int
    """The server's clock, as the protocol has it."""
    payload: bytes

    @classmethod
    def read(cls, frame: bytes) -> "Wal":
        """Parse a message of the stream whose body begins with ``w``. Raises UnforeseenError."""
        if len(frame) < _PAYLOAD_AT:
            raise UnforeseenError(f"a message of {len(frame)} bytes is too short to bring WAL")
        at_lsn, server_end_lsn, sent_at = _WAL.unpack_from(frame, _WAL_AT)
        return cls(at_lsn, server_end_lsn, sent_at, frame[_PAYLOAD_AT:])

    @property
    def end_lsn(self) -> int:
        """Where its WAL ends."""
        return self.at_lsn + len(self.payload)

    def from_lsn(self, lsn: int) -> "Wal":
        """Return the part of it that is not before ``lsn``."""
        surplus = max(0, lsn - self.at_lsn)
        return replace(self, at_lsn=self.at_lsn + surplus, payload=self.payload[surplus:])

    def frame(self) -> bytes:
        """Return the message."""
        body = b"w" + _WAL.pack(self.at_lsn, self.server_end_lsn, self.sent_at) + self.payload
        return b"d" + struct.pack("!I", len(body) + 4) + body


def _columns(row: bytes) -> list[bytes]:
    """Return a row's values; none when one of them is null or its length is wrong."""
    at, columns = _COLUMNS_AT, []
    while at + _LENGTH.size <= len(row):
        (length,) = _LENGTH.unpack_from(row, at)
        at += _LENGTH.size
        columns.append(row[at : at + length])
        at += length
    count = int.from_bytes(row[_COUNT_AT:_COLUMNS_AT])
    return columns if at == len(row) and count == len(columns) else []


def query(text: bytes) -> bytes:
    """Return the message that asks for something."""
    return b"Q" + struct.pack("!I", len(text) + 5) + text + b"\x00"


def start_of(frame: bytes) -> Start | None:
    """Return the request to stream that a client's message makes; None when it is another one."""
    return Start.read(frame[5:-1]) if frame[:1] == b"Q" else None


def major_of(parameter: bytes) -> int | None:
    """Return the major version that a ParameterStatus reports; None when it reports something else."""
    found = _VERSION.fullmatch(parameter[5:])
    return None if found is None else int(found[1])


def is_status(message: bytes) -> bool:
    """Whether a WAL receiver's message claims WAL; False: it claims none. Raises UnforeseenError for unknown ones.

    What is not understood might claim WAL, and must not reach the upstream.
    """
    kind = message[5:6]
    if kind == b"r" and len(message) == STATUS_BYTES:
        return True
    if kind == _FEEDBACK:
        return False
    raise UnforeseenError(f"a message {kind!r} of {len(message)} bytes from the WAL receiver is not known")


def claims_of(status: bytes) -> tuple[int, int, int]:
    """Return how far WAL is written, flushed and applied, as a WAL receiver reports."""
    written, flushed, applied = _CLAIMS.unpack_from(status, _CLAIMS_AT)
    return written, flushed, applied


def with_claims_to(status: bytes, lsn: int) -> bytes:
    """Return a status that claims nothing beyond ``lsn``."""
    modest = bytearray(status)
    _CLAIMS.pack_into(modest, _CLAIMS_AT, *(min(claim, lsn) for claim in claims_of(status)))
    return bytes(modest)
