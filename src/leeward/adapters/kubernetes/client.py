"""A Kubernetes API client: server-side apply, list, resumable watch, logs. HTTP only, no generated models.

It speaks to the embedded API server and to real ones alike. Kinds that are not built in are found by
asking the server (discovery), once per group and version.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import aiohttp

from leeward.adapters.kubernetes.transport import Connection, Transport, error_of
from leeward.kit.loops import Backoff
from leeward.ports.cluster import (
    BUILT_IN,
    PODS,
    Change,
    ClusterUnavailableError,
    KubeObject,
    Listing,
    NotFoundError,
    Resource,
    WatchEvent,
)

__all__ = ["FIELD_MANAGER", "Connection", "KubernetesCluster", "path_of"]

FIELD_MANAGER = "leeward"
# The server ends a watch after this; the client goes on from the last version it saw. A connection that is
# silent for longer is dead.
WATCH_S = 240
RECONNECT_FIRST_S = 0.05
RECONNECT_MAX_S = 2.0


class KubernetesCluster:
    """The Cluster port for one API server. Close it, or use it as a context manager."""

    def __init__(self, connection: Connection) -> None:
        self._transport = Transport(connection)
        self._kinds = {(known.api_version, known.kind): known for known in BUILT_IN}

    async def __aenter__(self) -> Self:
        """Return itself; connections are made when needed."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """Close every connection; running watches end with ClusterUnavailableError."""
        await self._transport.close()

    async def apply(self, item: KubeObject, *, timeout_s: float) -> KubeObject:
        """Server-side apply as field manager ``leeward``, forced."""
        resource = await self.resource_of(str(item["apiVersion"]), str(item["kind"]), timeout_s=timeout_s)
        metadata = item["metadata"]
        return await self._transport.json(
            "PATCH",
            path_of(resource, metadata.get("namespace"), metadata["name"]),
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            body=item,
            content_type="application/apply-patch+yaml",
            timeout_s=timeout_s,
        )

    async def get(self, resource: Resource, name: str, *, namespace: str | None = None, timeout_s: float) -> KubeObject:
        """Return one object."""
        return await self._transport.json("GET", path_of(resource, namespace, name), timeout_s=timeout_s)

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        timeout_s: float,
    ) -> Listing:
        """Return all matching objects; their ``apiVersion`` and ``kind`` are filled in."""
        answer = await self._transport.json(
            "GET",
            path_of(resource, namespace),
            query=_selectors(label_selector, field_selector),
            timeout_s=timeout_s,
        )
        # Lists of real API servers leave these two out of the items.
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        return Listing(
            tuple({**kind, **item} for item in answer.get("items") or ()),
            str(answer["metadata"]["resourceVersion"]),
        )

    async def watch(
        self,
        resource: Resource,
        *,
        resource_version: str | None = None,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        timeout_s: float,
    ) -> AsyncIterator[WatchEvent]:
        """Yield changes; reconnect with growing pauses and go on from the last version seen."""
        if resource_version is None:
            listing = await self.list(
                resource,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                timeout_s=timeout_s,
            )
            for item in listing.items:
                yield WatchEvent(Change.ADDED, item)
            resource_version = listing.resource_version
        query = {
            **_selectors(label_selector, field_selector),
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_S),
        }
        loop = asyncio.get_running_loop()
        heard_at_s = loop.time()
        backoff, failures = Backoff(RECONNECT_FIRST_S, RECONNECT_MAX_S), 0
        while True:
            try:
                async with self._transport.request(
                    "GET",
                    path_of(resource, namespace),
                    query={**query, "resourceVersion": resource_version},
                    timeout_s=timeout_s,
                    read_timeout_s=WATCH_S + timeout_s,
                ) as response:
                    heard_at_s, failures = loop.time(), 0
                    async for line in _lines(response.content):
                        heard_at_s = loop.time()
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise error_of(int(event["object"].get("code", 500)), event["object"])
                        resource_version = str(event["object"]["metadata"]["resourceVersion"])
                        if event["type"] != "BOOKMARK":
                            yield WatchEvent(Change(event["type"]), event["object"])
            except ClusterUnavailableError:
                if loop.time() - heard_at_s >= timeout_s or self._transport.closed:
                    raise
            failures += 1
            await asyncio.sleep(backoff.pause_s(failures))

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str | None = None,
        grace_s: int | None = None,
        timeout_s: float,
    ) -> None:
        """Delete in the background, dependents too."""
        options: KubeObject = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        await self._transport.json("DELETE", path_of(resource, namespace, name), body=options, timeout_s=timeout_s)

    async def evict(self, name: str, *, namespace: str, timeout_s: float) -> None:
        """Ask for the eviction of a pod."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
        }
        path = path_of(PODS, namespace, name, "eviction")
        await self._transport.json("POST", path, body=body, timeout_s=timeout_s)

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: KubeObject,
        *,
        namespace: str | None = None,
        subresource: str = "",
        timeout_s: float,
    ) -> KubeObject:
        """Apply a JSON merge patch."""
        return await self._transport.json(
            "PATCH",
            path_of(resource, namespace, name, subresource),
            query={"fieldManager": FIELD_MANAGER},
            body=patch,
            content_type="application/merge-patch+json",
            timeout_s=timeout_s,
        )

    async def logs(
        self,
        name: str,
        *,
        namespace: str,
        container: str | None = None,
        follow: bool = False,
        tail_lines: int | None = None,
        previous: bool = False,
        timeout_s: float,
    ) -> AsyncIterator[bytes]:
        """Yield the log as it arrives."""
        query = {"follow": str(follow).lower(), "previous": str(previous).lower()}
        if container is not None:
            query["container"] = container
        if tail_lines is not None:
            query["tailLines"] = str(tail_lines)
        async with self._transport.request(
            "GET",
            f"/api/v1/namespaces/{namespace}/pods/{name}/log",
            query=query,
            timeout_s=timeout_s,
            read_timeout_s=None if follow else timeout_s,
        ) as response:
            async for piece in response.content.iter_any():
                yield piece

    async def resource_of(self, api_version: str, kind: str, *, timeout_s: float) -> Resource:
        """Return where objects of a kind live; ask the server about kinds that are not built in.

        Raises NotFoundError when it does not know the kind.
        """
        if (api_version, kind) not in self._kinds:
            group, _, version = api_version.rpartition("/")
            root = f"/apis/{api_version}" if group else f"/api/{version}"
            answer = await self._transport.json("GET", root, timeout_s=timeout_s)
            for row in answer["resources"]:
                if "/" not in row["name"]:
                    found = Resource(group, version, row["name"], row["kind"], namespaced=row["namespaced"])
                    self._kinds[api_version, found.kind] = found
        if (api_version, kind) not in self._kinds:
            raise NotFoundError(f"the API server does not know the kind {kind} in {api_version}")
        return self._kinds[api_version, kind]


def path_of(resource: Resource, namespace: str | None, name: str = "", subresource: str = "") -> str:
    """Return the URL path of a collection, an object or its subresource."""
    parts = ["/apis", resource.group] if resource.group else ["/api"]
    parts.append(resource.version)
    if resource.namespaced and namespace:
        parts += ["namespaces", namespace]
    parts.append(resource.plural)
    return "/".join([*parts, *(part for part in (name, subresource) if part)])


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {key: value for key, value in selectors.items() if value}


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield lines of any length (the reader's own readline stops at 64 KiB)."""
    rest = b""
    async for piece in content.iter_any():
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line
