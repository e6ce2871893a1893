"""Virtual time: what will happen, in order. The only clock there is in a simulated world."""

import heapq
from collections.abc import Callable
from typing import Any


class Schedule:
    """Runs callbacks at their virtual time; equal times run in the order they were asked for."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.steps = 0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0

    def at(self, at_s: float, run: Callable[..., None], *arguments: Any) -> None:
        """Run a callback at a time, now at the earliest."""
        self._number += 1
        heapq.heappush(self._heap, (at_s if at_s > self.now_s else self.now_s, self._number, run, arguments))

    def after(self, delay_s: float, run: Callable[..., None], *arguments: Any) -> None:
        """Run a callback some time from now."""
        self._number += 1
        at_s = self.now_s + delay_s if delay_s > 0 else self.now_s
        heapq.heappush(self._heap, (at_s, self._number, run, arguments))

    def run_until(self, end_s: float) -> None:
        """Let time pass until ``end_s``."""
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= end_s:
            self.now_s, _, run, arguments = pop(heap)
            self.steps += 1
            run(*arguments)
        self.now_s = end_s
