"""Clients that write and read payments continuously through the gateways, as users of each region would.

A population knows every gateway, its own region's first and then the nearest, as a DNS answer would list
them. It avoids a gateway for a moment after a failure. Each writer has one payment in flight, retries it with the
same key until it is acknowledged, and gives up after GIVE_UP_S; a reader reads payments that are old enough to have
reached every region.

Always true: every request that was sent is in ``attempts``, including interrupted ones; a request that could
have reached a service is only called failed if the answer says so.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

from leeward.core.values import Region
from leeward.drill.ledger import Attempt, Operation, Outcome
from leeward.ports.clock import Clock

REQUEST_TIMEOUT_S = 2.0
WRITE_PACE_S = 0.022
READ_PACE_S = 0.045
BACKOFF_S = 0.025
AVOID_S = 0.5
GIVE_UP_S = 20.0
STOP_TIMEOUT_S = 3.0
KNOWN_PAYMENTS = 64
KNOWN_AGE_S = 2.0
CERTAINLY_NOT_DONE = frozenset({"failed", "no-primary", "wrong-region", "invalid", "conflict"})
"""Codes of the service and of the gateway that guarantee that nothing was written."""
NEVER_FORWARDED = b"no healthy upstream"
"""Envoy's own answer when it has no upstream to forward to."""


@dataclass(frozen=True, slots=True)
class Population:
    """The users of one region and the gateways they may use, nearest first."""

    region: Region
    gateways: tuple[tuple[Region, str], ...]
    """(region, URL)"""


def populations(
    gateways: Mapping[Region, str], round_trips_s: Mapping[tuple[Region, Region], float]
) -> tuple[Population, ...]:
    """Return one population per gateway; missing round trips are the farthest."""

    def distance_s(home: Region, other: Region) -> float:
        if home == other:
            return 0.0
        return round_trips_s.get((home, other), round_trips_s.get((other, home), float("inf")))

    return tuple(
        Population(home, tuple(sorted(gateways.items(), key=lambda item: distance_s(home, item[0]))))
        for home in gateways
    )


class GatewayChoice:
    """Which gateway a user tries next."""

    def __init__(self, population: Population) -> None:
        self._gateways = population.gateways
        self._avoid_until_s = dict.fromkeys((region for region, _ in population.gateways), 0.0)

    def pick(self, now_s: float) -> tuple[Region, str]:
        """Return the nearest gateway that did not just fail, or the one that failed longest ago."""
        for region, url in self._gateways:
            if self._avoid_until_s[region] <= now_s:
                return region, url
        return min(self._gateways, key=lambda gateway: self._avoid_until_s[gateway[0]])

    def failed(self, region: Region, now_s: float) -> None:
        """Avoid this gateway for AVOID_S."""
        self._avoid_until_s[region] = now_s + AVOID_S


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of one HTTP request."""

    outcome: Outcome
    payment_id: str | None = None
    served_by: Region | None = None
    because: str = ""


class Load:
    """Runs the populations. As a context manager it starts them, and stops all of them at the end."""

    def __init__(
        self,
        users: tuple[Population, ...],
        clock: Clock,
        *,
        prefix: str,
        writers: int = 2,
        readers: int = 1,
        host: str | None = None,
    ) -> None:
        """Take the populations, how many writers and readers each has, and the prefix of all keys.

        ``host`` is the HTTP Host header, where gateways route applications by it.
        """
        self.attempts: list[Attempt] = []
        self._populations = users
        self._clock = clock
        self._prefix = prefix
        self._writers = writers
        self._readers = readers
        self._headers = {"Host": host} if host else {}
        self._known: list[tuple[str, float]] = []
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30.0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
        )
        for population in self._populations:
            for number in range(self._writers):
                name = f"{self._prefix}{population.region}-{number}"
                self._tasks.append(asyncio.create_task(self._write(population, name), name=f"writer {name}"))
            for number in range(self._readers):
                name = f"{self._prefix}{population.region}-{number}"
                self._tasks.append(asyncio.create_task(self._read(population, name), name=f"reader {name}"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        try:
            if kind is None and self._tasks:
                await asyncio.wait(self._tasks, timeout=STOP_TIMEOUT_S)
        finally:
            for task in self._tasks:
                task.cancel()
            ends = await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._session is not None:
                await self._session.close()
        for end in ends:
            if isinstance(end, Exception) and kind is None:
                raise end

    def check(self) -> None:
        """Raise the error of a client task that ended early."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def acknowledged(self, operation: Operation, population: Region, *, since_s: float) -> int:
        """Return how many requests of a population were acknowledged since."""
        count = 0
        for attempt in reversed(self.attempts):
            if attempt.done_s < since_s - REQUEST_TIMEOUT_S:
                break
            count += (
                attempt.operation is operation
                and attempt.population == population
                and attempt.outcome is Outcome.ACKNOWLEDGED
                and attempt.done_s >= since_s
            )
        return count

    async def _write(self, population: Population, name: str) -> None:
        choice = GatewayChoice(population)
        number = 0
        while not self._stopping:
            number += 1
            key = f"{name}-{number}"
            began_s = self._clock.now_s()
            while True:
                attempt = await self._attempt(Operation.WRITE, key, population.region, choice, "/api/payments")
                if attempt.outcome is Outcome.ACKNOWLEDGED:
                    if len(self._known) < KNOWN_PAYMENTS and attempt.payment_id is not None:
                        self._known.append((attempt.payment_id, attempt.done_s))
                    break
                if attempt.done_s - began_s > GIVE_UP_S or self._stopping:
                    break
                await asyncio.sleep(BACKOFF_S)
            await asyncio.sleep(WRITE_PACE_S)

    async def _read(self, population: Population, name: str) -> None:
        choice = GatewayChoice(population)
        number = 0
        while not self._stopping:
            old = [payment for payment, at_s in self._known if at_s + KNOWN_AGE_S <= self._clock.now_s()]
            if not old:
                await asyncio.sleep(READ_PACE_S)
                continue
            number += 1
            path = f"/api/payments/{old[number % len(old)]}"
            began_s = self._clock.now_s()
            while True:
                attempt = await self._attempt(Operation.READ, f"read-{name}-{number}", population.region, choice, path)
                if attempt.outcome is Outcome.ACKNOWLEDGED or self._stopping:
                    break
                if attempt.done_s - began_s > GIVE_UP_S:
                    break
                await asyncio.sleep(BACKOFF_S)
            await asyncio.sleep(READ_PACE_S)

    async def _attempt(
        self, operation: Operation, key: str, population: Region, choice: GatewayChoice, path: str
    ) -> Attempt:
        sent_s = self._clock.now_s()
        gateway, url = choice.pick(sent_s)
        # The outcome if this is interrupted: a write may have arrived.
        answer = Answer(Outcome.UNKNOWN if operation is Operation.WRITE else Outcome.FAILED, because="interrupted")
        try:
            if operation is Operation.WRITE:
                answer = await self._post(url + path, key)
            else:
                answer = await self._get(url + path)
        finally:
            attempt = Attempt(
                operation=operation,
                key=key,
                population=population,
                gateway=gateway,
                sent_s=sent_s,
                done_s=self._clock.now_s(),
                outcome=answer.outcome,
                payment_id=answer.payment_id,
                served_by=answer.served_by,
                because=answer.because,
            )
            self.attempts.append(attempt)
        if attempt.outcome is not Outcome.ACKNOWLEDGED:
            choice.failed(gateway, attempt.done_s)
        return attempt

    async def _post(self, url: str, key: str) -> Answer:
        assert self._session is not None
        body = {"amount_cents": 100 + len(key), "currency": "EUR", "account": "drill"}
        headers = {**self._headers, "Idempotency-Key": key}
        try:
            async with self._session.post(url, json=body, headers=headers) as response:
                return write_answer(response.status, response.headers, await response.read())
        except aiohttp.ClientConnectorError as error:
            return Answer(Outcome.FAILED, because=f"not connected: {error}")
        except TimeoutError:
            return Answer(Outcome.UNKNOWN, because=f"no answer within {REQUEST_TIMEOUT_S:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Answer(Outcome.UNKNOWN, because=f"connection failed: {error!r}")

    async def _get(self, url: str) -> Answer:
        assert self._session is not None
        try:
            async with self._session.get(url, headers=self._headers) as response:
                return read_answer(response.status, response.headers, await response.read())
        except TimeoutError:
            return Answer(Outcome.FAILED, because=f"no answer within {REQUEST_TIMEOUT_S:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Answer(Outcome.FAILED, because=f"connection failed: {error!r}")


def write_answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """Return the outcome of a write: acknowledged, certainly not done, or unknown."""
    document = _document(body)
    served_by = _served_by(headers)
    if status in (200, 201) and isinstance(document.get("id"), str):
        return Answer(Outcome.ACKNOWLEDGED, document["id"], served_by)
    because = f"{status} {document.get('code', '')} {document.get('why', document.get('because', ''))}".strip()
    never_forwarded = status == 503 and body == NEVER_FORWARDED
    certain = document.get("code") in CERTAINLY_NOT_DONE or never_forwarded
    return Answer(Outcome.FAILED if certain else Outcome.UNKNOWN, None, served_by, because)


def read_answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """Return the outcome of a read: acknowledged with its payment, or failed."""
    document = _document(body)
    if status == 200 and isinstance(document.get("id"), str):
        return Answer(Outcome.ACKNOWLEDGED, document["id"], _served_by(headers))
    because = f"{status} {document.get('code', '')} {document.get('why', document.get('because', ''))}".strip()
    return Answer(Outcome.FAILED, None, _served_by(headers), because)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _served_by(headers: Mapping[str, str]) -> Region | None:
    name = headers.get("x-served-by")
    return Region(name) if name else None
