"""Front doors: ports on the host's loopback that lead into the regions, without delay."""

import errno
import socket

from leeward.world import namespaces
from leeward.world.link import Link
from leeward.world.model import (
    AGENT_ENDPOINT,
    API_ENDPOINT,
    DNS_ENDPOINT,
    GATEWAY_ENDPOINT,
    SERVICES_ENDPOINT,
    RegionConfig,
    address,
)
from leeward.world.relay import RelayListener

HOST = "127.0.0.1"
PER_REGION = 10
NEXT_WORLD = 100
WORLDS = 20


class FrontDoors:
    """One region's gateway, for users and for exported services, agent, API and DNS server, as seen from the host."""

    def __init__(self, region: RegionConfig, network: int | None, base_port: int) -> None:
        targets = (GATEWAY_ENDPOINT, AGENT_ENDPOINT, API_ENDPOINT, DNS_ENDPOINT, SERVICES_ENDPOINT)
        self._handles = _listeners(base_port + PER_REGION * region.index, len(targets))
        self._listeners = [
            RelayListener(
                (address(region.index, last), port),
                lambda: namespaces.in_network(network, namespaces.dialer),
                Link(),
                Link(),
            )
            for last, port in targets
        ]
        gateway, agent, api, dns, services = (handle.getsockname()[1] for handle in self._handles)
        self.gateway_url = f"http://{HOST}:{gateway}"
        self.agent_url = f"https://{HOST}:{agent}"
        self.api_url = f"https://{HOST}:{api}"
        self.services_url = f"http://{HOST}:{services}"
        self.dns_host, self.dns_port = HOST, dns

    async def open(self) -> None:
        """Start accepting connections."""
        for listener, handle in zip(self._listeners, self._handles, strict=True):
            await listener.open(handle)

    async def close(self) -> None:
        """Stop, and break open connections."""
        for listener in self._listeners:
            await listener.close()


def _listeners(preferred: int, count: int) -> list[socket.socket]:
    """Listen on consecutive ports: the preferred ones, those of a next world, or any."""
    for world in range(WORLDS):
        handles: list[socket.socket] = []
        try:
            handles.extend(
                namespaces.listener(HOST, preferred + NEXT_WORLD * world + offset) for offset in range(count)
            )
        except OSError as error:
            for handle in handles:
                handle.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return handles
    return [namespaces.listener(HOST, 0) for _ in range(count)]
