"""A Kubernetes API client: server-side apply, list, resumable watch, logs. HTTP only, no generated models.

It speaks to the embedded API server and to real ones alike. Kinds that are not built in are found by
asking the server (discovery), once per group and version.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from leeward.ports.cluster import (
    BUILT_IN,
    Change,
    ClusterUnavailableError,
    ConflictError,
    ExpiredError,
    KubeObject,
    Listing,
    NotFoundError,
    RejectedError,
    Resource,
    WatchEvent,
)

FIELD_MANAGER = "leeward"
# The server ends a watch after this; the client goes on from the last version it saw. A connection that is
# silent for longer is dead.
WATCH_S = 240
RECONNECT_FIRST_S = 0.05
RECONNECT_MAX_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where an API server is and how to prove who we are: a bearer token, or a client certificate."""

    url: str
    ca_file: Path | None = None
    """None: the system's authorities."""
    token_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None
    """The name to verify when it is not the host of the URL."""


class KubernetesCluster:
    """The Cluster port for one API server. Close it, or use it as a context manager."""

    def __init__(self, connection: Connection) -> None:
        self._base = connection.url.rstrip("/")
        self._server_name = connection.server_name
        self._token_file = connection.token_file
        self._tls: ssl.SSLContext | bool = True
        if self._base.startswith("https:"):
            self._tls = ssl.create_default_context(
                cafile=None if connection.ca_file is None else str(connection.ca_file)
            )
            if connection.certificate_file is not None:
                self._tls.load_cert_chain(connection.certificate_file, connection.key_file)
        self._session: aiohttp.ClientSession | None = None
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
        if self._session is not None:
            await self._session.close()

    async def apply(self, item: KubeObject, *, timeout_s: float) -> KubeObject:
        """Server-side apply as field manager ``leeward``, forced."""
        resource = await self._resource_of(item, timeout_s)
        metadata = item["metadata"]
        return await self._json(
            "PATCH",
            path_of(resource, metadata.get("namespace"), metadata["name"]),
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            body=item,
            content_type="application/apply-patch+yaml",
            timeout_s=timeout_s,
        )

    async def get(self, resource: Resource, name: str, *, namespace: str | None = None, timeout_s: float) -> KubeObject:
        """Return one object."""
        return await self._json("GET", path_of(resource, namespace, name), timeout_s=timeout_s)

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
        answer = await self._json(
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
        pause_s = RECONNECT_FIRST_S
        while True:
            try:
                async with self._request(
                    "GET",
                    path_of(resource, namespace),
                    query={**query, "resourceVersion": resource_version},
                    timeout_s=timeout_s,
                    read_timeout_s=WATCH_S + timeout_s,
                ) as response:
                    heard_at_s, pause_s = loop.time(), RECONNECT_FIRST_S
                    async for line in _lines(response.content):
                        heard_at_s = loop.time()
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise _error_of(int(event["object"].get("code", 500)), event["object"])
                        resource_version = str(event["object"]["metadata"]["resourceVersion"])
                        if event["type"] != "BOOKMARK":
                            yield WatchEvent(Change(event["type"]), event["object"])
            except ClusterUnavailableError:
                if loop.time() - heard_at_s >= timeout_s or (self._session and self._session.closed):
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RECONNECT_MAX_S)

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
        await self._json("DELETE", path_of(resource, namespace, name), body=options, timeout_s=timeout_s)

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
        return await self._json(
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
        async with self._request(
            "GET",
            f"/api/v1/namespaces/{namespace}/pods/{name}/log",
            query=query,
            timeout_s=timeout_s,
            read_timeout_s=None if follow else timeout_s,
        ) as response:
            async for piece in response.content.iter_any():
                yield piece

    async def _resource_of(self, item: KubeObject, timeout_s: float) -> Resource:
        """Return where objects of this kind live; ask the server about kinds that are not built in."""
        api_version, kind = str(item["apiVersion"]), str(item["kind"])
        if (api_version, kind) not in self._kinds:
            group, _, version = api_version.rpartition("/")
            root = f"/apis/{api_version}" if group else f"/api/{version}"
            answer = await self._json("GET", root, timeout_s=timeout_s)
            for row in answer["resources"]:
                if "/" not in row["name"]:
                    found = Resource(group, version, row["name"], row["kind"], namespaced=row["namespaced"])
                    self._kinds[api_version, found.kind] = found
        if (api_version, kind) not in self._kinds:
            raise NotFoundError(f"the API server knows no kind {kind} in {api_version}")
        return self._kinds[api_version, kind]

    async def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: KubeObject | None = None,
        content_type: str = "application/json",
        timeout_s: float,
    ) -> KubeObject:
        async with self._request(
            method,
            path,
            query=query or {},
            body=body,
            content_type=content_type,
            timeout_s=timeout_s,
            read_timeout_s=timeout_s,
            total_s=timeout_s,
        ) as response:
            answer: KubeObject = json.loads(await response.read())
            return answer

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        body: KubeObject | None = None,
        content_type: str = "application/json",
        timeout_s: float,
        read_timeout_s: float | None,
        total_s: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and hand out a successful response; everything else becomes one of our errors."""
        if self._session is None:
            self._session = aiohttp.ClientSession()
        headers = {"Accept": "application/json"}
        if self._token_file is not None:
            # Read every time: bound tokens of real clusters are replaced in place.
            headers["Authorization"] = f"Bearer {self._token_file.read_text().strip()}"
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body, separators=(",", ":")).encode()
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._session.request(
                    method,
                    self._base + path,
                    params=query,
                    headers=headers,
                    data=data,
                    ssl=self._tls,
                    server_hostname=self._server_name,
                    timeout=aiohttp.ClientTimeout(total=total_s, sock_read=read_timeout_s),
                )
            async with response:
                if response.status >= 400:
                    raise _error_of(response.status, await _status_of(response))
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not self._session.closed:
                raise
            raise ClusterUnavailableError(f"{self._base}: {error or type(error).__name__}") from error


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


async def _status_of(response: aiohttp.ClientResponse) -> KubeObject:
    text = await response.text()
    try:
        status = json.loads(text)
    except ValueError:
        return {"message": text[:200]}
    return status if isinstance(status, dict) else {"message": text[:200]}


def _error_of(code: int, status: KubeObject) -> Exception:
    message = f"{status.get('message') or 'no message'} ({status.get('reason') or code})"
    match code:
        case 404:
            return NotFoundError(message)
        case 409:
            return ConflictError(message)
        case 410:
            return ExpiredError(message)
        case 429 | 500 | 502 | 503 | 504:
            return ClusterUnavailableError(message)
        case _:
            return RejectedError(message)
