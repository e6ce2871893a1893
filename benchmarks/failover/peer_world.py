"""Patroni's three regions: the same namespaces and WAN as Leeward's world, other programs inside."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from measure import Run, acknowledged, first_elsewhere
from peer_settings import LOOP_WAIT_S, PeerSettings
from writer import ACKNOWLEDGED

from leeward.core.codec import encode
from leeward.spec.spec import Spec
from leeward.world import client, places
from leeward.world.client import World
from leeward.world.engines import Engines
from leeward.world.model import LinkConfig, RegionConfig, WorldConfig

NAME = "failover-benchmark"
SETTLE_TIMEOUT_S = 180.0
RTO_TIMEOUT_S = 120.0
REQUEST_TIMEOUT_S = 10.0
POLL_S = 0.1


class PeerError(Exception):
    """Patroni's side cannot be measured; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What to run on Patroni's side."""

    spec: Spec
    home: str
    """The region to lose."""
    engines: Engines
    python: Path
    """Of the environment Patroni is installed in."""
    synchronous: bool
    progress: Callable[[str], None]


async def measure(peer: Peer) -> Run:
    """Start three regions, lose the primary's, and return how long nobody could write."""
    async with _world(peer) as world, aiohttp.ClientSession() as session:
        fleet = _Fleet(peer, world, session)
        await fleet.settle()
        # The primary renews its lease every loop: the kill comes at any moment of it.
        await asyncio.sleep(random.uniform(0, LOOP_WAIT_S))
        peer.progress(f"killing {peer.home}")
        killed = await world.kill(peer.home)
        return await fleet.first_write(killed.at_boot_s)


@asynccontextmanager
async def _world(peer: Peer) -> AsyncIterator[World]:
    config = _config(peer)
    claim = places.Claim(config.name)
    try:
        for region in config.regions:
            directory = config.region_directory(region.name)
            directory.mkdir(mode=0o700, parents=True)
            settings = PeerSettings(
                region=region.name,
                regions={other.name: other.index for other in config.regions},
                rtt_max_s=peer.spec.rtt_max_s,
                directory=str(directory),
                python=str(peer.python),
                etcd=str(peer.engines.etcd),
                postgres_bin=str(peer.engines.postgres_bin),
                synchronous=peer.synchronous,
            )
            (directory / "settings.json").write_text(encode(settings))
    except BaseException:
        claim.abandon()
        raise
    world = await client.launch(config, peer.progress, claim)
    try:
        info = await world.info()
        if info.not_emulated:
            raise PeerError(f"this machine does not allow what the benchmark needs: {', '.join(info.not_emulated)}")
        yield world
    finally:
        await world.down()


def _config(peer: Peer) -> WorldConfig:
    names = [region.name for region in peer.spec.regions]
    program = str(Path(__file__).with_name("peer_region.py"))
    return WorldConfig(
        name=NAME,
        fleet=NAME,
        directory=str(places.directory(NAME)),
        regions=tuple(RegionConfig(name=name, index=index, manifests="") for index, name in enumerate(names, 1)),
        links=tuple(
            LinkConfig(regions=(a, b), rtt_ms=1000 * peer.spec.rtt_s(a, b)) for a in names for b in names if a < b
        ),
        region_command=("{python}", program, "{directory}/settings.json"),
    )


class _Fleet:
    """Three regions with Patroni, through their front doors and what their clients wrote down."""

    def __init__(self, peer: Peer, world: World, session: aiohttp.ClientSession) -> None:
        self._peer = peer
        self._world = world
        self._session = session
        self._pending = "nothing answered"

    async def settle(self) -> None:
        """Return when the primary is in the region to lose, the others follow it, and etcd is led elsewhere."""
        home = self._peer.home
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT_S):
                while True:
                    if await self._patroni_is_ready(home) and await self._etcd_is_led_elsewhere(home):
                        if self._writes(home):
                            break
                        self._pending = "no client has written yet"
                    await asyncio.sleep(1)
        except TimeoutError as error:
            raise PeerError(f"not settled after {SETTLE_TIMEOUT_S:g} s: {self._pending}") from error
        self._peer.progress(f"Patroni is settled, its primary in {home}")

    async def first_write(self, killed_at_s: float) -> Run:
        """Return once a write was acknowledged by another region than the lost one."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + RTO_TIMEOUT_S
        while loop.time() < deadline_s:
            writes = [write for region in self._peer.spec.regions for write in self._ledger(region.name)]
            rto_s = first_elsewhere(writes, self._peer.home, killed_at_s)
            if rto_s is not None:
                return Run(rto_write_s=round(rto_s, 3))
            await asyncio.sleep(POLL_S)
        return Run(rto_write_s=None, because=f"no write was acknowledged within {RTO_TIMEOUT_S:g} s")

    def _writes(self, region: str) -> bool:
        return any(write.region == region for write in self._ledger(region))

    def _ledger(self, region: str) -> Any:
        path = self._world.directory / "regions" / region / ACKNOWLEDGED
        return acknowledged(path.read_bytes().splitlines()) if path.exists() else []

    async def _patroni_is_ready(self, home: str) -> bool:
        info = await self._world.info()
        rest = {region.name: region.agent_url.replace("https:", "http:") for region in info.regions}
        cluster = await self._json("GET", f"{rest[home]}/cluster")
        members = {member["name"]: member for member in cluster.get("members", ())}
        states = {name: (member["role"], member["state"]) for name, member in members.items()}
        leader = next((name for name, (role, _) in states.items() if role == "leader"), None)
        standbys = [state for name, (_, state) in states.items() if name != leader]
        self._pending = f"Patroni says {states}"
        if leader is None or len(members) < len(rest) or set(standbys) != {"streaming"}:
            return False
        if leader != home:
            await self._json("POST", f"{rest[leader]}/switchover", {"leader": leader, "candidate": home})
            return False
        roles = {role for role, _ in states.values()}
        return not self._peer.synchronous or "sync_standby" in roles

    async def _etcd_is_led_elsewhere(self, home: str) -> bool:
        """Move etcd's leader out of the region to lose: Patroni's better case, by some 3 s."""
        info = await self._world.info()
        url = info.region(home).gateway_url
        status = await self._json("POST", f"{url}/v3/maintenance/status", {})
        members = await self._json("POST", f"{url}/v3/cluster/member/list", {})
        self._pending = "etcd has no leader outside the region to lose"
        if not status.get("leader") or status["leader"] != status["header"]["member_id"]:
            return bool(status.get("leader"))
        other = next(member["ID"] for member in members["members"] if member["name"] != home)
        await self._json("POST", f"{url}/v3/maintenance/transfer-leadership", {"targetID": other})
        return False

    async def _json(self, method: str, url: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        """Return the answer's object; an empty one when there is none, as while things start."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        try:
            async with self._session.request(method, url, json=body, timeout=timeout) as answer:
                document = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}
