"""Ask the service of this region whether it can do all its work, now and then and when its pod changes.

It is shown and alerted on, and moves no primary: what deep health asks for (the primary, a certificate, another party's
service) is mostly common to all regions, and would take them all out at once or one after the other
(docs/decisions/0011). Whether users get an answer at all is what routing goes by.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import aiohttp

from leeward.agent.runtime.changes import Changes
from leeward.agent.runtime.supervision import keep
from leeward.core.settings import AppSettings
from leeward.core.values import App
from leeward.ports.clock import Clock
from leeward.ports.gateway import Address

ASK_EVERY_S = 15.0
# What fails is looked at again sooner: most of it ends with a failover.
ASK_AGAIN_S = 2.0
ASK_TIMEOUT_S = 5.0
WORDS_MAX = 300


@dataclass(frozen=True, slots=True)
class DeepHealth:
    """The last answer of a pod of this region."""

    healthy: bool
    because: str
    at_s: float
    """The agent's clock."""


class HasPods(Protocol):
    """What is known of an application here."""

    @property
    def pods(self) -> tuple[Address, ...]:
        """The ready ones of this region."""
        ...


class DeepHealths:
    """Asks the first ready pod of each application that has such a page."""

    def __init__(
        self,
        apps: tuple[AppSettings, ...],
        pods: Mapping[App, HasPods],
        session: aiohttp.ClientSession,
        clock: Clock,
        changes: Changes,
    ) -> None:
        """``pods`` is what changes there, each time that ``changes`` has a new version."""
        self.known: dict[App, DeepHealth] = {}
        self._paths = {app.name: app.deep_path for app in apps if app.deep_path is not None}
        self._pods = pods
        self._session = session
        self._clock = clock
        self._changes = changes

    async def run(self) -> None:
        """Ask until cancelled: every application by itself, so that none waits for another's pod."""
        async with asyncio.TaskGroup() as tasks:
            for app in self._paths:
                asking = partial(self._ask_again, app)
                tasks.create_task(keep("ask deep health", asking, app=app), name=f"ask deep health of {app}")

    async def _ask_again(self, app: App) -> None:
        while True:
            asked, version = self._pods[app].pods[:1], self._changes.version
            await self.ask(app)
            known = self.known.get(app)
            pause_s = ASK_EVERY_S if known is None or known.healthy else ASK_AGAIN_S
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    while self._pods[app].pods[:1] == asked:
                        version = await self._changes.after(version)

    async def ask(self, app: App) -> None:
        """Ask one pod; without a ready one nothing is known."""
        pods = self._pods[app].pods
        if not pods:
            self.known.pop(app, None)
            return
        healthy, because = await self._answer(pods[0], self._paths[app])
        self.known[app] = DeepHealth(healthy, because, self._clock.now_s())

    async def _answer(self, pod: Address, path: str) -> tuple[bool, str]:
        url, timeout = f"http://{pod.host}:{pod.port}{path}", aiohttp.ClientTimeout(total=ASK_TIMEOUT_S)
        try:
            async with self._session.get(url, timeout=timeout) as response:
                text = await response.text(errors="replace")
                return response.status == 200, _words(response.status, text)
        except TimeoutError:
            return False, f"{path} of {pod.host} did not answer within {ASK_TIMEOUT_S:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return False, f"{path} of {pod.host}: {str(error) or type(error).__name__}"


def _words(status: int, text: str) -> str:
    """Return the reasons that a JSON answer lists, else its first line."""
    if status == 200:
        return "it can do all its work"
    try:
        reasons = json.loads(text)["reasons"]
        reason = "; ".join(map(str, reasons)) if isinstance(reasons, list) else str(reasons)
    except (ValueError, KeyError, TypeError):
        reason = text.strip().splitlines()[0] if text.strip() else ""
    return reason[:WORDS_MAX] or f"it answered {status}"
