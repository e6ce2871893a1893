"""Probes: is the container started, alive, ready? One request, one answer, one deadline."""

import asyncio
import os
from dataclasses import dataclass, replace

import aiohttp

from leeward.ports.cluster import KubeObject
from leeward.world.kubernetes.processes import Processes, Program


@dataclass(frozen=True, slots=True)
class HttpGet:
    """Any answer from 200 to 399 is a success; certificates are not verified."""

    url: str
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """An accepted connection is a success."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Execute:
    """Exit code 0 is a success."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What to probe, how often, and how many results decide. Durations in seconds."""

    action: HttpGet | TcpSocket | Execute
    period_s: float
    timeout_s: float
    delay_s: float
    failures: int
    successes: int


def parse(spec: KubeObject, container: KubeObject, address: str, period_s: float | None) -> Probe:
    """Return the probe of a pod at ``address``. Raises KeyError or ValueError for one that makes no sense."""
    action: HttpGet | TcpSocket | Execute
    if "httpGet" in spec:
        get = spec["httpGet"]
        place = f"{get.get('host') or address}:{_port(get['port'], container)}"
        path = "/" + str(get.get("path") or "").lstrip("/")
        headers = tuple((row["name"], row["value"]) for row in get.get("httpHeaders") or ())
        action = HttpGet(f"{str(get.get('scheme') or 'HTTP').lower()}://{place}{path}", headers)
    elif "tcpSocket" in spec:
        socket = spec["tcpSocket"]
        action = TcpSocket(socket.get("host") or address, _port(socket["port"], container))
    elif "exec" in spec:
        action = Execute(tuple(spec["exec"]["command"]))
    else:
        raise ValueError(f"probe of container {container['name']} is not httpGet, tcpSocket or exec")
    return Probe(
        action=action,
        period_s=period_s or float(spec.get("periodSeconds", 10)),
        timeout_s=float(spec.get("timeoutSeconds", 1)),
        delay_s=float(spec.get("initialDelaySeconds", 0)),
        failures=int(spec.get("failureThreshold", 3)),
        successes=int(spec.get("successThreshold", 1)),
    )


class Prober:
    """Runs probes. One HTTP client for all probes of the region, without keep-alive."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the HTTP client."""
        if self._session is not None:
            await self._session.close()

    async def ask(self, probe: Probe, program: Program) -> str | None:
        """Return None for a success, or what went wrong. ``program`` is the container's own."""
        try:
            async with asyncio.timeout(probe.timeout_s):
                match probe.action:
                    case HttpGet() as action:
                        return await self._http_get(action)
                    case TcpSocket(host=host, port=port):
                        _, writer = await asyncio.open_connection(host, port)
                        writer.close()
                        return None
                    case Execute(command=command):
                        return await self._execute(command, program)
        except TimeoutError:
            return f"no answer within {probe.timeout_s:g} s"
        except (OSError, aiohttp.ClientError) as error:
            return str(error) or type(error).__name__

    async def _http_get(self, action: HttpGet) -> str | None:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=False, force_close=True, limit=0)
            self._session = aiohttp.ClientSession(connector=connector)
        async with self._session.get(action.url, headers=action.headers, allow_redirects=False) as response:
            if 200 <= response.status < 400:
                return None
            return f"HTTP probe failed with statuscode: {response.status}"

    async def _execute(self, command: tuple[str, ...], program: Program) -> str | None:
        # An identity of its own: cleaning up after the probe must not kill the container.
        identity = f"{program.identity}.probe"
        arguments = [program.translate(word) for word in command]
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            child = self._processes.spawn(replace(program, arguments=arguments, identity=identity), nowhere)
        finally:
            os.close(nowhere)
        try:
            code = await child.wait()
        finally:
            if child.running:
                await self._processes.sweep(child)
        return None if code == 0 else f"command {command[0]} ended with exit code {code}"


def _port(port: int | str, container: KubeObject) -> int:
    """Return a port's number: it may be the name of one of the container's ports."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for row in container.get("ports") or ():
        if row.get("name") == port:
            return int(row["containerPort"])
    raise ValueError(f"container {container['name']} has no port named {port!r}")
