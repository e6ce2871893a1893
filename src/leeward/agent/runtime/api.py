"""The agent's API: for operators, for the other agents, for Prometheus. mTLS: no request without a certificate.

Other regions' agents may probe and promise. Whatever changes the fleet must be signed by an operator, also when another
agent passes it on (``agent.runtime.authorization``).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from leeward.agent.machine import events as on
from leeward.agent.machine.visibility import INSTANCE, certificates_of, records_of, status_of, visible
from leeward.agent.runtime.authorization import HEADER, NotAllowedError, RefusedError, Verifier
from leeward.agent.runtime.peers import HttpPeers
from leeward.agent.runtime.runtime import Runtime
from leeward.agent.services.certificates import Certificates
from leeward.agent.services.conditions import NONE, Conditions
from leeward.agent.services.deep_health import DeepHealths
from leeward.agent.services.dns import Naming
from leeward.agent.services.store_keeper import StoreKeeper
from leeward.core import failovers
from leeward.core.certificates import RegionCertificates
from leeward.core.codec import DecodeError, decode, plain
from leeward.core.conditions.certificate_conditions import Known
from leeward.core.identities import Grant, Right, region_uri, uris
from leeward.core.store_members import StoreMember
from leeward.core.values import App, Asked, LastDrill, Promise, Region, ReplicationMode
from leeward.kit.http.answers import answered
from leeward.kit.http.bodies import BodyLimits, bounded
from leeward.kit.http.questions import (
    BadRequestError,
    finite,
    flag_of,
    object_of,
    shown,
    text_of,
    whole_number,
)
from leeward.kit.http.refusals import Refusals
from leeward.ports.quorum import QuorumUnavailableError

API_VERSION = "leeward.dev/v1alpha1"
REQUEST_TIMEOUT_S = 5.0
FORWARDED = "X-Leeward-Forwarded"
# A promise (PUT) comes from a region, not from an operator.
CHANGING = ("POST", "PATCH", "DELETE")
STEERING = ("switchover", "pause", "resume")
ASKED = web.RequestKey("asked", Asked)
PROBLEM_STATUS = {True: 200, False: 409}
BODY_MAX = 64 * 1024
"""Bytes: the longest is a request to forward, with a name or two."""


class Refusing(Protocol):
    """An instance manager, as far as the metrics need it."""

    @property
    def refused(self) -> Mapping[str, int]:
        """How many clients it has refused since its start, by reason."""
        ...


def application(
    runtime: Runtime,
    peers: HttpPeers,
    conditions: Conditions,
    deep: DeepHealths,
    verifier: Verifier,
    refusals: Refusals,
    naming: Naming | None = None,
    keeper: StoreKeeper | None = None,
    certificates: Certificates | None = None,
    instances: Mapping[App, Refusing] = {},
) -> web.Application:
    """Return the web application that serves one agent.

    ``refusals``: those of its own port. ``instances``: the region's instance managers, which report theirs.
    """
    api = _Api(runtime, peers, conditions, deep, refusals, naming, keeper, certificates, instances)
    limits = BodyLimits(BODY_MAX)
    middlewares = [answered(_problem), bounded(limits, _problem), _authorized(runtime, verifier, refusals)]
    app = web.Application(middlewares=middlewares, client_max_size=BODY_MAX)
    app.add_routes(
        [
            web.get("/healthz", api.healthz),
            web.get("/metrics", api.metrics),
            web.get("/v1/status", api.status),
            web.get("/v1/vantage", api.vantage),
            web.get("/v1/records", api.records),
            web.get("/v1/store", api.store),
            web.get("/v1/certificates", api.certificates),
            web.put("/v1/promises", api.promise),
            web.post("/v1/apps/{app}/drill", api.drill),
            web.post("/v1/apps/{app}/{verb:switchover|failover|mode|pause|resume}", api.change),
        ]
    )
    return app


def _authorized(runtime: Runtime, verifier: Verifier, refusals: Refusals) -> Middleware:
    """Return what lets a request that changes something pass only with an operator's authorization."""

    @web.middleware
    async def authorize(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method not in CHANGING:
            return await handler(request)
        body = await request.read() if HEADER in request.headers else b""
        try:
            request[ASKED] = verifier.verify(
                request.headers.get(HEADER),
                request.method,
                request.path_qs,
                body,
                needs=_needs(request),
                now_unix_s=runtime.clock.unix_s(),
            )
        except RefusedError as error:
            because = f"request refused: {error}"
            refusals.not_permitted(request, str(error), event="request refused")
            code = "not-allowed" if isinstance(error, NotAllowedError) else "not-the-operator"
            return _problem(403, code, because)
        return await handler(request)

    return authorize


def _needs(request: web.Request) -> Grant:
    """Return what a request that changes something takes."""
    where = request.match_info
    right = Right.STEER if where.get("verb") in STEERING else Right.BREAK
    return Grant(where.get("app"), right)


def _certificate(request: web.Request) -> Mapping[str, Any]:
    """Return the client's certificate; TLS has verified it against the fleet's CA."""
    transport = request.transport
    found: Mapping[str, Any] | None = transport.get_extra_info("peercert") if transport is not None else None
    return found or {}


def _problem(status: int, code: str, because: str) -> web.Response:
    return web.json_response({"apiVersion": API_VERSION, "code": code, "because": because}, status=status)


class _Api:
    def __init__(
        self,
        runtime: Runtime,
        peers: HttpPeers,
        conditions: Conditions,
        deep: DeepHealths,
        refusals: Refusals,
        naming: Naming | None,
        keeper: StoreKeeper | None,
        certificates: Certificates | None,
        instances: Mapping[App, Refusing],
    ) -> None:
        self._runtime = runtime
        self._machine = runtime.machine
        self._peers = peers
        self._conditions = conditions
        self._deep = deep
        self._refusals = refusals
        self._instances = instances
        self._naming = naming
        self._keeper = keeper
        self._certificates_known: Known = NONE if certificates is None else certificates.known

    async def healthz(self, request: web.Request) -> web.Response:
        """The process answers; whether the region serves is another question (vantage)."""
        return web.Response(text="ok\n")

    async def metrics(self, request: web.Request) -> web.Response:
        # Here, so that an agent that starts again is back the sooner.
        from leeward.agent.runtime.metrics import exposition

        now_s, apps = self._runtime.clock.now_s(), self._visible(request)
        refused = {
            self._refusals.server: self._refusals.counts,
            **{f"{INSTANCE}{name}": instance.refused for name, instance in self._instances.items()},
        }
        text = exposition(self._machine, now_s, self._deep.known, self._certificates_known, refused, apps)
        return web.Response(body=text, content_type="text/plain")

    async def vantage(self, request: web.Request) -> web.Response:
        return web.json_response(plain(self._machine.serving(self._runtime.clock.now_s())))

    async def status(self, request: web.Request) -> web.Response:
        machine, now_s = self._machine, self._runtime.clock.now_s()
        store = machine.store
        body: dict[str, Any] = {
            "apiVersion": API_VERSION,
            "fleet": machine.settings.fleet,
            "region": machine.me,
            "revision": store.revision,
            "age_s": round(now_s - store.heard_at_s, 3) if store.revision else None,
            "lease_left_s": round(machine.lease_until_s - now_s, 3),
            "quorum_leader": machine.leader,
            "answered": sorted(r for r, seen in store.seen.items() if now_s - seen.at_s < machine.timers.lease_s),
            "topologies": {name: plain(stored.topology) for name, stored in store.topologies.items()},
            "objectives": {
                name: {"rto_s": app.settings.rto_s, "rpo_s": app.settings.rpo_s} for name, app in machine.apps.items()
            },
            "because": {name: app.because for name, app in machine.apps.items()},
            "heartbeats": {
                region: plain(seen.heartbeat) | {"age_s": round(now_s - seen.at_s, 3)}
                for region, seen in store.seen.items()
            },
            "vantages": plain(machine.vantages),
            "pods_ready": {name: len(app.pods) for name, app in machine.apps.items()},
            "instances": {name: plain(app.instance) for name, app in machine.apps.items()},
            "lags_s": {name: app.lags_s(now_s) for name, app in machine.apps.items()},
            "conditions": self._conditions.documents(),
            "last_failovers": {
                name: plain(failovers.last((record for _, record in store.records), name, machine.me))
                for name in machine.apps
            },
            "delays": plain(machine.delays),
            "tallies": {name: plain(tally) for name, (tally, _) in store.tallies.items()},
            "drills": plain(store.drills),
            "deep": {
                name: {"healthy": deep.healthy, "because": deep.because, "age_s": round(now_s - deep.at_s, 3)}
                for name, deep in self._deep.known.items()
            },
            "store": plain(machine.store_members),
            "names": None if self._naming is None else plain(self._naming.names()),
        }
        return web.json_response(status_of(body, self._visible(request)))

    async def store(self, request: web.Request) -> web.Response:
        """What this agent knows of its own member of the quorum store."""
        return web.json_response(plain(StoreMember() if self._keeper is None else self._keeper.own))

    async def certificates(self, request: web.Request) -> web.Response:
        """What this agent knows of its region's certificates."""
        known = self._certificates_known.get(self._machine.me, ())
        return web.json_response(plain(RegionCertificates(certificates_of(known, self._visible(request)))))

    async def records(self, request: web.Request) -> web.Response:
        after = whole_number(request, "after") or 0
        newer = [(revision, record) for revision, record in self._machine.store.records if revision > after]
        records = records_of(newer, self._visible(request))
        return web.json_response(
            {
                "apiVersion": API_VERSION,
                "records": [plain(record) for _, record in records],
                "next": max([after, *(revision for revision, _ in newer)]),
            }
        )

    def _visible(self, request: web.Request) -> frozenset[App] | None:
        return visible(self._machine.settings.fleet, uris(_certificate(request)))

    async def promise(self, request: web.Request) -> web.Response:
        try:
            promise = decode(Promise, await request.read())
        except DecodeError as error:
            return _problem(400, "not-a-promise", shown(str(error)))
        if region_uri(self._machine.settings.fleet, promise.region) not in uris(_certificate(request)):
            because = f"only {promise.region} can promise for itself"
            self._refusals.not_permitted(request, because)
            return _problem(403, "not-yours", because)
        self._runtime.post(on.PromiseReceived(promise))
        return web.Response(status=204)

    async def drill(self, request: web.Request) -> web.Response:
        """Take in how a drill ended; when one passed last is kept."""
        app = App(request.match_info["app"])
        if app not in self._machine.apps:
            return _problem(404, "no-such-application", f"there is no application {shown(app)}")
        try:
            drill = decode(LastDrill, await request.read())
        except DecodeError as error:
            return _problem(400, "not-a-drill", shown(str(error)))
        finite(drill.at_unix_s, "at_unix_s")
        before = self._machine.store.drills.get(app)
        passed_at_s = drill.at_unix_s if drill.verdict == "passed" else before.passed_at_unix_s if before else None
        try:
            kept = replace(drill, passed_at_unix_s=passed_at_s)
            await self._runtime.record_drill(app, kept, timeout_s=REQUEST_TIMEOUT_S)
        except QuorumUnavailableError as error:
            return _problem(504, "no-answer", f"the quorum store did not answer: {error}")
        return web.json_response({"apiVersion": API_VERSION, "accepted": True, "because": f"{drill.drill} is recorded"})

    async def change(self, request: web.Request) -> web.Response:
        app, body = App(request.match_info["app"]), await request.read()
        event = self._event(app, request.match_info["verb"], object_of(body), request[ASKED])
        try:
            reply = await self._runtime.ask(event, timeout_s=REQUEST_TIMEOUT_S)
        except TimeoutError:
            return _problem(504, "no-answer", "the quorum store did not answer in time")
        if reply.ask_instead is not None and FORWARDED not in request.headers:
            try:
                status, text = await self._peers.forward(
                    reply.ask_instead,
                    request.path,
                    body.decode(),
                    # The operator's own authorization: the agent that executes it verifies it, too.
                    {FORWARDED: self._machine.me, HEADER: request.headers[HEADER], "Content-Type": "application/json"},
                    timeout_s=REQUEST_TIMEOUT_S,
                )
            except (aiohttp.ClientError, TimeoutError, OSError):
                because = f"{reply.because}, and its agent does not answer"
                return _problem(504, "no-answer", because)
            return web.Response(status=status, text=text, content_type="application/json")
        answer = {"apiVersion": API_VERSION, "request": event.request, "accepted": reply.accepted}
        return web.json_response(answer | {"because": reply.because}, status=PROBLEM_STATUS[reply.accepted])

    def _event(self, app: App, verb: str, body: dict[str, Any], asked: Asked) -> on.Request:
        number = self._runtime.new_request()
        match verb:
            case "switchover":
                to, dry_run = Region(text_of(body, "to")), flag_of(body, "dry_run")
                return on.SwitchoverRequested(number, app, to, dry_run, asked)
            case "failover":
                to, dry_run = Region(text_of(body, "to")), flag_of(body, "dry_run")
                return on.FailoverRequested(number, app, to, dry_run, asked)
            case "mode":
                return on.ModeRequested(number, app, _mode_of(body), asked)
            case "pause":
                return on.PauseRequested(number, app, paused=True, asked=asked)
            case _:
                return on.PauseRequested(number, app, paused=False, asked=asked)


def _mode_of(body: dict[str, Any]) -> ReplicationMode:
    text = text_of(body, "mode")
    if text not in list(ReplicationMode):
        raise BadRequestError(f"mode must be one of {', '.join(ReplicationMode)}, not {shown(text)}")
    return ReplicationMode(text)
