"""Check every certificate of this region, and report them to the other agents.

The agent's own are files. What a server shows is seen in a handshake, as its clients see it: no file says which
certificate a process has read. It authorizes nothing, so the handshake verifies nothing, and no request follows.

Always true: a server that does not answer keeps what it showed last.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import structlog
from cryptography import x509

from leeward.core.certificates import Certificate, look_every_s
from leeward.core.identities import CA, CERTIFICATE, INSTANCE_CA, instance_host
from leeward.core.settings import STORE_PEER_PORT, AgentSettings
from leeward.core.values import Region
from leeward.kit.http.client_tls import inspector
from leeward.kit.loops import repeat

log = structlog.get_logger()
HANDSHAKE_S = 5.0
PEER_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is, and what to show it."""

    host: str
    port: int
    name: str
    """What a client asks for."""
    identity: Path | None = None
    """None: nothing is shown, as the agent has no certificate of that purpose. Over TLS 1.3 the server has shown its
    certificate by then; over 1.2 it refuses before, so the port of old etcd members for one another is not seen."""


class Peers(Protocol):
    """The other regions' agents."""

    async def certificates(self, region: Region, *, timeout_s: float) -> tuple[Certificate, ...] | None:
        """Return a region's certificates as its agent reports them; None without an answer."""
        ...


class Certificates:
    """Runs beside the machine."""

    def __init__(
        self,
        files: Mapping[str, Path],
        servers: Mapping[str, Server],
        me: Region,
        others: tuple[Region, ...],
        peers: Peers,
    ) -> None:
        """``files`` and ``servers``: where each certificate is found, by its name."""
        self._files = files
        self._servers = servers
        self._me = me
        self._others = others
        self._peers = peers
        self._shown: dict[str, Certificate] = {}
        self.known: dict[Region, tuple[Certificate, ...]] = {}
        """By region; one that does not answer keeps its last report."""

    @property
    def own(self) -> tuple[Certificate, ...]:
        """This region's."""
        return self.known.get(self._me, ())

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        await repeat("look at certificates", self.look, every_s=lambda: look_every_s(self.own))

    async def look(self) -> None:
        """Look at this region's, and ask the other agents for theirs."""
        self._read()
        await asyncio.gather(*(self._shake(name, server) for name, server in self._servers.items()))
        self.known[self._me] = tuple(each for _, each in sorted(self._shown.items()))
        reported = await asyncio.gather(
            *(self._peers.certificates(region, timeout_s=PEER_TIMEOUT_S) for region in self._others)
        )
        self.known |= {region: found for region, found in zip(self._others, reported, strict=True) if found is not None}

    def _read(self) -> None:
        for name, path in self._files.items():
            try:
                found = x509.load_pem_x509_certificates(path.read_bytes())
            except (OSError, ValueError) as error:
                log.warning("a certificate cannot be read", certificate=name, because=str(error))
                continue
            # Of a chain the first is shown. Of several authorities the latest counts: the others are on their way out.
            one = found[0] if path.name == CERTIFICATE else max(found, key=lambda each: each.not_valid_after_utc)
            self._shown[name] = _certificate(name, one)

    async def _shake(self, name: str, server: Server) -> None:
        try:
            context = inspector(server.identity)
            async with asyncio.timeout(HANDSHAKE_S):
                _, writer = await asyncio.open_connection(
                    server.host, server.port, ssl=context, server_hostname=server.name
                )
        except (OSError, TimeoutError):
            return
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        if shown:
            self._shown[name] = _certificate(name, x509.load_der_x509_certificate(shown))


def of_agent(settings: AgentSettings) -> tuple[dict[str, Path], dict[str, Server]]:
    """Return the files and the servers of an agent's region, by the names of their certificates."""
    own, store = Path(settings.identity_dir), Path(settings.store_identity_dir)
    files = {
        "agent": own / CERTIFICATE,
        "fleet-authority": own / CA,
        "instance-authority": own / INSTANCE_CA,
        "store-client": store / CERTIFICATE,
        "store-authority": store / CA,
    }
    member = urlsplit(settings.quorum_url)
    host = member.hostname or ""
    gateway = next(region.gateway_port for region in settings.regions if region.name == settings.region)
    servers = {
        "store-member": Server(host, member.port or 0, settings.region, store),
        "store-peer": Server(host, STORE_PEER_PORT, settings.region),
        "gateway": Server(settings.gateway_host, gateway, f"http.{settings.region}"),
    }
    for app in settings.apps:
        if app.instance_url is not None:
            url = urlsplit(app.instance_url)
            name = instance_host(app.name, settings.region)
            servers[f"instance-{app.name}"] = Server(url.hostname or "", url.port or 0, name, own)
    return files, servers


def _certificate(name: str, found: x509.Certificate) -> Certificate:
    return Certificate(name, found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp())
