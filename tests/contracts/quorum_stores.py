"""The stores the contract of ``leeward.ports.quorum`` is checked on, and the faults it must survive."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from leeward.adapters.etcd.quorum import EtcdQuorum
from leeward.ports.quorum import Quorum
from leeward.sim.quorum import MemoryQuorum, MemoryStore, Reach
from tests.adapters.etcd.cluster import Cluster, cluster

NAMES = ("ap", "eu", "us")


class Store(Protocol):
    """A quorum as the region ``local`` sees it, and what can happen to it."""

    local: str
    names: tuple[str, ...]
    quorum: Quorum

    async def compact(self, revision: int) -> None: ...

    async def lose_majority(self) -> None: ...

    async def regain_majority(self) -> None: ...

    async def interrupt_local(self) -> None:
        """Break everything the local member holds open; it comes back by itself."""
        ...


class Memory:
    def __init__(self) -> None:
        self.local, self.names = NAMES[0], NAMES
        self._store = MemoryStore(NAMES)
        self.quorum: MemoryQuorum = self._store.member(self.local)

    async def compact(self, revision: int) -> None:
        self._store.compact(revision)

    async def lose_majority(self) -> None:
        self.quorum.reach = Reach.CUT

    async def regain_majority(self) -> None:
        self.quorum.reach = Reach.FULL

    async def interrupt_local(self) -> None:
        self.quorum.reach = Reach.CUT
        self.quorum.reach = Reach.FULL


class Etcd:
    def __init__(self, members: Cluster, quorum: EtcdQuorum) -> None:
        self.cluster = members
        self.names = members.names
        self.local = members.names[0]
        self.quorum: EtcdQuorum = quorum

    async def compact(self, revision: int) -> None:
        # The port has no compaction: in production each member does it on its own schedule.
        body = {"revision": str(revision), "physical": True}
        async with self.cluster.gateway(self.local) as gateway:
            await gateway.post("/v3/kv/compaction", body, timeout_s=30)

    async def lose_majority(self) -> None:
        for name in self.names[1:] or self.names:
            await self.cluster.kill(name)

    async def regain_majority(self) -> None:
        for name in self.names[1:] or self.names:
            await self.cluster.start(name)
        await self.cluster.ready(self.local)

    async def interrupt_local(self) -> None:
        await self.cluster.kill(self.local)
        await self.cluster.start(self.local)
        await self.cluster.ready(self.local)


@asynccontextmanager
async def open_store(kind: str, directory: Path) -> AsyncIterator[Store]:
    if kind == "memory":
        yield Memory()
        return
    names = NAMES[:1] if kind == "etcd-1" else NAMES
    async with cluster(directory, names) as members, members.connect(names[0]) as quorum:
        yield Etcd(members, quorum)
