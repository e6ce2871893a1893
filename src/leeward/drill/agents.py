"""The agents' API over mTLS for an operator: any agent may be down, so requests go to as many as needed."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp

from leeward.agent.runtime.authorization import Signer, new_nonce
from leeward.core.codec import DecodeError, from_plain, plain
from leeward.core.values import App, Heartbeat, LastDrill, Record, Region, ReplicationMode, Topology
from leeward.drill.access import FleetUnavailableError, FleetView, RefusedError
from leeward.kit.http.client_tls import client_context

READ_TIMEOUT_S = 1.0
CHANGE_TIMEOUT_S = 8.0
GRACE_S = 0.3
T = TypeVar("T")
UNREACHABLE = (aiohttp.ClientError, TimeoutError, OSError, DecodeError)


class HttpFleet:
    """An operator's sessions with every agent. Use as an async context manager."""

    def __init__(self, agent_urls: Mapping[Region, str], identity_dir: Path) -> None:
        """Take each region's agent URL, and the directory with ca.crt, tls.crt, tls.key of the operator."""
        self._urls = dict(agent_urls)
        self._identity_dir = identity_dir
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=client_context(self._identity_dir))
        self._session = aiohttp.ClientSession(connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def view(self, of: Region | None = None) -> FleetView:
        """Return the freshest view, or the view ``of`` one agent. Raises FleetUnavailableError."""
        views = await self._ask_all([of] if of is not None else list(self._urls), self._view)
        return max(views, key=lambda view: (view.revision, -(view.age_s or 0.0)))

    async def records(self, after: int) -> tuple[tuple[Record, ...], int]:
        """Return decisions later than a revision, and the revision to continue from."""
        pages = await self._ask_all(list(self._urls), lambda region: self._records(region, after))
        # The page with the highest cursor contains all others.
        return max(pages, key=lambda page: page[1])

    async def switchover(self, app: App, to: Region) -> str:
        """Request a switchover. Raises RefusedError, FleetUnavailableError."""
        return await self._change(app, "switchover", {"to": to})

    async def set_mode(self, app: App, mode: ReplicationMode) -> str:
        """Request another replication mode. Raises RefusedError, FleetUnavailableError."""
        return await self._change(app, "mode", {"mode": str(mode)})

    async def record_drill(self, app: App, ended: LastDrill) -> str:
        """Record a drill's outcome. Raises RefusedError, FleetUnavailableError."""
        return await self._change(app, "drill", plain(ended))

    async def _ask_all(self, regions: list[Region], ask: Callable[[Region], Coroutine[None, None, T]]) -> list[T]:
        """Ask all at once; once one has answered, the others have GRACE_S more. Raises FleetUnavailableError."""
        tasks = [asyncio.create_task(ask(region), name=f"ask {region}") for region in regions]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            while not any(_answered(task) for task in tasks) and not all(task.done() for task in tasks):
                await asyncio.wait([t for t in tasks if not t.done()], return_when=asyncio.FIRST_COMPLETED)
            if late := [task for task in tasks if not task.done()]:
                await asyncio.wait(late, timeout=GRACE_S)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) and not isinstance(error, UNREACHABLE):
                raise error
        answers = [task.result() for task in tasks if _answered(task)]
        if not answers:
            errors = [task.exception() for task in tasks if not task.cancelled()]
            raise FleetUnavailableError(f"no answer from the agents of {', '.join(regions)}: {_why(errors)}")
        return answers

    async def _view(self, region: Region) -> FleetView:
        _, body = await self._ask(region, "GET", "/v1/status", READ_TIMEOUT_S)
        return FleetView(
            source=region,
            revision=int(body["revision"]),
            age_s=body["age_s"],
            answered=frozenset(Region(name) for name in body["answered"]),
            quorum_leader=body.get("quorum_leader"),
            topologies={App(name): from_plain(Topology, raw) for name, raw in body["topologies"].items()},
            heartbeats={Region(name): from_plain(Heartbeat, raw) for name, raw in body["heartbeats"].items()},
            because={App(name): str(text) for name, text in body.get("because", {}).items()},
        )

    async def _records(self, region: Region, after: int) -> tuple[tuple[Record, ...], int]:
        _, body = await self._ask(region, "GET", f"/v1/records?after={after}", READ_TIMEOUT_S)
        return tuple(from_plain(Record, raw) for raw in body["records"]), int(body["next"])

    async def _change(self, app: App, verb: str, document: dict[str, Any]) -> str:
        """Try agents in turn until one answers. A retry is harmless: the change takes effect once."""
        errors: list[BaseException] = []
        path = f"/v1/apps/{app}/{verb}"
        body = json.dumps(document).encode()
        signed = Signer(self._identity_dir).authorize("POST", path, body, at_unix_s=time.time(), nonce=new_nonce())
        for region in self._urls:
            try:
                status, answer = await self._ask(region, "POST", path, CHANGE_TIMEOUT_S, body, signed)
            except UNREACHABLE as error:
                errors.append(error)
                continue
            because = str(answer.get("because") or answer.get("code") or verb)
            if status >= 400:
                raise RefusedError(because)
            return because
        raise FleetUnavailableError(f"no agent answered the request: {_why(errors)}")

    async def _ask(
        self,
        region: Region,
        method: str,
        path: str,
        timeout_s: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        assert self._session is not None, "used outside of its context"
        # The URLs are local addresses; an agent's certificate carries the name of its region.
        async with self._session.request(
            method,
            self._urls[region].rstrip("/") + path,
            data=body,
            headers=headers,
            server_hostname=region,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        ) as response:
            try:
                answer = await response.json()
            except ValueError as error:
                raise DecodeError(f"{region} answered {response.status} without JSON") from error
        if method == "GET" and response.status != 200:
            raise DecodeError(f"{region} answered {response.status}: {answer}")
        return response.status, answer


def _answered(task: "asyncio.Task[T]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _why(errors: Iterable[BaseException | None]) -> str:
    """Return each distinct reason once, without details that vary between attempts."""
    return ", ".join(sorted({_reason(error) for error in errors if error is not None}))


def _reason(error: BaseException) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return f"TLS: {error}"
        case aiohttp.ClientConnectorError():
            return "cannot connect"
        case TimeoutError():
            return "no answer in time"
    return str(error) or type(error).__name__
