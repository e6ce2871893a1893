"""The supervisor's HTTP/JSON API on a unix socket: what the world is, and the faults to inject."""

import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import structlog
from aiohttp import web

from leeward.base.problem import ProblemsError
from leeward.core.codec import plain
from leeward.kit.http.answers import answered, failure
from leeward.kit.http.questions import BadRequestError, object_of, shown
from leeward.kit.http.serving import one_line_logger
from leeward.world import processes
from leeward.world.control_socket import asked_by_us
from leeward.world.model import WorldConfig, WorldInfo
from leeward.world.namespaces import NOT_EMULATED
from leeward.world.problems import from_os_error, no_such_region, refusal
from leeward.world.region import RegionProcesses
from leeward.world.wan_control import WanControl

EVERYBODY = "*"
LINK_NUMBER_MAX = 1e9
LINK_KEYS = frozenset({"from", "to", "both", "state", "delay_ms", "rate_kib_s"})

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ControlApi:
    """Parses requests, passes them to the parts of the world, and answers.

    A failure is answered with ``{"problems": [...]}``: 400 for an invalid request, 409 or 500 otherwise.
    """

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

    def application(self) -> web.Application:
        """Return the application to serve."""
        # Its owner's own socket: only basic limits.
        app = web.Application(middlewares=[answered(_problem), _refusals])
        app.router.add_get("/v1/world", self._get_world)
        app.router.add_post("/v1/regions/{region}/{fault:kill|freeze|thaw|start|signal}", self._fault)
        app.router.add_get("/v1/links", self._get_links)
        app.router.add_put("/v1/links", self._put_links)
        app.router.add_post("/v1/down", self._post_down)
        return app

    async def open(self, path: str) -> None:
        """Listen on the unix socket."""
        self._runner = web.AppRunner(
            self.application(),
            handle_signals=False,
            access_log=None,
            auto_decompress=False,
            logger=one_line_logger(),
            shutdown_timeout=1.0,
        )
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
            list(self._regions) if name == EVERYBODY else [self._region(name).config.name]
            for name in (_region_name(body, key) for key in ("from", "to"))
        )
        pairs = [(source, target) for source in sources for target in targets if source != target]
        if body.get("both"):
            pairs += [(target, source) for source, target in pairs]
        if not pairs:
            raise BadRequestError("from and to are the same region")
        return list(dict.fromkeys(pairs))


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        if not asked_by_us(request):
            return web.json_response({"problems": plain(_stranger().problems)}, status=403)
        return await handler(request)
    except ProblemsError as error:
        return web.json_response({"problems": plain(error.problems)}, status=409)
    except OSError as error:  # a TimeoutError is one, too
        found = failure(request, error)
        log.exception("request failed", **found)
        problems = [
            replace(each, why=f"{each.why}; see the log, request {found['request']}")
            for each in from_os_error(error, f"{request.method} {request.path}").problems
        ]
        return web.json_response({"problems": plain(problems)}, status=500)


async def _body(request: web.Request) -> dict[str, Any]:
    return object_of(await request.read())


def _region_name(body: dict[str, Any], key: str) -> str:
    name = body.get(key)
    if not isinstance(name, str):
        raise BadRequestError(f"{key} {shown(name)} is not a region or {EVERYBODY}")
    return name


def _signal(body: dict[str, Any]) -> tuple[str, signal.Signals]:
    match = body.get("match")
    if not isinstance(match, str) or match not in processes.MATCHES:
        raise BadRequestError(f"match {shown(match)} is not one of {', '.join(processes.MATCHES)}")
    try:
        return match, signal.Signals[str(body.get("signal"))]
    except KeyError as error:
        raise BadRequestError(f"signal {shown(body.get('signal'))} is not a signal name such as SIGKILL") from error


def _changes(body: dict[str, Any]) -> dict[str, Any]:
    """Return the command for the WAN. A missing key keeps the current value; null restores the configured one."""
    if unknown := set(body) - LINK_KEYS:
        raise BadRequestError(f"unknown keys {shown(sorted(unknown))}")
    changes: dict[str, Any] = {}
    if "state" in body:
        if body["state"] not in ("up", "cut"):
            raise BadRequestError(f"state {shown(body['state'])} is not up or cut")
        changes["cut"] = body["state"] == "cut"
    for key, least in (("delay_ms", 0.0), ("rate_kib_s", 0.001)):
        if key in body:
            value = body[key]
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise BadRequestError(f"{key} {shown(value)} is not a number")
            if value is not None and not least <= value <= LINK_NUMBER_MAX:
                raise BadRequestError(f"{key} {shown(value)} is not between {least:g} and {LINK_NUMBER_MAX:g}")
            changes[key] = value
    return changes


def _stranger() -> ProblemsError:
    return refusal(
        "not-your-world",
        "control socket",
        "this world belongs to another user",
        "only the user who started a world may control it",
        "run the command as that user",
    )


def _problem(status: int, code: str, because: str) -> web.Response:
    """Return a refusal by the API itself: what is requested does not exist, or the request failed."""
    found = refusal(code, "control socket", "the request was not served", because, "see docs/concepts/world.md")
    return web.json_response({"problems": plain(found.problems)}, status=status)
