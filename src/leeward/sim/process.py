"""A simulated operating-system process: it runs, stands still, or is dead, and each life is another one."""

from collections.abc import Callable
from typing import Any

from leeward.sim.schedule import Schedule


class Process:
    """Runs callbacks while it lives. Frozen, it keeps them and runs them in order when it goes on.

    A callback that belongs to an earlier life never runs: its memory, timers and connections are gone.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.alive = True
        self.frozen = False
        self.life = 0
        self._schedule = schedule
        self._kept: list[tuple[int, Callable[..., None], tuple[Any, ...]]] = []

    @property
    def running(self) -> bool:
        """Whether it takes part in anything now."""
        return self.alive and not self.frozen

    def after(self, delay_s: float, run: Callable[..., None], *arguments: Any) -> None:
        """Set a timer of this life."""
        self._schedule.after(delay_s, self.enter, self.life, run, arguments)

    def at(self, at_s: float, run: Callable[..., None], *arguments: Any) -> None:
        """Set a timer of this life to a virtual time."""
        self._schedule.at(at_s, self.enter, self.life, run, arguments)

    def enter(self, life: int, run: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """Run a callback of a life: now, after the freeze, or never."""
        if life == self.life and self.alive:
            if self.frozen:
                self._kept.append((life, run, arguments))
            else:
                run(*arguments)

    def receive(self, run: Callable[..., None], *arguments: Any) -> None:
        """Take what arrives on a new connection: whoever lives now gets it."""
        if self.alive and not self.frozen:
            run(*arguments)
        else:
            self.enter(self.life, run, arguments)

    def start(self) -> None:
        """Begin another life."""
        self.life += 1
        self.alive = True
        self.frozen = False

    def kill(self) -> None:
        """End this life and everything it had under way."""
        self.life += 1
        self.alive = False
        self.frozen = False
        self._kept.clear()

    def freeze(self) -> None:
        """Stand still."""
        self.frozen = self.alive

    def thaw(self) -> None:
        """Go on, first with what arrived meanwhile."""
        self.frozen = False
        kept, self._kept = self._kept, []
        for life, run, arguments in kept:
            self.enter(life, run, arguments)
