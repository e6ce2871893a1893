"""The WAN: a process that is the only way between regions.

For every ordered pair of regions it listens, inside the source's network, on what the target shows to
others, and dials from inside the target's network. Every direction of every pair is a ``Link``; a probe
on each pair measures its round trip on the path of users' traffic. The supervisor commands it over a socket,
one JSON document per line, and it ends when the supervisor does.

Forked from the supervisor before any thread or event loop, because it must keep the capabilities over
the namespaces that an exec would take away.
"""

import asyncio
import json
import resource
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import structlog
import uvloop

from leeward.core.codec import plain
from leeward.world import namespaces
from leeward.world.clocks import now
from leeward.world.link import Link
from leeward.world.model import WAN_ENDPOINTS, LinkInfo, RegionConfig, WorldConfig, address
from leeward.world.relay import RelayListener

PROBE_ENDPOINT = (250, 7007)
"""Where the WAN answers its own probes, in each region's network."""
PROBE_EVERY_S = 1.0
PROBE_LATE_S = 3.0
"""A probe out for longer than this, and longer than expected, means that nothing comes back."""

log = structlog.get_logger()


def run(config: WorldConfig, networks: Mapping[str, int], control: socket.socket) -> None:
    """Run until the other end of ``control`` is closed."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Wan(config, networks).serve(control))


@dataclass(slots=True)
class _Pair:
    """An ordered pair of regions: its own direction, and what its probe measures."""

    source: RegionConfig
    target: RegionConfig
    link: Link
    configured_delay_s: float
    measured_rtt_s: float | None = None
    probe_sent_s: float | None = None


class _Wan:
    def __init__(self, config: WorldConfig, networks: Mapping[str, int]) -> None:
        self._config = config
        self._networks = networks
        self._listeners: list[RelayListener] = []
        self._pairs: dict[tuple[str, str], _Pair] = {}

    async def serve(self, control: socket.socket) -> None:
        for source in self._config.regions:
            for target in self._config.regions:
                if source is not target:
                    delay_s = self._config.one_way_s(source.name, target.name)
                    self._pairs[source.name, target.name] = _Pair(source, target, Link(delay_s), delay_s)
        for region in self._config.regions:
            handle = self._listen(region, region)
            await asyncio.get_running_loop().create_server(_Echo, sock=handle)
        for pair in self._pairs.values():
            for last, port in (*WAN_ENDPOINTS, PROBE_ENDPOINT):
                await self._open(pair, last, port)
        async with asyncio.TaskGroup() as tasks:
            probes = [tasks.create_task(self._probe(pair)) for pair in self._pairs.values()]
            await self._obey(control)
            for probe in probes:
                probe.cancel()
        for listener in self._listeners:
            await listener.close()

    def _listen(
        self, region: RegionConfig, target: RegionConfig, endpoint: tuple[int, int] = PROBE_ENDPOINT
    ) -> socket.socket:
        last, port = endpoint
        return namespaces.in_network(
            self._networks[region.name], lambda: namespaces.listener(address(target.index, last), port)
        )

    async def _open(self, pair: _Pair, last: int, port: int) -> None:
        network = self._networks[pair.target.name]
        listener = RelayListener(
            (address(pair.target.index, last), port),
            lambda: namespaces.in_network(network, namespaces.dialer),
            pair.link,
            self._pairs[pair.target.name, pair.source.name].link,
        )
        self._listeners.append(listener)
        await listener.open(self._listen(pair.source, pair.target, (last, port)))

    async def _obey(self, control: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=control)
        while line := await reader.readline():
            command = json.loads(line)
            answer = self._change(command) if "regions" in command else self._links()
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    def _change(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Change directions, all at the same moment. Keys that are not there keep what is."""
        applied = now()
        for source, target in command["regions"]:
            pair = self._pairs[source, target]
            link = pair.link
            delay_s, rate_bytes_s = link.delay_s, link.rate_bytes_s
            if "delay_ms" in command:
                delay_ms = command["delay_ms"]
                delay_s = pair.configured_delay_s if delay_ms is None else delay_ms / 1000
            if "rate_kib_s" in command:
                rate_kib_s = command["rate_kib_s"]
                rate_bytes_s = None if rate_kib_s is None else rate_kib_s * 1024
            cut = command.get("cut", link.cut)
            link.change(cut=cut, delay_s=delay_s, rate_bytes_s=rate_bytes_s)
        log.info("links %s", json.dumps(command))
        answer: dict[str, Any] = plain(applied)
        return answer

    def _links(self) -> dict[str, Any]:
        return {"links": [plain(self._info(pair)) for pair in self._pairs.values()]}

    def _info(self, pair: _Pair) -> LinkInfo:
        back = self._pairs[pair.target.name, pair.source.name].link
        rtt_s = pair.link.delay_s + back.delay_s
        silent_s = 0.0 if pair.probe_sent_s is None else time.monotonic() - pair.probe_sent_s
        measured_s = pair.measured_rtt_s if silent_s < PROBE_LATE_S + 2 * rtt_s else None
        return LinkInfo(
            source=pair.source.name,
            target=pair.target.name,
            cut=pair.link.cut,
            delay_ms=round(1000 * pair.link.delay_s, 3),
            rate_kib_s=None if pair.link.rate_bytes_s is None else pair.link.rate_bytes_s / 1024,
            configured_rtt_ms=round(1000 * rtt_s, 3),
            measured_rtt_ms=None if measured_s is None else round(1000 * measured_s, 1),
        )

    async def _probe(self, pair: _Pair) -> None:
        """Send a byte there and back every second. A reset only restarts the probe."""
        network = self._networks[pair.source.name]
        last, port = PROBE_ENDPOINT
        while True:
            handle = namespaces.in_network(network, namespaces.dialer)
            try:
                loop = asyncio.get_running_loop()
                await loop.sock_connect(handle, (address(pair.target.index, last), port))
                await self._ping(pair, handle, first=True)
                answered = True
                while answered:
                    answered = await self._ping(pair, handle)
                    await asyncio.sleep(PROBE_EVERY_S)
            except OSError as error:
                log.warning("probe %s to %s: %s", pair.source.name, pair.target.name, error)
            finally:
                handle.close()
            await asyncio.sleep(PROBE_EVERY_S)

    async def _ping(self, pair: _Pair, handle: socket.socket, *, first: bool = False) -> bool:
        """``first`` pays for the connection and measures nothing."""
        loop = asyncio.get_running_loop()
        pair.probe_sent_s = time.monotonic()
        await loop.sock_sendall(handle, b"?")
        answer = await loop.sock_recv(handle, 1)
        if answer and not first:
            pair.measured_rtt_s = time.monotonic() - pair.probe_sent_s
        pair.probe_sent_s = None
        return bool(answer)


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)
