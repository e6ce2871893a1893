"""The agent's API: for operators, for the other agents, for Prometheus. mTLS: nobody speaks without a certificate.

Other regions' agents may probe and promise; only the operator may change anything.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import aiohttp
from aiohttp import web

from leeward.agent import events as on
from leeward.agent.conditions import Conditions
from leeward.agent.deep import DeepHealths
from leeward.agent.naming import Naming
from leeward.agent.peers import HttpPeers
from leeward.agent.runtime import Runtime
from leeward.core import failovers
from leeward.core.codec import DecodeError, decode, plain
from leeward.core.values import App, LastDrill, Promise, Region, ReplicationMode
from leeward.ports.quorum import QuorumUnavailableError

API_VERSION = "leeward.dev/v1alpha1"
OPERATOR = "operator"
REQUEST_TIMEOUT_S = 5.0
FORWARDED = "X-Leeward-Forwarded"
PROBLEM_STATUS = {True: 200, False: 409}


def application(
    runtime: Runtime, peers: HttpPeers, conditions: Conditions, deep: DeepHealths, naming: Naming | None = None
) -> web.Application:
    """Return the web application that serves one agent."""
    api = _Api(runtime, peers, conditions, deep, naming)
    app = web.Application(middlewares=[_authorize])
    app.add_routes(
        [
            web.get("/healthz", api.healthz),
            web.get("/metrics", api.metrics),
            web.get("/v1/status", api.status),
            web.get("/v1/vantage", api.vantage),
            web.get("/v1/records", api.records),
            web.put("/v1/promises", api.promise),
            web.post("/v1/apps/{app}/drill", api.drill),
            web.post("/v1/apps/{app}/{verb:switchover|failover|mode|pause|resume}", api.change),
        ]
    )
    return app


@web.middleware
async def _authorize(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    name = _common_name(request)
    if request.method == "POST" and name != OPERATOR and FORWARDED not in request.headers:
        return _problem(403, "not-the-operator", f"{name} may not change the fleet: show the operator's certificate")
    return await handler(request)


def _common_name(request: web.Request) -> str:
    """Return whom the client's certificate names; TLS has verified it against the fleet's CA."""
    transport = request.transport
    certificate = transport.get_extra_info("peercert") if transport is not None else None
    for relative in (certificate or {}).get("subject", ()):
        for key, value in relative:
            if key == "commonName":
                return str(value)
    return ""


def _problem(status: int, code: str, because: str) -> web.Response:
    return web.json_response({"apiVersion": API_VERSION, "code": code, "because": because}, status=status)


class _Api:
    def __init__(
        self, runtime: Runtime, peers: HttpPeers, conditions: Conditions, deep: DeepHealths, naming: Naming | None
    ) -> None:
        self._runtime = runtime
        self._machine = runtime.machine
        self._peers = peers
        self._conditions = conditions
        self._deep = deep
        self._naming = naming

    async def healthz(self, request: web.Request) -> web.Response:
        """The process answers; whether the region serves is another question (vantage)."""
        return web.Response(text="ok\n")

    async def metrics(self, request: web.Request) -> web.Response:
        # Here, so that an agent that starts again is back the sooner.
        from leeward.agent.metrics import exposition

        text = exposition(self._machine, self._runtime.clock.now_s(), self._deep.known)
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
            "drills": plain(store.drills),
            "deep": {
                name: {"healthy": deep.healthy, "because": deep.because, "age_s": round(now_s - deep.at_s, 3)}
                for name, deep in self._deep.known.items()
            },
            "names": None if self._naming is None else plain(self._naming.names()),
        }
        return web.json_response(body)

    async def records(self, request: web.Request) -> web.Response:
        after = int(request.query.get("after", "0"))
        records = [(revision, record) for revision, record in self._machine.store.records if revision > after]
        return web.json_response(
            {
                "apiVersion": API_VERSION,
                "records": [plain(record) for _, record in records],
                "next": max([after, *(revision for revision, _ in records)]),
            }
        )

    async def promise(self, request: web.Request) -> web.Response:
        try:
            promise = decode(Promise, await request.text())
        except DecodeError as error:
            return _problem(400, "not-a-promise", str(error))
        if _common_name(request) != promise.region:
            return _problem(403, "not-yours", f"only {promise.region} can promise for itself")
        self._runtime.post(on.PromiseReceived(promise))
        return web.Response(status=204)

    async def drill(self, request: web.Request) -> web.Response:
        """Take in how a drill ended; when one passed last is kept."""
        app = App(request.match_info["app"])
        if app not in self._machine.apps:
            return _problem(404, "no-such-application", f"there is no application {app}")
        try:
            drill = decode(LastDrill, await request.text())
        except DecodeError as error:
            return _problem(400, "not-a-drill", str(error))
        before = self._machine.store.drills.get(app)
        passed_at_s = drill.at_unix_s if drill.verdict == "passed" else before.passed_at_unix_s if before else None
        try:
            kept = replace(drill, passed_at_unix_s=passed_at_s)
            await self._runtime.record_drill(app, kept, timeout_s=REQUEST_TIMEOUT_S)
        except QuorumUnavailableError as error:
            return _problem(504, "no-answer", f"the quorum store did not answer: {error}")
        return web.json_response({"apiVersion": API_VERSION, "accepted": True, "because": f"{drill.drill} is kept"})

    async def change(self, request: web.Request) -> web.Response:
        text = await request.text()
        try:
            event = self._event(App(request.match_info["app"]), request.match_info["verb"], json.loads(text or "{}"))
        except (KeyError, ValueError) as error:
            return _problem(400, "bad-request", f"cannot read the request: {error!r}")
        try:
            reply = await self._runtime.ask(event, timeout_s=REQUEST_TIMEOUT_S)
        except TimeoutError:
            return _problem(504, "no-answer", "the quorum store did not answer in time")
        if reply.ask_instead is not None and FORWARDED not in request.headers:
            try:
                status, answer = await self._peers.forward(
                    reply.ask_instead,
                    request.path,
                    text,
                    {FORWARDED: self._machine.me, "Content-Type": "application/json"},
                    timeout_s=REQUEST_TIMEOUT_S,
                )
            except (aiohttp.ClientError, TimeoutError, OSError):
                because = f"{reply.because}, and its agent does not answer"
                return _problem(504, "no-answer", because)
            return web.Response(status=status, text=answer, content_type="application/json")
        body = {"apiVersion": API_VERSION, "request": event.request, "accepted": reply.accepted}
        return web.json_response(body | {"because": reply.because}, status=PROBLEM_STATUS[reply.accepted])

    def _event(self, app: App, verb: str, body: dict[str, Any]) -> on.Request:
        number = self._runtime.new_request()
        match verb:
            case "switchover":
                return on.SwitchoverRequested(number, app, Region(body["to"]), bool(body.get("dry_run", False)))
            case "failover":
                return on.FailoverRequested(number, app, Region(body["to"]), bool(body.get("dry_run", False)))
            case "mode":
                return on.ModeRequested(number, app, ReplicationMode(body["mode"]))
            case "pause":
                return on.PauseRequested(number, app, paused=True)
            case _:
                return on.PauseRequested(number, app, paused=False)
