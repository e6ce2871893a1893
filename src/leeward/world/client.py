"""Start worlds, find them, and control them: the typed client of the control socket."""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from leeward.base.problem import Problem, ProblemsError
from leeward.core.codec import DecodeError, decode, encode, from_plain
from leeward.world import guard, places
from leeward.world.control_socket import ControlConnector
from leeward.world.guard import Guard
from leeward.world.model import Applied, LinkInfo, WorldConfig, WorldInfo
from leeward.world.places import Claim
from leeward.world.problems import from_os_error, refusal

REQUEST_TIMEOUT_S = 20.0
DOWN_TIMEOUT_S = 20.0
POLL_S = 0.05
LAUNCH_MARGIN_S = 60.0
LOG_TAIL_LINES = 5
KEEP: Any = object()
"""Leave this property of a link as it is."""

directory = places.directory


class World:
    """One world, through its control socket. Use it as a context manager, or ``close`` it."""

    def __init__(self, path: Path, tether: Guard | None = None) -> None:
        """``tether``: what ties the world to this process; it ends with it, unless it is kept."""
        self.directory = path
        self._tether = tether
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def open(cls, name: str) -> Self:
        """Return the running world of that name. Raises ProblemsError when it does not exist."""
        path = places.directory(name)
        if not places.is_alive(path):
            others = ", ".join(other.name for other in places.living()) or "none"
            raise refusal(
                "no-world",
                str(path),
                f"world {name} does not exist",
                f"running worlds: {others}",
                f"start it: leeward up -f DIR --world {name}",
            )
        return cls(path)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; the world keeps running, unless it is tethered."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._tether is not None:
            self._tether.close()
            self._tether = None

    def keep(self) -> None:
        """Let a tethered world keep running without this process."""
        if self._tether is not None:
            self._tether.keep()
            self._tether = None

    @property
    def operator_directory(self) -> Path:
        """Holds ca.crt, tls.crt, tls.key, token, and the authorities of API servers and instance managers."""
        return self.directory / "operator"

    async def info(self) -> WorldInfo:
        """Return the world's description and the state of its regions."""
        return from_plain(WorldInfo, await self._request("GET", "/v1/world"))

    async def kill(self, region: str) -> Applied:
        """SIGKILL every process of a region; returns when they are gone."""
        return await self._fault(region, "kill")

    async def freeze(self, region: str) -> Applied:
        """SIGSTOP every process of a region; returns when none runs."""
        return await self._fault(region, "freeze")

    async def thaw(self, region: str) -> Applied:
        """SIGCONT every process of a region."""
        return await self._fault(region, "thaw")

    async def start(self, region: str) -> Applied:
        """Start a lost region again, on the disks it had; returns before it is ready."""
        return await self._fault(region, "start")

    async def signal(self, region: str, match: str, number: signal.Signals = signal.SIGKILL) -> Applied:
        """Signal a region's ``postgres``, ``instance-manager``, ``agent``, ``etcd`` or ``gateway``."""
        return await self._fault(region, "signal", {"match": match, "signal": number.name})

    async def links(self) -> tuple[LinkInfo, ...]:
        """Return every direction between two regions, configured and measured."""
        answer = await self._request("GET", "/v1/links")
        return tuple(from_plain(LinkInfo, link) for link in answer["links"])

    async def set_link(
        self,
        source: str,
        target: str,
        *,
        both: bool = True,
        cut: bool | None = None,
        delay_ms: float | None = KEEP,
        rate_kib_s: float | None = KEEP,
    ) -> Applied:
        """Change the direction from source to target, and the other one with ``both``, at the same moment.

        ``"*"`` is every region. Omitted values stay as they are; None restores the configured ones.
        """
        body: dict[str, Any] = {"from": source, "to": target, "both": both}
        if cut is not None:
            body["state"] = "cut" if cut else "up"
        if delay_ms is not KEEP:
            body["delay_ms"] = delay_ms
        if rate_kib_s is not KEEP:
            body["rate_kib_s"] = rate_kib_s
        return from_plain(Applied, await self._request("PUT", "/v1/links", body))

    async def down(self) -> None:
        """End the world; returns when all of it is removed. Raises ProblemsError when that fails."""
        pids = _pids(self.directory)
        with contextlib.suppress(ProblemsError):  # it may be ending, or unable to answer: then it is killed
            await self._request("POST", "/v1/down", timeout_s=5.0)
        await self.close()
        gone = await _gone(self.directory, DOWN_TIMEOUT_S)
        if not gone and pids is not None and places.is_alive(self.directory):
            os.kill(pids.supervisor_pid, signal.SIGKILL)
            gone = await _gone(self.directory, DOWN_TIMEOUT_S)
        if gone:
            await guard.reap(self.directory)
            return
        raise refusal(
            "world-stays",
            str(self.directory),
            "the world did not end",
            f"its directory is still there after {DOWN_TIMEOUT_S:g} s",
            f"check {self.directory / 'supervisor.log'}, then run `leeward down` again",
        )

    async def _fault(self, region: str, fault: str, body: Mapping[str, Any] | None = None) -> Applied:
        return from_plain(Applied, await self._request("POST", f"/v1/regions/{region}/{fault}", body))

    async def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=ControlConnector(str(self.directory / places.CONTROL)))
        try:
            async with self._session.request(
                method,
                f"http://world{path}",
                json=body,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as answer:
                document = json.loads(await answer.read())
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise refusal(
                "world-silent",
                str(self.directory / places.CONTROL),
                f"the world {self.directory.name} does not answer",
                str(error) or type(error).__name__,
                f"check {self.directory / 'supervisor.log'}, or end it: leeward down",
            ) from error
        if answer.status >= 400:
            raise ProblemsError([from_plain(Problem, problem) for problem in document["problems"]])
        return document


async def launch(
    config: WorldConfig,
    progress: Callable[[str], None] | None = None,
    claim: Claim | None = None,
    *,
    tethered: bool = False,
) -> World:
    """Start a world in the background and return when it is ready. Raises ProblemsError.

    ``claim`` is the directory of the world, when something has been written there (manifests, identity);
    otherwise it is claimed here. ``tethered``: the world ends with this process, however that ends, until
    ``keep`` is called. Cancelled, failed or killed before it is ready, nothing of the world is left.
    """
    claim = claim or Claim(config.name)
    try:
        janitor = claim.guard()
        config_path = _write(config, claim)
    except BaseException as error:
        claim.abandon()
        if isinstance(error, OSError):
            raise from_os_error(error, config.directory) from error
        raise
    claim.release()
    try:
        janitor.begin(config_path)
        async with asyncio.timeout(config.ready_timeout_s + LAUNCH_MARGIN_S):
            problems = await _follow(janitor.socket, progress or (lambda _text: None))
        if problems is not None:
            raise ProblemsError(problems or _died(claim.directory, janitor))
    except BaseException:
        await asyncio.shield(_end(janitor, claim.directory))
        raise
    world = World(claim.directory, janitor)
    if not tethered:
        world.keep()
    return world


def list_worlds() -> tuple[str, ...]:
    """Return the names of the running worlds. Removes what dead ones left."""
    places.remove_dead()
    return tuple(path.name for path in places.living())


def _write(config: WorldConfig, claim: Claim) -> Path:
    """Write the missing files, and return the path of the configuration."""
    for region in config.regions:
        config.region_directory(region.name).mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (claim.directory / "operator" / "ca.crt").exists():
        from leeward.world import identity  # takes longer to import than most commands run

        regions = {region.name: region.index for region in config.regions}
        identity.write(identity.create(config.fleet, regions, valid=timedelta(seconds=config.certificates_s)), config)
    path = claim.directory / "config.json"
    path.write_text(encode(config))
    return path


async def _follow(handle: socket.socket, progress: Callable[[str], None]) -> list[Problem] | None:
    """Return None when the world is ready, else the problems; an empty list when it exited without a report."""
    loop = asyncio.get_running_loop()
    buffer = b""
    while data := await loop.sock_recv(handle, 65536):
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            document = json.loads(line)
            if "progress" in document:
                progress(document["progress"])
            elif "problems" in document:
                return [from_plain(Problem, problem) for problem in document["problems"]]
            else:
                return None
    return []


async def _end(janitor: Guard, path: Path) -> None:
    """End a world that failed to start."""
    janitor.close()
    if not await _gone(path, DOWN_TIMEOUT_S):
        janitor.kill()
    await guard.reap(path)


async def _gone(path: Path, timeout_s: float) -> bool:
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    while not places.is_gone(path):
        if loop.time() > deadline_s:
            return False
        await asyncio.sleep(POLL_S)
    return True


def _pids(path: Path) -> WorldInfo | None:
    try:
        return decode(WorldInfo, (path / "world.json").read_text())
    except (OSError, DecodeError):
        return None


def _died(path: Path, janitor: Guard) -> list[Problem]:
    return [
        Problem(
            code="supervisor-died",
            where=str(path),
            what="the world's supervisor exited before the world was ready",
            why=f"its last output: {janitor.last_output(LOG_TAIL_LINES)}",
            fix="fix the errors listed above; `leeward doctor` checks this machine",
        )
    ]
