"""Where this region's gateway routes, by how the others look from here and what the topologies state.

And whether it answers users at all.
"""

from collections.abc import Iterable, Mapping

from leeward.agent.machine import actions as do
from leeward.agent.machine.application import Application
from leeward.agent.machine.log import DecisionLog
from leeward.agent.machine.outbox import Outbox
from leeward.core import routing
from leeward.core.actions import Note
from leeward.core.settings import AgentSettings
from leeward.core.values import App, Region, Vantage
from leeward.core.view import View
from leeward.ports.gateway import Address, Route


class Traffic:
    """How the other regions have looked, and the routes the gateway last received."""

    def __init__(
        self,
        settings: AgentSettings,
        nearest: tuple[Region, ...],
        apps: Mapping[App, Application],
        decision_log: DecisionLog,
        out: Outbox,
    ) -> None:
        self.vantages: dict[Region, Vantage] = {}
        self.health: dict[Region, routing.Health] = {}
        self.gateway_problem: str | None = None
        """Why this region's own gateway does not answer users; None while it does, or was not asked yet."""
        self._gateway: routing.Health | None = None
        self._me = settings.region
        self._nearest = nearest
        self._apps = apps
        self._decision_log = decision_log
        self._out = out
        self._routes: tuple[Route, ...] | None = None
        self._number = 0

    def probed(self, region: Region, vantage: Vantage) -> bool:
        """Take in what a probe found; False when nothing looks different."""
        known, seemed = self.health.get(region), self.vantages.get(region)
        health = routing.observe(known, vantage.serving, self._out.now_s)
        seems = vantage if health.serving == vantage.serving else Vantage(True, vantage.because)
        self.health[region], self.vantages[region] = health, seems
        return (health is not known and health != known) or seems != seemed

    def gateway_tried(self, problem: str | None) -> bool:
        """Take in whether our own gateway answered as it does a user; False when nothing looks different."""
        self._gateway = routing.observe(self._gateway, problem is None, self._out.now_s)
        seemed, self.gateway_problem = self.gateway_problem, None if self._gateway.serving else problem
        return seemed != self.gateway_problem

    def route(self, views: Iterable[View]) -> None:
        """Send the gateway its routes, when they differ from the last ones."""
        now_s = self._out.now_s
        # Until our pods were looked at, the gateway keeps the routes it has: a failover does not wait longer for that.
        blind_until_s = [
            app.patient_until_s
            for app in self._apps.values()
            if not app.pods_seen and now_s < app.patient_until_s and self._me in app.settings.data_regions
        ]
        if blind_until_s:
            self._out.wake_by(min(blind_until_s))
            return
        routes = tuple(self._route(view) for view in views)
        if routes != self._routes:
            self._routes = routes
            self._number += 1
            self._out.actions.append(do.ApplyRoutes(self._number, routes))

    def _route(self, view: View) -> Route:
        settings, app = view.app, self._apps[view.app.name]
        fallbacks = routing.fallbacks(view, self._nearest, self.health)
        return Route(
            app=settings.name,
            epoch=view.topology.epoch if view.topology is not None else 0,
            # Where it has no pods, none are watched.
            pods=app.pods if app.pods_seen or self._me not in settings.data_regions else None,
            instance=Address(settings.instance_host, settings.instance_port) if settings.instance_host else None,
            primary=routing.primary_route(view),
            fallbacks=fallbacks,
            stand_in=routing.stand_in(view, fallbacks),
        )

    def applied(self, number: int) -> None:
        """Put into the log that the gateway leads to a new primary."""
        if number != self._number or self._routes is None:
            return
        for route in self._routes:
            app = self._apps[route.app]
            if route.primary is None or route.epoch == app.routed_epoch:
                continue
            app.routed_epoch = route.epoch
            because = f"the gateway of {self._me} sends writes to {route.primary} under epoch {route.epoch}"
            self._decision_log.record(route.app, route.epoch, Note("PrimaryRouted", because))
