"""Write what changed and wait until Envoy says that it serves it."""

import asyncio
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from leeward.adapters.envoy.bootstrap import CLUSTERS_FILE, LISTENERS_FILE
from leeward.adapters.envoy.render import render, version
from leeward.adapters.envoy.settings import GatewaySettings
from leeward.ports.gateway import Exported, GatewayUnavailableError, Route

POLL_S = 0.01
REMIND_S = 1.0


class EnvoyGateway:
    """One region's Envoy, next to this process: they share ``config_dir`` and the address of its admin port.

    Files outlive both, so an agent that restarts changes nothing, and an Envoy that restarts finds them.
    """

    def __init__(self, settings: GatewaySettings, session: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._session = session
        self._directory = Path(settings.config_dir)
        self._turn = asyncio.Lock()

    async def apply(self, routes: tuple[Route, ...], services: tuple[Exported, ...] = (), *, timeout_s: float) -> None:
        """Make the gateway serve exactly these routes and exported services. Raises GatewayUnavailableError.

        When it raises, the files are written all the same: Envoy will follow them as soon as it can.
        """
        files = render(self._settings, routes, services)
        pending: dict[str, str] = {}
        try:
            async with asyncio.timeout(timeout_s), self._turn:
                self._write(files)
                pending = dict(files)
                await self._confirmed(pending)
        except TimeoutError as error:
            waiting = ", ".join(sorted(pending)) or "an earlier change"
            raise GatewayUnavailableError(
                f"the gateway did not confirm its routes within {timeout_s:g} s; waiting for {waiting}"
            ) from error

    def _write(self, files: Mapping[str, str]) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = self._directory / name
            if not path.is_file() or path.read_text() != text:
                _replace(path, text)
        for path in self._directory.glob("eds.*.json"):
            if path.name not in files:
                path.unlink()

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
                    _replace(self._directory / name, text)
            await asyncio.sleep(POLL_S)

    async def _served(self, files: Mapping[str, str]) -> list[str]:
        url = f"{self._settings.admin_url}/stats?type=TextReadouts&format=json"
        try:
            async with self._session.get(url) as response:
                stats = (await response.json(content_type=None))["stats"]
        except aiohttp.ClientError:
            return []
        served = {stat["name"]: stat["value"] for stat in stats}
        return [name for name, text in files.items() if served.get(_stat(name)) == version(text)]


def _stat(file: str) -> str:
    """Return the name under which Envoy tells the version of a file that it has taken."""
    if file == LISTENERS_FILE:
        return "listener_manager.lds.version_text"
    if file == CLUSTERS_FILE:
        return "cluster_manager.cds.version_text"
    kind, name = file.removesuffix(".json").split(".", 1)
    return f"http.{name}.rds.{name}.version_text" if kind == "rds" else f"cluster.pods.{name}.version_text"


def _replace(path: Path, text: str) -> None:
    # A rename is what Envoy watches for, and it never shows half a file. The name of the
    # temporary one ends otherwise, so that nobody takes it for configuration.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)
