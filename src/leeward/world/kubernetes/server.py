"""The API server: Kubernetes' REST paths over TLS, with a bearer token.

Every failure is a ``Status`` object. Not here: what may be written (``registry``).
"""

import asyncio
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from leeward.kit.http.answers import answered
from leeward.kit.http.bodies import BodyLimits, bounded
from leeward.kit.http.questions import json_of, object_of, seconds, shown, whole_number
from leeward.kit.http.serving import one_line_logger
from leeward.ports.cluster import PODS, Change, KubeObject, Resource
from leeward.world.kubernetes import discovery, errors, logs
from leeward.world.kubernetes.disruption import evict
from leeward.world.kubernetes.registry import Registry
from leeward.world.kubernetes.selectors import matches_fields, matches_labels
from leeward.world.kubernetes.store import StoredChange

BODY_MAX_BYTES = 3 * 1024 * 1024
BODIES = BodyLimits(BODY_MAX_BYTES, in_all=64, per_client=32)
BOOKMARK_S = 15.0
WATCH_DEFAULT_S = 1800.0
WATCH_MAX_S = 86400.0
SHUTDOWN_S = 1.0
LOG_POLL_S = 0.1
HEALTH = ("healthz", "livez", "readyz")

Selects = Callable[[KubeObject], bool]


class ApiServer:
    """Serves one registry on one address."""

    def __init__(self, registry: Registry, logs_dir: Path, token: str) -> None:
        self._registry = registry
        self._store = registry.store
        self._logs_dir = logs_dir
        self._token = token
        self._runner: web.AppRunner | None = None

    def application(self) -> web.Application:
        """Return the application to serve."""
        # In this order: of a client without the token no body is read.
        middlewares = [answered(_problem), self._authenticated, bounded(BODIES, _problem)]
        app = web.Application(middlewares=middlewares, client_max_size=BODY_MAX_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def start(self, host: str, port: int, tls: ssl.SSLContext) -> None:
        """Listen; return when requests are served. Raises OSError when the address is taken."""
        # A watcher that leaves must end its handler at once, not at the next bookmark.
        self._runner = web.AppRunner(
            self.application(),
            access_log=None,
            auto_decompress=False,
            handler_cancellation=True,
            logger=one_line_logger(),
            shutdown_timeout=SHUTDOWN_S,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=tls).start()

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        parts = [part for part in request.path.split("/") if part]
        try:
            if len(parts) == 1 and parts[0] in HEALTH:
                return web.Response(text="ok")
            if request.method == "GET":
                document = discovery.describe(self._registry, parts)
                if document is not None:
                    return _json(document)
            return await self._resource_request(request, parts)
        except errors.ApiError as error:
            return _json(error.status(), status=error.code)

    @property
    def _authenticated(self) -> Middleware:
        @web.middleware
        async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            valid = scheme.lower() == "bearer" and hmac.compare_digest(
                token.encode(errors="surrogateescape"), self._token.encode()
            )
            if valid or request.path.strip("/") in HEALTH:
                return await handler(request)
            refused = errors.ApiError(401, "Unauthorized", "a valid bearer token is needed")
            response = _json(refused.status(), status=refused.code)
            response.force_close()
            return response

        return authenticate

    async def _resource_request(self, request: web.Request, parts: list[str]) -> web.StreamResponse:
        match parts:
            case ["api", version, *rest]:
                group = ""
            case ["apis", group, version, *rest]:
                pass
            case _:
                raise errors.ApiError(404, "NotFound", "the server could not find the requested resource")
        namespace = ""
        # /namespaces/X alone is the Namespace object itself; with more behind it, a place to look in.
        if len(rest) > 2 and rest[0] == "namespaces" and rest[2] != "status":
            namespace, rest = rest[1], rest[2:]
        match rest:
            case [plural]:
                resource = self._registry.resource(group, version, plural)
                return await self._collection(request, resource, namespace)
            case ["pods", name, "log"] if request.method == "GET" and not group:
                return await self._log(request, namespace, name)
            case ["pods", name, "eviction"] if request.method == "POST" and not group:
                return await self._evict(request, namespace, name)
            case [plural, name] | [plural, name, "status"]:
                resource = self._registry.resource(group, version, plural)
                return await self._object(request, resource, namespace, name, "".join(rest[2:]))
            case _:
                raise errors.ApiError(404, "NotFound", "the server could not find the requested resource")

    async def _collection(self, request: web.Request, resource: Resource, namespace: str) -> web.StreamResponse:
        labels, fields = request.query.get("labelSelector", ""), request.query.get("fieldSelector", "")

        def selects(item: KubeObject) -> bool:
            of = item["metadata"].get("namespace", "")
            return (not namespace or of == namespace) and matches_labels(labels, item) and matches_fields(fields, item)

        match request.method:
            case "GET" if request.query.get("watch") in ("1", "true"):
                return await self._watch(request, resource, selects)
            case "GET":
                return _json(
                    {
                        "kind": f"{resource.kind}List",
                        "apiVersion": resource.api_version,
                        "metadata": {"resourceVersion": str(self._store.version)},
                        "items": [item for item in self._store.list(resource) if selects(item)],
                    }
                )
            case "POST":
                body = await _body(request)
                return _json(self._registry.create(resource, namespace, body), status=201)
            case "DELETE":
                doomed = [item for item in self._store.list(resource) if selects(item)]
                for item in doomed:
                    metadata = item["metadata"]
                    self._registry.delete(resource, metadata.get("namespace", ""), metadata["name"])
                return _json({"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "items": doomed})
            case _:
                raise errors.ApiError(405, "MethodNotAllowed", f"{request.method} is not allowed here")

    async def _object(
        self, request: web.Request, resource: Resource, namespace: str, name: str, subresource: str
    ) -> web.StreamResponse:
        match request.method:
            case "GET":
                return _json(self._store.get(resource, namespace, name))
            case "PUT":
                body = await _body(request)
                return _json(self._registry.replace(resource, namespace, name, body, subresource=subresource))
            case "PATCH":
                return await self._patch(request, resource, namespace, name, subresource)
            case "DELETE":
                asked_s = whole_number(request, "gracePeriodSeconds")
                grace_s = _grace_of(object_of(await request.read())) if asked_s is None else asked_s
                return _json(self._registry.delete(resource, namespace, name, grace_s=grace_s))
            case _:
                raise errors.ApiError(405, "MethodNotAllowed", f"{request.method} is not allowed here")

    async def _patch(
        self, request: web.Request, resource: Resource, namespace: str, name: str, subresource: str
    ) -> web.StreamResponse:
        body = await _body(request)
        if request.content_type == "application/merge-patch+json":
            patched = self._registry.patch(resource, namespace, name, body, subresource=subresource)
            return _json(patched)
        if request.content_type == "application/apply-patch+yaml" and not subresource:
            manager = request.query.get("fieldManager")
            if not manager:
                raise errors.bad_request("fieldManager is required for apply")
            return _json(self._registry.apply(resource, namespace, name, body, manager=manager))
        raise errors.ApiError(
            415,
            "UnsupportedMediaType",
            "patches are application/apply-patch+yaml (JSON body) or application/merge-patch+json",
        )

    async def _watch(self, request: web.Request, resource: Resource, selects: Selects) -> web.StreamResponse:
        version_text = request.query.get("resourceVersion", "")
        lasts_s = seconds(request, "timeoutSeconds", at_most=WATCH_MAX_S) or WATCH_DEFAULT_S
        bookmarks = request.query.get("allowWatchBookmarks") in ("1", "true")
        first: list[KubeObject] = []
        if version_text in ("", "0"):
            version = self._store.version
            first = [_event("ADDED", item) for item in self._store.list(resource) if selects(item)]
        else:
            version = whole_number(request, "resourceVersion") or 0
            self._store.changes_after(version)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await _send(response, first)
        try:
            async with asyncio.timeout(lasts_s):
                async for batch in self._batches(resource, selects, version, bookmarks=bookmarks):
                    await _send(response, batch)
        except TimeoutError:
            # The normal end: the client goes on with a new request from what it saw last.
            return response
        except errors.ApiError as error:
            await _send(response, [{"type": "ERROR", "object": error.status()}])
        return response

    async def _batches(
        self, resource: Resource, selects: Selects, version: int, *, bookmarks: bool
    ) -> AsyncIterator[list[KubeObject]]:
        """Yield watch events after a version, as they come. Raises ApiError 410 when the watcher is too slow."""
        while True:
            changes = self._store.changes_after(version)
            version = changes[-1].version if changes else version
            batch = [
                event
                for change in changes
                if change.resource == resource and (event := _selected(change, selects)) is not None
            ]
            if batch:
                yield batch
            try:
                async with asyncio.timeout(BOOKMARK_S):
                    await self._store.wait(version)
            except TimeoutError:
                if bookmarks:
                    mark = {"apiVersion": resource.api_version, "kind": resource.kind}
                    yield [_event("BOOKMARK", {**mark, "metadata": {"resourceVersion": str(version)}})]

    async def _evict(self, request: web.Request, namespace: str, name: str) -> web.StreamResponse:
        options = object_of(await request.read()).get("deleteOptions") or {}
        if not isinstance(options, dict):
            raise errors.bad_request("deleteOptions must be an object")
        evict(self._registry, namespace, name, grace_s=_grace_of(options))
        return _json(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, status=201
        )

    async def _log(self, request: web.Request, namespace: str, name: str) -> web.StreamResponse:
        pod = self._store.get(PODS, namespace, name)
        containers = [container["name"] for container in pod["spec"]["containers"]]
        container = request.query.get("container", containers[0])
        if container not in containers:
            raise errors.bad_request(f"container {container} is not valid for pod {name}: {containers}")
        previous = request.query.get("previous") in ("1", "true")
        path = logs.log_path(self._logs_dir, namespace, name, container, previous=previous)
        if not path.exists():
            what = "previous terminated " if previous else ""
            raise errors.bad_request(f"{what}container {container} in pod {name} has no log")
        tail = whole_number(request, "tailLines")
        follow = request.query.get("follow") in ("1", "true") and not previous
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with path.open("rb") as file:
            logs.seek_tail(file, tail)
            while True:
                # Ask before reading: what was written before the end is then read in any case.
                last = not follow or not self._is_running(pod, container) or logs.is_replaced(file, path)
                logs.skip_truncation(file)
                while piece := file.read(64 * 1024):
                    await response.write(piece)
                if last:
                    return response
                await asyncio.sleep(LOG_POLL_S)

    def _is_running(self, pod: KubeObject, container: str) -> bool:
        present = self._store.find(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
        if present is None or present["metadata"]["uid"] != pod["metadata"]["uid"]:
            return False
        statuses = present.get("status", {}).get("containerStatuses", [])
        return any(row["name"] == container and "running" in row["state"] for row in statuses)


def _selected(change: StoredChange, selects: Selects) -> KubeObject | None:
    """Return the event a watcher with this selector sees: leaving the selection is a deletion."""
    before = change.before is not None and selects(change.before)
    after = change.change is not Change.DELETED and selects(change.item)
    if after:
        return _event("MODIFIED" if before else "ADDED", change.item)
    return _event("DELETED", change.item) if before else None


def _event(kind: str, item: KubeObject) -> KubeObject:
    return {"type": kind, "object": item}


async def _send(response: web.StreamResponse, events: list[KubeObject]) -> None:
    if events:
        lines = (json.dumps(event, separators=(",", ":")) + "\n" for event in events)
        await response.write("".join(lines).encode())


def _grace_of(options: dict[str, Any]) -> int | None:
    grace = options.get("gracePeriodSeconds")
    if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int) or not 0 <= grace < 2**31):
        raise errors.bad_request(f"gracePeriodSeconds must be a whole number, not {shown(grace)}")
    return grace


async def _body(request: web.Request) -> Any:
    return json_of(await request.read())


def _problem(status: int, code: str, because: str) -> web.Response:
    reason = "".join(word.capitalize() for word in code.split("-"))
    return _json(errors.ApiError(status, reason, because).status(), status=status)


def _json(document: KubeObject, *, status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(document, separators=(",", ":")).encode(),
        status=status,
        content_type="application/json",
    )
