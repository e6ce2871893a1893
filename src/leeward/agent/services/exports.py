"""Honour ServiceExports: watch them here, publish them to the other regions, and route the gateway to the exporters.

Nothing of it delays a decision of the machine, whose view of the others' health it borrows. What regions say of their
exports is in the quorum store; while that is out of reach, every agent goes on with what was last published.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from functools import partial

import structlog

from leeward.agent.machine import exports
from leeward.agent.machine.exports import Name, Offers
from leeward.agent.machine.machine import Machine
from leeward.agent.runtime.pods import addresses
from leeward.agent.runtime.runtime import Runtime
from leeward.agent.runtime.supervision import Run, keep
from leeward.core import keys, routing
from leeward.core.codec import DecodeError, decode, encode
from leeward.core.values import Region
from leeward.kit.loops import Expected, about, follow
from leeward.ports.clock import Clock
from leeward.ports.cluster import (
    ENDPOINTS,
    SERVICE_EXPORTS,
    SERVICE_IMPORTS,
    Change,
    Cluster,
    ClusterUnavailableError,
    ConflictError,
    ExpiredError,
    KubeObject,
    NotFoundError,
    RejectedError,
    Resource,
)
from leeward.ports.gateway import Address, Exported
from leeward.ports.quorum import CompactedError, Delete, Put, Quorum, QuorumUnavailableError

log = structlog.get_logger()

CALL_TIMEOUT_S = 10.0
STORE_TIMEOUT_S = 3.0
# Each of a dozen connections costs a handshake; together they would hold up a heartbeat.
ONE_BY_ONE_S = 0.1
UNREAD_S = 10.0
RECONNECT_S = 0.2
# Definitions are installed, and rights granted, by people.
REFUSED_RETRY_S = 10.0
FOLLOWED = (SERVICE_EXPORTS, SERVICE_IMPORTS, ENDPOINTS)


class Exporting:
    """One region's part in services that several regions export."""

    def __init__(
        self,
        machine: Machine,
        runtime: Runtime,
        clock: Clock,
        cluster: Cluster,
        quorum: Quorum,
        namespaces: tuple[str, ...],
    ) -> None:
        self._machine = machine
        self._runtime = runtime
        self._changes = runtime.changes
        self._clock = clock
        self._cluster = cluster
        self._quorum = quorum
        self._namespaces = namespaces
        self._objects: dict[tuple[Resource, str], dict[str, KubeObject]] = {}
        self._published: dict[str, str] | None = None
        """What is in the store, by key; None before it was read."""
        self._key = keys.offers(machine.settings.fleet, machine.me)
        regions = sorted(machine.settings.regions, key=lambda each: each.rtt_s)
        self._nearest = tuple(each.name for each in regions if each.name != machine.me)

    async def run(self) -> None:
        """Honour them until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._keep(tasks, "listen to exports", self._listen)
            self._keep(tasks, "route to exports", self._lead)
            self._keep(tasks, "publish exports", self._publish)
            for namespace in self._namespaces:
                for resource in FOLLOWED:
                    self._keep(
                        tasks, f"follow {resource.plural}", partial(self._follow, resource, namespace), namespace
                    )
                    await asyncio.sleep(ONE_BY_ONE_S)
                self._keep(tasks, "report exports", partial(self._report, namespace), namespace)

    def _keep(self, tasks: asyncio.TaskGroup, what: str, run: Run, namespace: str | None = None) -> None:
        tasks.create_task(keep(what, run, namespace=namespace), name=what)

    # -- what is known ----------------------------------------------------------------------------

    def own(self) -> dict[Name, tuple[Address, ...] | None] | None:
        """Return what this region's cluster exports, as far as it is known; None before any namespace is."""
        read = self._read()
        if self._namespaces and not read:
            return None
        found: dict[Name, tuple[Address, ...] | None] = {}
        for namespace in read:
            endpoints = self._objects[(ENDPOINTS, namespace)]
            for name in filter(exports.is_of_a_service, self._objects[(SERVICE_EXPORTS, namespace)]):
                found[Name(namespace, name)] = addresses(endpoints[name]) if name in endpoints else None
        return found

    def _read(self) -> set[str]:
        """Return the namespaces that were read. One that cannot be read does not hold up the others."""
        return {each for each in self._namespaces if all((resource, each) in self._objects for resource in FOLLOWED)}

    def _offers(self, own: Mapping[Name, tuple[Address, ...] | None]) -> Offers:
        """Return what to publish: of a namespace that was not read yet, what the store has."""
        read, before = self._read(), self.offered().get(self._machine.me, Offers())
        unread = [each for each in before.services if each.service.namespace in {*self._namespaces} - read]
        return Offers(tuple(sorted((*exports.offers(own).services, *unread), key=lambda each: each.service)))

    def offered(self) -> dict[Region, Offers]:
        """Return what each region last published."""
        result = {}
        for region in (self._machine.me, *self._nearest):
            text = (self._published or {}).get(keys.offers(self._machine.settings.fleet, region))
            if text is not None:
                try:
                    result[region] = decode(Offers, text)
                except DecodeError as error:
                    log.warning("failed to read a region's exports", region=region, because=str(error))
        return result

    # -- watching ---------------------------------------------------------------------------------

    async def _follow(self, resource: Resource, namespace: str) -> None:
        """Keep the copy of one namespace's objects of a kind."""
        expected = (
            Expected((NotFoundError,), about(REFUSED_RETRY_S)),
            Expected((RejectedError,), about(REFUSED_RETRY_S), "failed to watch exports"),
            Expected(
                (ClusterUnavailableError, ExpiredError), about(RECONNECT_S), "export watch lost; reconnecting", "info"
            ),
        )
        present = partial(self._present, resource, namespace)
        again = about(RECONNECT_S)
        async for items in follow("watch exports", present, again, expected, kind=resource.kind, namespace=namespace):
            self._take(resource, namespace, items)

    async def _present(self, resource: Resource, namespace: str) -> AsyncIterator[dict[str, KubeObject]]:
        """Yield what ``_listed`` does; no object, and NotFoundError, where the cluster does not know the kind."""
        try:
            async for items in self._listed(resource, namespace):
                yield items
        except NotFoundError:
            yield {}
            raise

    def _take(self, resource: Resource, namespace: str, items: dict[str, KubeObject]) -> None:
        if self._objects.get((resource, namespace)) != items:
            self._objects[(resource, namespace)] = items
            self._changes.publish()

    async def _listed(self, resource: Resource, namespace: str) -> AsyncIterator[dict[str, KubeObject]]:
        """Yield all objects of a kind at once and whenever one changes."""
        listing = await self._cluster.list(resource, namespace=namespace, timeout_s=CALL_TIMEOUT_S)
        items = {item["metadata"]["name"]: item for item in listing.items}
        yield items
        async for event in self._cluster.watch(
            resource, resource_version=listing.resource_version, namespace=namespace, timeout_s=CALL_TIMEOUT_S
        ):
            name = event.item["metadata"]["name"]
            items = {each: item for each, item in items.items() if each != name}
            if event.change is not Change.DELETED:
                items[name] = event.item
            yield items

    async def _listen(self) -> None:
        """Keep the copy of what all regions publish."""
        prefix = keys.all_offers(self._machine.settings.fleet)

        async def published() -> AsyncIterator[dict[str, str]]:
            snapshot = await self._quorum.snapshot(prefix, timeout_s=STORE_TIMEOUT_S)
            entries = {key: entry.value for key, entry in snapshot.entries.items()}
            yield entries
            async for change in self._quorum.watch(prefix, after=snapshot.revision):
                merged = {**entries, **change.entries}
                entries = {key: value for key, value in merged.items() if value is not None}
                yield entries

        again = about(RECONNECT_S)
        lost = Expected((CompactedError, QuorumUnavailableError), again, "store watch lost; reconnecting", "info")
        async for entries in follow("watch exports of all regions", published, again, (lost,)):
            self._published = entries
            self._changes.publish()

    # -- doing ------------------------------------------------------------------------------------

    async def _lead(self) -> None:
        """Route the gateway to the exporters, from the moment that they are known of this region and the others.

        Until then it keeps the services that it has; a namespace that cannot be read is waited for UNREAD_S only.
        """
        last: tuple[Exported, ...] | None = None
        until_s = self._clock.now_s() + UNREAD_S
        version = self._changes.version
        while True:
            now_s, own = self._clock.now_s(), self.own()
            complete = len(self._read()) == len(self._namespaces) or now_s >= until_s
            if own is not None and self._published is not None and complete:
                shares = routing.shares(self._machine.health, now_s, self._machine.timers)
                fit = {region for region, share in shares.items() if share > 0}
                wanted = exports.routes_for(own, self.offered(), self._nearest, fit)
                if wanted != last:
                    self._runtime.serve(wanted)
                    last = wanted
            version = await self._changes.after(version, within_s=self._lead_within_s(now_s, until_s))

    def _lead_within_s(self, now_s: float, until_s: float) -> float | None:
        """Return after which time the routes may differ although nothing changed; None: they do not."""
        timers = self._machine.timers
        shares = [routing.share(health, now_s, timers) for health in self._machine.health.values() if health.serving]
        if any(share < 1.0 for share in shares):
            return timers.heartbeat_s
        return until_s - now_s if now_s < until_s else None

    async def _publish(self) -> None:
        """Publish what this region exports, whenever the store does not have it."""
        while True:
            version, written = self._changes.version, True
            own = self.own()
            if own is not None and self._published is not None:
                offers = self._offers(own)
                wanted = encode(offers) if offers.services else None
                if self._published.get(self._key) != wanted:
                    change = Delete(self._key) if wanted is None else Put(self._key, wanted)
                    try:
                        await self._quorum.transact((), (change,), timeout_s=STORE_TIMEOUT_S)
                    except QuorumUnavailableError as error:
                        log.warning("failed to write exports to the store", because=str(error))
                        written = False
            await self._changes.after(version, within_s=None if written else self._machine.timers.heartbeat_s)

    async def _report(self, namespace: str) -> None:
        """Report in the status of a namespace's ServiceExports and ServiceImports what became of them."""
        while True:
            version, written = self._changes.version, True
            own = self.own()
            if own is not None and self._published is not None and namespace in self._read():
                offered = self.offered()
                for name, item in self._objects[(SERVICE_EXPORTS, namespace)].items():
                    if Name(namespace, name) in own:
                        conditions = exports.of_export(Name(namespace, name), own)
                        written &= await self._say(SERVICE_EXPORTS, item, conditions, {})
                for name, item in self._objects[(SERVICE_IMPORTS, namespace)].items():
                    service = Name(namespace, name)
                    regions = exports.exporters(service, self._machine.me, own, offered)
                    clusters = {"clusters": [{"cluster": region} for region in regions]}
                    imported = (exports.of_import(service, regions),)
                    written &= await self._say(SERVICE_IMPORTS, item, imported, clusters)
            await self._changes.after(version, within_s=None if written else self._machine.timers.heartbeat_s)

    async def _say(
        self, resource: Resource, item: KubeObject, conditions: tuple[exports.Condition, ...], more: KubeObject
    ) -> bool:
        """Write a status that differs; False when it has to be tried again."""
        at = datetime.fromtimestamp(self._clock.unix_s(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        changed = exports.status(item, conditions, at)
        present = item.get("status", {})
        if changed is None and all(present.get(key, []) == value for key, value in more.items()):
            return True
        metadata = item["metadata"]
        status = {**more, "conditions": changed or present.get("conditions", [])}
        try:
            await self._cluster.patch(
                resource,
                metadata["name"],
                {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": status},
                namespace=metadata["namespace"],
                subresource="status",
                timeout_s=CALL_TIMEOUT_S,
            )
        except (NotFoundError, ConflictError, ClusterUnavailableError) as error:
            log.info("failed to write status", kind=resource.kind, name=metadata["name"], because=str(error))
        except RejectedError as error:
            log.warning("API server refused the status", kind=resource.kind, name=metadata["name"], because=str(error))
            await asyncio.sleep(REFUSED_RETRY_S)
        else:
            return True
        return False
