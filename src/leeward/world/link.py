"""One direction between two places, and of one connection across it: delay, limited rate, cuts.

Always true: bytes never arrive early, never out of order, and a change of a link takes effect at once, for bytes
under way as well. A cut is a black hole: bytes wait (in bounded queues, then in the senders' sockets) and arrive
after healing.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from enum import Enum, auto
from typing import Protocol

QUEUE_MAX = 4 << 20
"""Bytes in flight per connection and direction; beyond that the sender has to wait, as with a full window."""
SLICE = 1460
"""A limited link carries this many bytes at a time, a packet's worth, so that connections take turns."""
TICK_S = 0.001
"""Resolution of the event loop's timers."""


class Side(Protocol):
    """One end of a connection, as a stream sees it."""

    def write(self, data: bytes) -> None:
        """Write what came in."""

    def end(self) -> None:
        """Close this half; nothing more comes in."""

    def reset(self) -> None:
        """Break the connection."""

    def pause(self) -> None:
        """Read no more for now."""

    def resume(self) -> None:
        """Read again."""


class Mark(Enum):
    """What a connection carries besides bytes."""

    END = auto()
    RESET = auto()


class Link:
    """One direction between two places."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.rate_bytes_s: float | None = None
        self.cut = False
        self.healed_s = -math.inf
        self._free_s = -math.inf
        """When the last byte sent has left a link of limited rate."""
        self._turns: deque[Stream] = deque()
        self._turn: asyncio.Handle | None = None
        self.streams: set[Stream] = set()
        self._changed = asyncio.Event()

    def change(self, *, cut: bool, delay_s: float, rate_bytes_s: float | None) -> None:
        """Apply new settings at once."""
        if self.cut and not cut:
            self.healed_s = time.monotonic()
        self.cut, self.delay_s, self.rate_bytes_s = cut, delay_s, rate_bytes_s
        self._free_s = -math.inf
        self._turns.clear()
        self._changed.set()
        self._changed = asyncio.Event()
        for stream in tuple(self.streams):
            stream.pump()

    def queue_up(self, stream: Stream) -> None:
        """Let a stream carry one slice when it is its turn: no stream starves on a link of limited rate."""
        if stream not in self._turns:
            self._turns.append(stream)
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._next_turn)

    def occupy(self, count: int) -> None:
        """Occupy the link for the time these bytes take."""
        assert self.rate_bytes_s is not None
        self._free_s = max(self._free_s, time.monotonic()) + count / self.rate_bytes_s

    def _next_turn(self) -> None:
        wait_s = 0.0
        try:
            while self._turns and (wait_s := self._free_s - time.monotonic()) <= 0:
                self._turns.popleft().pump(turn=True)
        finally:
            # A stream that cannot be pumped takes no turn from the others.
            again = asyncio.get_running_loop().call_later
            self._turn = again(_ticks(max(0.0, wait_s)), self._next_turn) if self._turns else None

    async def cross(self) -> None:
        """Wait for the delay of one packet sent now; for ever while the link is cut."""
        sent_s = time.monotonic()
        while True:
            wait_s = max(sent_s, self.healed_s) + self.delay_s - time.monotonic()
            if wait_s <= 0 and not self.cut:
                return
            try:
                async with asyncio.timeout(None if self.cut else _ticks(wait_s)):
                    await self._changed.wait()
            except TimeoutError:
                continue


class Stream:
    """One direction of one connection: what was read on one side and not yet written on the other."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.source: Side | None = None
        self.sink: Side | None = None
        self.established_s = math.inf
        self.blocked = False
        self.ended = False
        self._closed = False
        self._queue: deque[tuple[float, bytes | Mark]] = deque()
        self.queued = 0
        self._throttled = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        link.streams.add(self)

    def put(self, item: bytes | Mark) -> None:
        """Take what the source sent."""
        if self._closed:
            return
        self._queue.append((time.monotonic(), item))
        if isinstance(item, bytes):
            self.queued += len(item)
            if self.queued > QUEUE_MAX and not self._throttled and self.source is not None:
                self._throttled = True
                self.source.pause()
        if self._timer is None:
            self.pump()

    def establish(self) -> None:
        """Both ends are connected: start delivering."""
        self.established_s = time.monotonic()
        self.pump()

    def pump(self, *, turn: bool = False) -> None:
        """Deliver what is due and schedule the next delivery. ``turn``: one slice may pass a limited link."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        link, queue = self.link, self._queue
        while queue and self.sink is not None and not link.cut and not self.blocked:
            sent_s, item = queue[0]
            due_s = max(sent_s, link.healed_s, self.established_s) + link.delay_s
            if due_s == math.inf:
                return
            wait_s = due_s - time.monotonic()
            if wait_s > 0:
                self._timer = self._loop.call_later(_ticks(wait_s), self.pump)
                return
            if link.rate_bytes_s is not None and isinstance(item, bytes):
                if not turn:
                    link.queue_up(self)
                    return
                turn = False
                if len(item) > SLICE:
                    queue[0] = (sent_s, item[SLICE:])
                    item = item[:SLICE]
                else:
                    queue.popleft()
                link.occupy(len(item))
            else:
                queue.popleft()
            self._deliver(self.sink, item)

    def _deliver(self, sink: Side, item: bytes | Mark) -> None:
        if item is Mark.END:
            self.ended = True
            sink.end()
        elif item is Mark.RESET:
            sink.reset()
        elif isinstance(item, bytes):
            self.queued -= len(item)
            sink.write(item)
            if self._throttled and self.queued < QUEUE_MAX // 2 and self.source is not None:
                self._throttled = False
                self.source.resume()

    def close(self) -> None:
        """The reader is gone: drop what is in flight."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._queue.clear()
        self._closed = True
        self.sink = None
        self.link.streams.discard(self)


def _ticks(wait_s: float) -> float:
    """Round up to what the loop's timers can do: they may come late, and must not come early and often."""
    return max(1, math.ceil(wait_s / TICK_S)) * TICK_S
