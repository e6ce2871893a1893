"""The agent as a DNS server: what the machine knows, looked at whenever that changes, becomes answers.

Always true: it only reads the machine, and answers from what it last read, so nothing of it delays a decision. Without
it the agent does all the rest: a port that is taken costs the region its DNS and nothing else.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial

import structlog

from leeward.adapters.dns import lookup
from leeward.adapters.dns.threaded import ThreadedDnsServer
from leeward.agent.machine.machine import Machine
from leeward.agent.runtime.changes import Changes
from leeward.agent.runtime.supervision import keep
from leeward.core.dns import standing
from leeward.core.dns.settings import DnsSettings, Policy
from leeward.core.dns.standing import Standing
from leeward.core.dns.zone import Answer, Question, Situation, Zone
from leeward.core.values import App, Region
from leeward.kit.loops import Expected, about, follow, repeat
from leeward.ports.clock import Clock

log = structlog.get_logger()

LISTEN_AGAIN_S = 5.0
LOOK_UP_EVERY_S = 30.0
LOOK_UP_AGAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class NameStatus:
    """How names of one application are answered at this moment."""

    host: str
    policy: Policy
    ttl_s: int
    leads_to: Mapping[Region, tuple[Region, ...]]
    """By the region that users are near; a region that is on its way back gets its share of them only."""
    left_out: Mapping[Region, str]
    """Regions that no answer leads to, and why."""


class Naming:
    """Answers for the fleet's names, as one region's agent."""

    def __init__(self, settings: DnsSettings, machine: Machine, clock: Clock, changes: Changes) -> None:
        self._settings = settings
        self._machine = machine
        self._changes = changes
        self._clock = clock
        self._zone = Zone(settings, machine.me)
        self._standings: dict[App, dict[Region, Standing]] = {app.app: {} for app in settings.apps}
        hosts = {host for region in settings.regions for host in (region.gateway, region.server)}
        self._addresses = {host: lookup.literal(host) for host in sorted(hosts)}
        self._unnamed = tuple(host for host, found in self._addresses.items() if not found)
        self._situation = Situation({}, self._addresses)

    async def run(self) -> None:
        """Answer until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep("answer names", self._serve), name="answer names")
            for host in self._unnamed:
                tasks.create_task(keep("look up host", partial(self._look_up, host), host=host), name=f"look up {host}")

    def look(self) -> bool:
        """Take in what the machine knows now. Returns whether any answer may have changed."""
        now_s = self._clock.now_s()
        for app in self._settings.apps:
            view = self._machine.view(self._machine.apps[app.app], now_s)
            standings = self._standings[app.app]
            for region in app.regions:
                before = standings.get(region)
                fit, because = standing.judge(view, region)
                standings[region] = standing.follow(before, fit, because, now_s)
                if before is not None and before.fit is not fit:
                    log.info(
                        "region added to DNS answers" if fit else "region removed from DNS answers",
                        app=app.app,
                        region=region,
                        named=fit,
                        because=because,
                    )
        fresh = Situation(
            {app: standing.shares(known, now_s, self._machine.timers) for app, known in self._standings.items()},
            dict(self._addresses),
        )
        changed, self._situation = fresh != self._situation, fresh
        return changed

    def answer(self, question: Question) -> Answer:
        """Return the answer. Any thread may ask: a situation is replaced, and never changed."""
        return self._zone.answer(question, self._situation)

    def names(self) -> dict[App, NameStatus]:
        """Return how names are answered now."""
        return {
            app.app: NameStatus(
                host=app.host,
                policy=app.policy,
                ttl_s=app.ttl_s,
                leads_to={
                    region.name: self._zone.regions(app, region.name, region.name, self._situation)
                    for region in self._settings.regions
                },
                left_out={region: known.because for region, known in self._standings[app.app].items() if not known.fit},
            )
            for app in self._settings.apps
        }

    async def _serve(self) -> None:
        host, port = self._settings.listen_host, self._settings.listen_port
        refused = Expected((OSError,), about(LISTEN_AGAIN_S), "DNS server could not bind; retrying", "error")
        listening = follow("serve DNS", self._listen, about(LISTEN_AGAIN_S), (refused,), host=host, port=port)
        async for server in listening:
            await self._keep_fresh(server)

    async def _listen(self) -> AsyncIterator[ThreadedDnsServer]:
        self.look()
        async with ThreadedDnsServer(self._settings.listen_host, self._settings.listen_port, self.answer) as server:
            yield server

    async def _keep_fresh(self, server: ThreadedDnsServer) -> None:
        version = self._changes.version
        while True:
            if self.look():
                server.clear_cache()
            version = await self._changes.after(version, within_s=self.look_within_s())

    def look_within_s(self) -> float:
        """Return after which time to look again although nothing was reported.

        A lease at most, less where a silence begins to count before, and a heartbeat while a region gets users back.
        """
        now_s, timers = self._clock.now_s(), self._machine.timers
        standings = [each for known in self._standings.values() for each in known.values()]
        if any(standing.ramps(each, now_s, timers) for each in standings):
            return timers.heartbeat_s
        return min(self._machine.silence_at_s(now_s) - now_s, timers.lease_s)

    async def _look_up(self, host: str) -> None:
        async def look_up() -> None:
            # The last addresses stay in use while the resolver has none.
            found = await lookup.addresses(host) or self._addresses[host]
            if found != self._addresses[host]:
                self._addresses[host] = found
                self._changes.publish()

        await repeat(
            "look up a server's addresses",
            look_up,
            every_s=lambda: LOOK_UP_EVERY_S if self._addresses[host] else LOOK_UP_AGAIN_S,
        )
