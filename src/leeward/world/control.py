"""The supervisor's HTTP/JSON API on a unix socket: what the world is, and the faults to do to it."""

import json
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from leeward.core.codec import plain
from leeward.spec.problem import ProblemsError
from leeward.world import processes
from leeward.world.model import WorldConfig, WorldInfo
from leeward.world.namespaces import NOT_EMULATED
from leeward.world.problems import from_os_error, no_such_region, refusal
from leeward.world.region import RegionProcesses
from leeward.world.wan_control import WanControl

EVERYBODY = "*"
LINK_KEYS = frozenset({"from", "to", "both", "state", "delay_ms", "rate_kib_s"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ControlApi:
    """Parse, let the parts do it, answer. A refusal is ``{"problems": [...]}`` with a status of 4xx."""

    def __init__(
        self,
        config: WorldConfig,
        regions: dict[str, RegionProcesses],
        wan: WanControl | None,
        info: Callable[[], WorldInfo],
        down: Callable[[], None],
    ) -> None:
        self._config = config
        self._regions = regions
        self._wan = wan
        self._info = info
        self._down = down
        self._runner: web.AppRunner | None = None

    async def open(self, path: str) -> None:
        """Listen on the unix socket."""
        app = web.Application(middlewares=[_refusals])
        app.router.add_get("/v1/world", self._get_world)
        app.router.add_post("/v1/regions/{region}/{fault:kill|freeze|thaw|start|signal}", self._fault)
        app.router.add_get("/v1/links", self._get_links)
        app.router.add_put("/v1/links", self._put_links)
        app.router.add_post("/v1/down", self._post_down)
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.UnixSite(self._runner, path).start()

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _get_world(self, _request: web.Request) -> web.Response:
        return web.json_response(plain(self._info()))

    async def _fault(self, request: web.Request) -> web.Response:
        region = self._region(request.match_info["region"])
        match request.match_info["fault"]:
            case "kill":
                applied = await region.kill()
            case "freeze":
                applied = await region.freeze()
            case "thaw":
                applied = region.thaw()
            case "start":
                applied = region.start()
            case _:
                applied = region.signal(*_signal(await _body(request)))
        return web.json_response(plain(applied))

    async def _get_links(self, _request: web.Request) -> web.Response:
        links = await self._wan.links() if self._wan else ()
        return web.json_response({"links": plain(links)})

    async def _put_links(self, request: web.Request) -> web.Response:
        body = await _body(request)
        pairs = self._pairs(body)
        changes = _changes(body)
        if self._wan is None:
            raise refusal(
                "not-emulated",
                "links",
                "there is no WAN between the regions of this world",
                f"this machine allows no namespaces; not emulated: {', '.join(NOT_EMULATED)}",
                "run `leeward doctor` to see what a full world needs",
            )
        return web.json_response(plain(await self._wan.change(pairs, changes)))

    async def _post_down(self, _request: web.Request) -> web.Response:
        self._down()
        return web.json_response({})

    def _region(self, name: str) -> RegionProcesses:
        if name not in self._regions:
            raise no_such_region(name, tuple(self._regions))
        return self._regions[name]

    def _pairs(self, body: dict[str, Any]) -> list[tuple[str, str]]:
        sources, targets = (
            list(self._regions) if body.get(key) == EVERYBODY else [self._region(str(body.get(key))).config.name]
            for key in ("from", "to")
        )
        pairs = [(source, target) for source in sources for target in targets if source != target]
        if body.get("both"):
            pairs += [(target, source) for source, target in pairs]
        if not pairs:
            raise _malformed("from and to are the same region")
        return list(dict.fromkeys(pairs))


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ProblemsError as error:
        return web.json_response({"problems": plain(error.problems)}, status=409)
    except OSError as error:  # a TimeoutError is one, too
        problems = from_os_error(error, f"{request.method} {request.path}").problems
        return web.json_response({"problems": plain(problems)}, status=500)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except json.JSONDecodeError as error:
        raise _malformed(f"not JSON: {error}") from error
    if not isinstance(body, dict):
        raise _malformed("not an object")
    return body


def _signal(body: dict[str, Any]) -> tuple[str, signal.Signals]:
    match = body.get("match")
    if match not in processes.MATCHES:
        raise _malformed(f"match {match!r} is none of {', '.join(processes.MATCHES)}")
    try:
        return str(match), signal.Signals[str(body.get("signal"))]
    except KeyError as error:
        raise _malformed(f"signal {body.get('signal')!r} is no name such as SIGKILL") from error


def _changes(body: dict[str, Any]) -> dict[str, Any]:
    """Return what the WAN is told. A key that is not there keeps what is; null restores what was configured."""
    if unknown := set(body) - LINK_KEYS:
        raise _malformed(f"unknown keys {', '.join(sorted(unknown))}")
    changes: dict[str, Any] = {}
    if "state" in body:
        if body["state"] not in ("up", "cut"):
            raise _malformed(f"state {body['state']!r} is neither up nor cut")
        changes["cut"] = body["state"] == "cut"
    for key, least in (("delay_ms", 0.0), ("rate_kib_s", 0.001)):
        if key in body:
            value = body[key]
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise _malformed(f"{key} {value!r} is no number")
            if value is not None and value < least:
                raise _malformed(f"{key} {value!r} is too small")
            changes[key] = value
    return changes


def _malformed(why: str) -> ProblemsError:
    return refusal(
        "malformed-request", "control socket", "the request makes no sense", why, "see docs/concepts/world.md"
    )
