"""Write what changed and wait until Envoy confirms that it serves it."""

import asyncio
import os
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import aiohttp

from leeward.adapters.envoy import clients, clusters, usage
from leeward.adapters.envoy.bootstrap import CLUSTERS_FILE, LISTENERS_CHANGED, LISTENERS_FILE
from leeward.adapters.envoy.clusters import abroad
from leeward.adapters.envoy.render import keep_services, ready_pods, render, version
from leeward.adapters.envoy.settings import READY_HOST, GatewaySettings
from leeward.core.values import App
from leeward.ports.gateway import Carried, Exported, GatewayUnavailableError, Route

ADMIN_URL = "http://admin"
"""Any name: the session's socket is where it leads."""
POLL_S = 0.01
REMIND_S = 1.0
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""PostgreSQL's SSLRequest: the answer is one byte, from any server that takes connections."""
READY_REQUEST = f"GET / HTTP/1.1\r\nHost: {READY_HOST}\r\nConnection: close\r\n\r\n".encode()


def administration(settings: GatewaySettings) -> aiohttp.ClientSession:
    """Return a session with the administration of the Envoy next to this process."""
    return aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=settings.admin_socket))


class EnvoyGateway:
    """One region's Envoy, next to this process: they share ``config_dir``, where the administration's socket is, too.

    Files outlive both, so an agent that restarts changes nothing, and an Envoy that restarts finds them.
    """

    def __init__(self, settings: GatewaySettings, session: aiohttp.ClientSession) -> None:
        """Take a session of ``administration``."""
        self._settings = settings
        self._session = session
        self._directory = Path(settings.config_dir)
        self._turn = asyncio.Lock()

    async def apply(
        self, routes: tuple[Route, ...], services: tuple[Exported, ...] | None = (), *, timeout_s: float
    ) -> None:
        """Make the gateway serve exactly these routes and exported services. Raises GatewayUnavailableError.

        Pods and services that are not known, None, stay as they are.
        When it raises, the files are written all the same: Envoy will follow them as soon as it can.
        """
        files = render(self._settings, routes, services or ())
        if services is None:
            files = keep_services(files, {path.name: path.read_text() for path in self._directory.glob("*.json")})
        kept = {clusters.pods_file(route.app): ready_pods(route.app, ()) for route in routes if route.pods is None}
        pending: dict[str, str] = {}
        try:
            async with asyncio.timeout(timeout_s), self._turn:
                self._write(files, kept)
                pending = dict(files)
                await self._confirmed(pending)
        except TimeoutError as error:
            waiting = ", ".join(sorted(pending)) or "an earlier change"
            raise GatewayUnavailableError(
                f"the gateway did not confirm its routes within {timeout_s:g} s; waiting for {waiting}"
            ) from error

    async def carried(self, *, timeout_s: float) -> dict[App, Carried]:
        """Return how each application's traffic is carried. Raises GatewayUnavailableError.

        Each path to a PostgreSQL elsewhere is used as a client uses it: its first question is whether there is TLS.
        """
        params = {"format": "json", "filter": usage.FILTER}
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._session.get(f"{ADMIN_URL}/stats", params=params) as response,
            ):
                found = usage.carried(self._settings, (await response.json(content_type=None))["stats"])
        except (TimeoutError, aiohttp.ClientError) as error:
            raise GatewayUnavailableError(f"failed to read the gateway's statistics: {error!r}") from error
        paths = [(app, region) for app in self._settings.apps for region in abroad(self._settings, app)]
        tried = await asyncio.gather(*(self._try(app.egress[region], timeout_s) for app, region in paths))
        for (app, region), problem in zip(paths, tried, strict=True):
            if problem is not None:
                carried = found[app.name]
                broken = {region: f"PostgreSQL of {region} {problem}", **carried.broken}
                found[app.name] = replace(carried, broken=broken)
        return found

    async def users_problem(self, *, timeout_s: float) -> str | None:
        """Return why users get no answer at their port; None while they do.

        A connection of its own each time: those that are open go on while new ones are refused. It comes from an
        address to which the limits of clients do not apply.
        """
        here = (clients.own_address(self._settings), 0)
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_connection(
                    self._settings.host, self._settings.users_port, local_addr=here
                )
                try:
                    writer.write(READY_REQUEST)
                    answer = await reader.readline()
                finally:
                    writer.close()
        except TimeoutError:
            return f"the users' port does not answer within {timeout_s:g} s"
        except ConnectionRefusedError:
            return "the users' port refuses connections"
        except ConnectionResetError:
            answer = b""
        except (OSError, ValueError) as error:
            return f"the users' port cannot be used: {error!r}"
        if not answer:
            return "the users' port closes new connections"
        status = answer.split()[1:2]
        return None if status == [b"200"] else f"the users' port answers {answer.decode(errors='replace').strip()}"

    async def _try(self, port: int, timeout_s: float) -> str | None:
        """Ask the PostgreSQL behind a port whether it speaks TLS; return what is wrong."""
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_connection(self._settings.host, port)
                try:
                    writer.write(SSL_REQUEST)
                    answer = await reader.read(1)
                finally:
                    writer.close()
        except TimeoutError:
            return f"does not answer within {timeout_s:g} s"
        except OSError as error:
            return f"cannot be connected to: {error}"
        return None if answer in (b"S", b"N") else "closes new connections"

    def _write(self, files: Mapping[str, str], kept: Mapping[str, str]) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        for name, empty in kept.items():
            # What refers to it needs it to be there.
            if not (self._directory / name).is_file():
                _replace(self._directory / name, empty)
        for name, text in files.items():
            path = self._directory / name
            if not path.is_file() or path.read_text() != text:
                self._put(name, text)
        for path in self._directory.glob("eds.*.json"):
            if path.name not in files and path.name not in kept:
                path.unlink()

    def _put(self, name: str, text: str) -> None:
        _replace(self._directory / name, text)
        if name == LISTENERS_FILE:
            changed = self._directory / LISTENERS_CHANGED
            changed.parent.mkdir(exist_ok=True)
            _replace(changed, "")

    async def _confirmed(self, pending: dict[str, str]) -> None:
        """Empty ``pending`` as Envoy confirms. It forgets an update that it once refused, so remind it of the rest."""
        loop = asyncio.get_running_loop()
        remind_s = loop.time() + REMIND_S
        while True:
            for name in await self._served(pending):
                del pending[name]
            if not pending:
                return
            if loop.time() >= remind_s:
                remind_s = loop.time() + REMIND_S
                for name, text in pending.items():
                    self._put(name, text)
            await asyncio.sleep(POLL_S)

    async def _served(self, files: Mapping[str, str]) -> list[str]:
        url = f"{ADMIN_URL}/stats?type=TextReadouts&format=json"
        try:
            async with self._session.get(url) as response:
                stats = (await response.json(content_type=None))["stats"]
        except aiohttp.ClientError:
            return []
        served = {stat["name"]: stat["value"] for stat in stats}
        return [name for name, text in files.items() if served.get(_stat(name)) == version(text)]


def _stat(file: str) -> str:
    """Return the statistic in which Envoy reports the version of a file that it has loaded."""
    if file == LISTENERS_FILE:
        return "listener_manager.lds.version_text"
    if file == CLUSTERS_FILE:
        return "cluster_manager.cds.version_text"
    kind, name = file.removesuffix(".json").split(".", 1)
    if kind == "sds":
        return f"sds.{name}.version_text"
    return f"http.{name}.rds.{name}.version_text" if kind == "rds" else f"cluster.pods.{name}.version_text"


def _replace(path: Path, text: str) -> None:
    # A rename is what Envoy watches for, and it never shows half a file. The name of the
    # temporary one ends otherwise, so that it is not taken for configuration.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)
