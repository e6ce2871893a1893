"""Query all agents of a world at once. Once one has answered, the others have GRACE_S more: dead agents cost little
time, and slow machines still get their answer.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from leeward.kit.http.client_tls import client_context

ANSWER_TIMEOUT_S = 3.0
GRACE_S = 0.5
FRESH_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One region's answer, or why there is none."""

    region: str
    status: int
    """HTTP status; 0 without an answer."""
    body: Mapping[str, Any]
    because: str = ""

    @property
    def silent(self) -> bool:
        """Whether the agent did not answer."""
        return self.status == 0


class Agents:
    """Client for the agents of a world, with an operator's identity."""

    def __init__(self, urls: Mapping[str, str], identity: Path) -> None:
        self.regions = tuple(urls)
        self._urls = urls
        self._identity = identity
        self._stack = AsyncExitStack()
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        """Return itself."""
        connector = aiohttp.TCPConnector(ssl=client_context(self._identity))
        self._session = await self._stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        await self._stack.aclose()

    async def statuses(self) -> list[Answer]:
        """Return every agent's view, in the order of the regions."""
        return await self._all("/v1/status")

    async def records(self) -> list[Answer]:
        """Return every agent's copy of the decision log."""
        return await self._all("/v1/records")

    async def change(self, path: str, body: Mapping[str, Any], *, timeout_s: float) -> Answer:
        """Request a change: try agents in turn until one answers. It takes effect once."""
        # Imported here: most commands sign nothing, and cryptography takes longer to import than they run.
        from leeward.agent.runtime.authorization import Signer, new_nonce

        answers = []
        text = json.dumps(body).encode()
        signed = Signer(self._identity).authorize("POST", path, text, at_unix_s=time.time(), nonce=new_nonce())
        for region in self.regions:
            answer = await self._ask("POST", region, path, timeout_s, text, signed)
            if not answer.silent:
                return answer
            answers.append(answer)
        because = "; ".join(f"{answer.region}: {answer.because}" for answer in answers)
        return Answer("", 0, {}, because)

    async def _all(self, path: str) -> list[Answer]:
        requests = {
            region: asyncio.create_task(self._ask("GET", region, path, ANSWER_TIMEOUT_S), name=f"ask {region}")
            for region in self.regions
        }
        try:
            waiting = set(requests.values())
            while waiting and not any(_has_answered(task) for task in requests.values()):
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if waiting:
                await asyncio.wait(waiting, timeout=GRACE_S)
        finally:
            for task in requests.values():
                task.cancel()
            await asyncio.gather(*requests.values(), return_exceptions=True)
        return [_answer(region, task) for region, task in requests.items()]

    async def _ask(
        self,
        method: str,
        region: str,
        path: str,
        timeout_s: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        try:
            async with self._session.request(
                method,
                self._urls[region] + path,
                data=body,
                headers=headers,
                server_hostname=region,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                return Answer(region, response.status, await response.json())
        except TimeoutError:
            return Answer(region, 0, {}, f"no answer within {timeout_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(region, 0, {}, str(error) or type(error).__name__)


def _has_answered(task: asyncio.Task[Answer]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None and not task.result().silent


def _answer(region: str, task: asyncio.Task[Answer]) -> Answer:
    if task.cancelled():
        return Answer(region, 0, {}, f"no answer {GRACE_S:g} s after the first one")
    return task.result()


def newest(answers: list[Answer]) -> Answer | None:
    """Return the freshest answer of the highest revision; None when no agent knows the store's state.

    Agents without contact to the store for FRESH_S rank last: a restored store is at a lower revision than the one they
    remember.
    """
    known = [answer for answer in answers if answer.status == 200 and answer.body["revision"]]
    return max(known, key=_freshness, default=None)


def _freshness(answer: Answer) -> tuple[bool, int, float]:
    revision, age_s = answer.body["revision"], answer.body["age_s"]
    return age_s < FRESH_S, revision, -age_s
