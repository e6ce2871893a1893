"""The simulated WAN: one-way delays with jitter, loss, and cuts per direction.

A cut is a black hole as TCP sees it: what is sent waits and arrives after the cut heals, unless the sender
gave up (a timeout is the sender's affair). Loss is a retransmission: the message comes later, not never.
"""

from collections import deque
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from leeward.core.values import Region
from leeward.sim.schedule import Schedule

RETRANSMISSION_S = 0.2

Link = tuple[Region, Region]


class Network:
    """Delivers callbacks between regions."""

    def __init__(
        self,
        schedule: Schedule,
        chance: Random,
        one_way_s: Mapping[Link, float],
        *,
        jitter: float = 0.0,
        loss: float = 0.0,
        duplication: float = 0.0,
    ) -> None:
        self._schedule = schedule
        self._chance = chance
        self._random = chance.random
        self._one_way_s = dict(one_way_s)
        self._jitter = jitter
        self._loss = loss
        self._duplication = duplication
        self.cuts: dict[Link, int] = {}
        """How many cuts there are, per direction that is cut."""
        self._waiting: dict[Link, list[tuple[Callable[..., None], tuple[Any, ...]]]] = {}
        self._number = 0
        self._streamed_s: dict[Link, float] = {}
        self._streams: dict[Link, deque[tuple[int, Callable[..., None], tuple[Any, ...]]]] = {}
        self.slow: dict[Link, float] = {}
        """Extra one-way delay per direction, in seconds."""

    @property
    def now_s(self) -> float:
        """The virtual time."""
        return self._schedule.now_s

    @property
    def calm(self) -> bool:
        """Whether every link is whole and as fast as ever."""
        return not self.cuts and not any(self.slow.values())

    def delay_s(self, source: Region, target: Region) -> float:
        """Return how long one message takes now."""
        if source == target:
            return 0.0002
        delay_s = self._one_way_s[(source, target)]
        if self.slow:
            delay_s += self.slow.get((source, target), 0.0)
        if self._jitter:
            delay_s *= 1 + self._random() * self._jitter
        while self._loss and self._random() < self._loss:
            delay_s += RETRANSMISSION_S
        return delay_s

    def send(self, source: Region, target: Region, deliver: Callable[..., None], *arguments: Any) -> None:
        """Deliver a callback at the other end, when the link allows."""
        self._schedule.after(self.delay_s(source, target), self._arrive, (source, target), deliver, arguments)

    def send_as_request(self, source: Region, target: Region, deliver: Callable[..., None], *arguments: Any) -> None:
        """Deliver like ``send``, and now and then twice: whoever lost a connection asks again under the same key."""
        self.send(source, target, deliver, *arguments)
        if self._duplication and self._chance.random() < self._duplication:
            self.send(source, target, deliver, *arguments)

    def _arrive(self, link: Link, deliver: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        # A cut stops what is on its way, too.
        if self.cuts and link in self.cuts:
            self._waiting.setdefault(link, []).append((deliver, arguments))
        else:
            deliver(*arguments)

    def stream(self, source: Region, target: Region, deliver: Callable[..., None], *arguments: Any) -> None:
        """Deliver like ``send``, but in the order of sending, as one TCP connection does."""
        link = (source, target)
        number = self._number = self._number + 1
        stream = self._streams.get(link)
        if stream is None:
            stream = self._streams[link] = deque()
        stream.append((number, deliver, arguments))
        at_s, before_s = self._schedule.now_s + self.delay_s(source, target), self._streamed_s.get(link, 0.0)
        if at_s < before_s:
            at_s = before_s
        self._streamed_s[link] = at_s
        self._schedule.at(at_s, self._arrive_in_order, link, number)

    def _arrive_in_order(self, link: Link, number: int) -> None:
        """Deliver everything of the stream up to a number, unless that happened, or the link is cut."""
        if self.cuts and link in self.cuts:
            return
        stream = self._streams[link]
        while stream and stream[0][0] <= number:
            _, deliver, arguments = stream.popleft()
            deliver(*arguments)

    def cut(self, source: Region, target: Region) -> None:
        """Cut one direction. Cuts count: each needs its own ``heal``."""
        self.cuts[(source, target)] = self.cuts.get((source, target), 0) + 1

    def heal(self, source: Region, target: Region) -> None:
        """Take one cut of this direction back; what waited is delivered in order."""
        link = (source, target)
        if link not in self.cuts:
            return
        self.cuts[link] -= 1
        if self.cuts[link] == 0:
            del self.cuts[link]
            for deliver, arguments in self._waiting.pop(link, []):
                self.send(source, target, deliver, *arguments)
            if self._streams.get(link):
                self._schedule.after(self.delay_s(source, target), self._arrive_in_order, link, self._number)

    def is_cut(self, source: Region, target: Region) -> bool:
        """Whether nothing passes from one to the other."""
        return (source, target) in self.cuts
