"""The agent without any I/O: events in, actions out. The simulator drives this very code.

Level-triggered: after every event the whole situation is judged again, and whatever is missing is asked
for again. Nothing here waits, reads a clock or draws a number; time comes with each event.

Always true: a lease is fed only to an instance that accepted an order as primary of the epoch in force, and only
as far as a heartbeat that committed allows.
"""

from collections.abc import Iterable
from typing import assert_never

from leeward.agent import actions as do
from leeward.agent import events as on
from leeward.agent import relevance, requests
from leeward.agent.application import Application
from leeward.agent.store import StoreCopy
from leeward.core import failover, keys, leadership, lease, rejoin, replication, routing
from leeward.core.actions import Note, Propose, Vow
from leeward.core.codec import encode
from leeward.core.settings import AgentSettings
from leeward.core.values import App, Heartbeat, InstanceReport, Phase, Record, Region, Role, Vantage
from leeward.core.view import Fence, View
from leeward.ports.gateway import Address, Route
from leeward.ports.quorum import Change, Compare, Delete, Outcome, Put

# Heartbeats that may be on their way at once: the store may stall for an election of its own.
HEARTBEATS_IN_FLIGHT = 6
# After a transaction without an answer, and after an order the instance did not take.
RETRY_S = 0.1
# Leadership of the store moves at most this often, and only when nothing else moves.
LEADER_HOLD_DOWN_S = 3.0
NEVER_S = float("inf")
DECISIONS_KEPT = 500
DECISIONS_TRIMMED_AT_ONCE = 100


class Machine:
    """One region's agent. ``handle`` is its only door; it is not thread-safe and needs no lock."""

    def __init__(self, settings: AgentSettings, incarnation: str) -> None:
        self.settings = settings
        self.me = settings.region
        self.timers = settings.timers
        self.incarnation = incarnation
        self.store = StoreCopy(settings.fleet)
        self.apps = {app.name: Application(app) for app in settings.apps}
        self.vantages: dict[Region, Vantage] = {}
        self.health: dict[Region, routing.Health] = {}
        self.leader: Region | None = None
        self.lease_until_s = 0.0
        self._regions = tuple(region.name for region in settings.regions)
        self._nearest = tuple(
            region.name for region in sorted(settings.regions, key=lambda r: r.rtt_s) if region.name != self.me
        )
        first = settings.apps[0].data_regions if settings.apps else ()
        self._preferred = (*first, *(region for region in self._regions if region not in first))
        self._heartbeat_keys = {keys.heartbeat(settings.fleet, region): region for region in self._regions}
        self._my_heartbeat = keys.heartbeat(settings.fleet, self.me)
        self._my_fence = keys.fence(settings.fleet, self.me)
        self._probes = tuple(
            do.Probe(region, self.timers.probe_timeout_s) for region in self._regions if region != self.me
        )
        self._serves = Vantage(True, f"{self.me} holds its lease")
        self._now_s = 0.0
        self._unix_s = 0.0
        self._numbers = 0
        self._sequence = 0
        self._beat_at_s = 0.0
        self._beats: dict[int, float] = {}
        self._probing: set[Region] = set()
        self._routes: tuple[Route, ...] | None = None
        self._routes_number = 0
        self._leader_moved_at_s = 0.0
        self._patient_until_s = 0.0
        """Until then, pods that were not looked at yet are as the agent before this one knew them."""
        self._requests: dict[int, str] = {}
        self._trimming: int | None = None
        self._judge_at_s = NEVER_S
        """When time alone may change a decision."""
        self._out: list[do.Action] = []

    # -- the door ---------------------------------------------------------------------------------

    def handle(self, event: on.Event, now_s: float, unix_s: float) -> list[do.Action]:
        """Take in one event at ``now_s`` of the boot clock; return what to do, in order."""
        self._now_s, self._unix_s = now_s, unix_s
        self._out = []
        relevant = self._take(event)
        if self.store.revision:
            due = now_s >= self._beat_at_s
            relevant = relevant or due or now_s >= self._judge_at_s
            if due:
                self._beat()
            if relevant or not relevance.quiet(self.store, self.me, self.lease_until_s, now_s, self.timers):
                self._judge_at_s = NEVER_S
                self._route([self._judge(app) for app in self.apps.values()])
                self._place_leader()
        return self._out

    @property
    def wake_at_s(self) -> float:
        """When time alone calls for the next event, ``Woke``."""
        if not self.store.revision:
            return NEVER_S
        return self._judge_at_s if self._judge_at_s < self._beat_at_s else self._beat_at_s

    def serving(self, now_s: float) -> Vantage:
        """Return what this region answers when another one asks whether it serves."""
        if now_s < self.lease_until_s:
            return self._serves
        return Vantage(False, f"{self.me} has no lease: it cannot reach the quorum")

    def view(self, app: Application) -> View:
        """Return what is known of an application now: the input of every decision about it."""
        stored = self.store.topologies.get(app.settings.name)
        topology = stored.topology if stored is not None else None
        epoch = topology.epoch if topology is not None else 0
        promises = {
            region: promise
            for (name, region), promise in self.store.promises.items()
            if name == app.settings.name and promise.epoch == epoch
        }
        for region, promise in app.direct_promises.items():
            if promise.epoch == epoch:
                promises.setdefault(region, promise)
        deposed_seen_at_s = 0.0
        if stored is not None and topology is not None and topology.deposed is not None:
            # Nothing can commit under the old fence once the new topology is there to be seen.
            last_at_s = self.store.seen_under.get((topology.deposed, topology.deposed_fence), stored.seen_at_s)
            deposed_seen_at_s = min(last_at_s, stored.seen_at_s)
        return View(
            now_s=self._now_s,
            me=self.me,
            regions=self._regions,
            app=app.settings,
            timers=self.timers,
            topology=topology,
            topology_revision=stored.revision if stored is not None else 0,
            topology_seen_at_s=stored.seen_at_s if stored is not None else 0.0,
            fences=self.store.fences,
            seen=self.store.seen,
            deposed_seen_at_s=deposed_seen_at_s,
            vantages=self.vantages,
            promises=promises,
            instance=app.instance,
            instance_silent_since_s=app.silent_since_s,
            lease_until_s=self.lease_until_s,
            progress=app.progress,
            lags_s=app.lags_s(self._now_s),
            pods_ready=self._pods_ready(app),
        )

    # -- taking events in -------------------------------------------------------------------------

    def _take(self, event: on.Event) -> bool:
        """Take an event in; False when a steady state surely goes on as before."""
        match event:
            # The most frequent first.
            case on.StoreChanged():
                return self._fold(event.change)
            case on.TransactionEnded():
                transaction, outcome = event.transaction, event.outcome
                beat = transaction in self._beats and outcome is not None and outcome.succeeded
                leads = self.me in [stored.topology.primary for stored in self.store.topologies.values()]
                self._transaction_ended(transaction, outcome)
                return leads or not beat
            case on.Woke():
                return False
            case on.Probed():
                return self._probed(event.region, event.vantage)
            case on.SnapshotTaken(snapshot=snapshot):
                if not self.store.revision:
                    self._patient_until_s = self._now_s + self.timers.lease_s
                self.store.take(snapshot, self._now_s)
                self._note_progress(self._regions)
            case on.InstanceReported(app=name, status=status):
                self.apps[name].report_instance(status, self._now_s)
            case on.InstanceLost(app=name):
                self.apps[name].instance = None
                self.apps[name].ordering = None
            case on.OrderEnded(app=name, accepted=accepted):
                self.apps[name].ordering = None
                if not accepted:
                    self.apps[name].order_after_s = self._now_s + RETRY_S
            case on.PromiseReceived(promise=promise):
                app = self.apps.get(promise.app)
                if app is not None:
                    app.direct_promises[promise.region] = promise
            case on.PodsChanged(app=name, pods=pods):
                self.apps[name].pods, self.apps[name].pods_seen = pods, True
            case on.RoutesApplied(number=number):
                self._routes_applied(number)
            case on.LeaderSeen(leader=leader):
                self.leader = leader
            case on.SwitchoverRequested() | on.FailoverRequested() | on.ModeRequested() | on.PauseRequested():
                self._request(event)
            case _:
                assert_never(event)
        return True

    def _fold(self, change: Change) -> bool:
        """Take in what the watch brought; False when it is only that heartbeats go on."""
        seen, regions = self.store.seen, self._heartbeat_keys
        before = {regions[key]: seen.get(regions[key]) for key in change.entries if key in regions}
        self.store.fold(change, self._now_s)
        self._note_progress(before)
        if len(before) < len(change.entries):
            return True
        return bool([one for one, was in before.items() if relevance.is_news(was, seen.get(one), self.timers)])

    def _probed(self, region: Region, vantage: Vantage) -> bool:
        """Take in what a probe found; False when nothing looks different."""
        self._probing.discard(region)
        known, seemed = self.health.get(region), self.vantages.get(region)
        health = routing.observe(known, vantage.serving, self._now_s)
        seems = vantage if health.serving == vantage.serving else Vantage(True, vantage.because)
        self.health[region], self.vantages[region] = health, seems
        return (health is not known and health != known) or seems != seemed

    def _note_progress(self, regions: Iterable[Region]) -> None:
        for region in regions:
            seen = self.store.seen.get(region)
            if seen is None:
                continue
            for name, report in seen.heartbeat.apps.items():
                if report.role is not Role.PRIMARY or report.wal is None:
                    continue
                stored, app = self.store.topologies.get(name), self.apps.get(name)
                if app is not None and stored is not None and stored.topology.primary == region:
                    app.follow_progress(region, stored.topology.epoch, seen.at_s, report.wal)

    def _transaction_ended(self, number: int, outcome: Outcome | None) -> None:
        committed = outcome is not None and outcome.succeeded
        sent_at_s = self._beats.pop(number, None)
        if sent_at_s is not None and committed:
            self.lease_until_s = max(self.lease_until_s, lease.holder_until_s(sent_at_s, self.timers))
        request = self._requests.pop(number, None)
        if request is not None:
            refused = "something else changed at the same moment; look again and repeat"
            lost = "the quorum store did not answer; whether the request took effect is unknown"
            because = "" if committed else lost if outcome is None else refused
            self._out.append(do.Reply(request, committed, because))
        if number == self._trimming:
            self._trimming = None
        for app in self.apps.values():
            if app.proposing == number:
                app.proposing = None
                if outcome is None:
                    app.propose_after_s = self._now_s + RETRY_S
                else:
                    app.propose_after_revision = outcome.revision
            if app.vowing == number:
                app.vowing = None
                app.vow_after_s = self._now_s + RETRY_S
            if app.telling_rejoin is not None and app.telling_rejoin[0] == number:
                # Without an answer it is told again, unless it turns up in the log.
                app.rejoin_told = app.telling_rejoin[1] if committed else app.rejoin_told
                app.telling_rejoin = None

    def _request(self, request: on.Request) -> None:
        app = self.apps.get(request.app)
        if app is None:
            self._out.append(do.Reply(request.request, False, f"there is no application {request.app}"))
            return
        answer = requests.answer(self.view(app), request)
        if isinstance(answer, Propose):
            number = self._propose(app, answer)
            self._requests[number] = request.request
        else:
            self._out.append(do.Reply(request.request, answer.accepted, answer.because, answer.ask_instead))

    # -- heartbeats and leases --------------------------------------------------------------------

    def _beat(self) -> None:
        self._beat_at_s = self._now_s + self.timers.heartbeat_s
        for probe in self._probes:
            if probe.region not in self._probing:
                self._probing.add(probe.region)
                self._out.append(probe)
        if len(self._beats) >= HEARTBEATS_IN_FLIGHT:
            return
        self._sequence += 1
        fence = self.store.fences.get(self.me, Fence())
        heartbeat = Heartbeat(
            region=self.me,
            incarnation=self.incarnation,
            sequence=self._sequence,
            fence=fence.value,
            vantages=dict(self.vantages),
            apps={name: self._report(app) for name, app in self.apps.items() if app.settings.instance_url},
        )
        number = self._transact(
            (Compare(self._my_fence, fence.revision),),
            (Put(self._my_heartbeat, encode(heartbeat)),),
        )
        self._beats[number] = self._now_s
        self._trim()

    def _report(self, app: Application) -> InstanceReport:
        status, wanted = app.instance, app.settings.pods_wanted
        if status is None:
            pods = self._pods_ready(app)
            return InstanceReport(Role.STOPPED, 0, False, None, None, False, pods, (), (), "no answer", wanted)
        return InstanceReport(
            role=status.role,
            epoch=status.epoch,
            writable=status.writable,
            wal=status.wal,
            upstream=status.upstream,
            healthy=status.problem is None and status.wal is not None,
            pods_ready=self._pods_ready(app),
            senders=status.senders,
            orphans=status.orphans,
            problem=status.problem,
            pods_wanted=wanted,
        )

    def _feed(self, app: Application, view: View) -> None:
        topology, instance = view.topology, view.instance
        if topology is None or topology.primary != self.me or instance is None or instance.order is None:
            return
        accepted = instance.order.role is Role.PRIMARY and instance.order.epoch == topology.epoch
        if not accepted or not view.leased:
            return
        held = instance.lease_until_s is not None and self.lease_until_s <= app.fed_until_s
        if held or (self.lease_until_s <= app.fed_until_s and self._now_s < app.fed_at_s + RETRY_S):
            return
        app.fed_until_s, app.fed_at_s = self.lease_until_s, self._now_s
        until_s = lease.on_instance_clock_s(self.lease_until_s, instance, app.reported_at_s)
        self._out.append(do.FeedLease(app.settings.name, topology.epoch, until_s))

    def _heard(self) -> bool:
        """Whether our heartbeats arrive, late as they may be: then nobody will ever find that we are lost."""
        seen = self.store.seen.get(self.me)
        return seen is not None and self._now_s < seen.at_s + self.timers.lease_s

    # -- decisions --------------------------------------------------------------------------------

    def _judge(self, app: Application) -> View:
        """Decide about one application, and return what was decided on."""
        stored = self.store.topologies.get(app.settings.name)
        topology = stored.topology if stored is not None else None
        app.watch_silence(
            leads=topology is not None and topology.primary == self.me,
            heard=self._now_s < self.lease_until_s or self._heard(),
            epoch=topology.epoch if topology is not None else 0,
            phase=topology.phase if topology is not None else None,
            now_s=self._now_s,
        )
        view = self.view(app)
        decision = failover.decide(view)
        if decision.because != app.because:
            app.because = decision.because
            self._out.append(do.Tell(app.settings.name, decision.because))
        if decision.retry_at_s is not None and decision.retry_at_s > self._now_s:
            self._wake_by(decision.retry_at_s)
        for action in decision.actions:
            match action:
                case Propose():
                    caught_up = self.store.revision >= app.propose_after_revision
                    if app.proposing is None and caught_up and self._now_s >= app.propose_after_s:
                        self._propose(app, action)
                    elif app.proposing is None:
                        self._wake_by(max(app.propose_after_s, self._now_s + RETRY_S))
                case Vow():
                    self._vow(app, action)
                case _:
                    assert_never(action)
        self._write_promise(app, view)
        self._tell_rejoin(app)
        self._order(app, view)
        self._feed(app, view)
        return view

    def _propose(self, app: Application, proposal: Propose) -> int:
        fleet = self.settings.fleet
        compares = [Compare(keys.topology(fleet, app.settings.name), proposal.expected_revision)]
        changes: list[Put | Delete] = [Put(keys.topology(fleet, app.settings.name), encode(proposal.topology))]
        if proposal.bump_fence is not None:
            fence = self.store.fences.get(proposal.bump_fence, Fence())
            compares.append(Compare(keys.fence(fleet, proposal.bump_fence), fence.revision))
            changes.append(Put(keys.fence(fleet, proposal.bump_fence), str(fence.value + 1)))
        if proposal.unless_heard is not None:
            region, revision = proposal.unless_heard
            compares.append(Compare(keys.heartbeat(fleet, region), revision))
        changes += [self._record(app.settings.name, proposal.topology.epoch, note) for note in proposal.notes]
        number = self._transact(tuple(compares), tuple(changes))
        app.proposing = number
        return number

    def _vow(self, app: Application, vow: Vow) -> None:
        # Our own word counts for us at once, and for others when they hear it: it is on our instance's disk.
        app.direct_promises[self.me] = vow.promise
        self._out.extend(do.TellPromise(region, vow.promise) for region in self._nearest)

    def _write_promise(self, app: Application, view: View) -> None:
        """Put our promise into the store until it is there: an agent that starts now must find it."""
        topology, promise = view.topology, app.direct_promises.get(self.me)
        if topology is None or topology.phase is not Phase.ELECTING or promise is None:
            return
        written = self.store.promises.get((app.settings.name, self.me)) == promise
        if promise.epoch != topology.epoch or written or app.vowing is not None:
            return
        if self._now_s < app.vow_after_s:
            self._wake_by(app.vow_after_s)
            return
        app.vowing = self._transact(
            (Compare(keys.topology(self.settings.fleet, promise.app), view.topology_revision),),
            (Put(keys.promise(self.settings.fleet, promise.app, self.me), encode(promise)),),
        )

    def _order(self, app: Application, view: View) -> None:
        order = replication.order(view)
        if order is None or app.instance is None or app.ordering is not None or app.instance.order == order:
            return
        if self._now_s < app.order_after_s:
            self._wake_by(app.order_after_s)
            return
        app.ordering = order
        self._out.append(do.OrderInstance(app.settings.name, order))

    # -- traffic and the store's leader -----------------------------------------------------------

    def _pods_ready(self, app: Application) -> int:
        """Return how many pods are ready. An agent that starts must not say "none" before it has looked."""
        if app.pods_seen or self._now_s >= self._patient_until_s:
            return len(app.pods)
        seen = self.store.seen.get(self.me)
        report = seen.heartbeat.apps.get(app.settings.name) if seen is not None else None
        return report.pods_ready if report is not None else 0

    def _blind(self) -> bool:
        """Whether the gateway keeps the routes it has, because our pods were not looked at yet."""
        if self._now_s >= self._patient_until_s:
            return False
        return any(not app.pods_seen and self.me in app.settings.data_regions for app in self.apps.values())

    def _route(self, views: Iterable[View]) -> None:
        if self._blind():
            self._wake_by(self._patient_until_s)
            return
        routes = tuple(self._route_of(view) for view in views)
        if routes != self._routes:
            self._routes = routes
            self._routes_number += 1
            self._out.append(do.ApplyRoutes(self._routes_number, routes))

    def _route_of(self, view: View) -> Route:
        settings = view.app
        fallbacks = routing.fallbacks(view, self._nearest, self.health)
        return Route(
            app=settings.name,
            epoch=view.topology.epoch if view.topology is not None else 0,
            pods=self.apps[settings.name].pods,
            instance=Address(settings.instance_host, settings.instance_port) if settings.instance_host else None,
            primary=routing.primary_route(view),
            fallbacks=fallbacks,
            stand_in=routing.stand_in(view, fallbacks),
        )

    def _routes_applied(self, number: int) -> None:
        if number != self._routes_number or self._routes is None:
            return
        for route in self._routes:
            app = self.apps[route.app]
            if route.primary is None or route.epoch == app.routed_epoch:
                continue
            app.routed_epoch = route.epoch
            because = f"the gateway of {self.me} sends writes to {route.primary} under epoch {route.epoch}"
            self._transact((), (self._record(route.app, route.epoch, Note("PrimaryRouted", because)),))

    def _tell_rejoin(self, app: Application) -> None:
        """Put into the log how our replica came back; the instance repeats it, also to the next agent."""
        rejoined = app.instance.rejoined if app.instance is not None else None
        stored = self.store.topologies.get(app.settings.name)
        if rejoined is None or rejoined == app.rejoin_told or stored is None or app.telling_rejoin is not None:
            return
        told = rejoin.note(self.me, rejoined)
        if any((known.epoch, known.because) == (rejoined.epoch, told.because) for _, known in self.store.records):
            app.rejoin_told = rejoined
            return
        number = self._transact((), (self._record(app.settings.name, rejoined.epoch, told),))
        app.telling_rejoin = (number, rejoined)

    def _place_leader(self) -> None:
        if self.leader != self.me:
            return
        quiet_since_s = max((stored.seen_at_s for stored in self.store.topologies.values()), default=self._now_s)
        stored_phases = {stored.topology.phase for stored in self.store.topologies.values()}
        hold_until_s = max(quiet_since_s, self._leader_moved_at_s) + LEADER_HOLD_DOWN_S
        if stored_phases != {Phase.STEADY} or self._now_s < hold_until_s:
            return
        primaries = {stored.topology.primary for stored in self.store.topologies.values() if stored.topology.primary}
        serving = {region for region, health in self.health.items() if health.serving}
        fit = serving & leadership.reaching(primaries, self.store.seen)
        to = leadership.move_to(self.leader, self.me, primaries, fit, self._preferred)
        if to is not None:
            self._leader_moved_at_s = self._now_s
            self._out.append(do.MoveLeader(to))

    # -- small things -----------------------------------------------------------------------------

    def _transact(self, compares: tuple[Compare, ...], changes: tuple[Put | Delete, ...]) -> int:
        self._numbers += 1
        self._out.append(do.Transact(self._numbers, compares, changes, timeout_s=2 * self.timers.lease_s))
        return self._numbers

    def _record(self, app: App, epoch: int, note: Note) -> Put:
        self._numbers += 1
        record = Record(self._unix_s, self.me, app, epoch, note.kind, note.because, note.took_s)
        key = keys.decision(self.settings.fleet, self._unix_s, self.me, note.kind, self._numbers)
        return Put(key, encode(record))

    def _trim(self) -> None:
        """Keep the decision log bounded. Every agent may do it: a deletion repeated does no harm."""
        if len(self.store.decision_keys) <= DECISIONS_KEPT or self._trimming is not None:
            return
        oldest = list(self.store.decision_keys)[:DECISIONS_TRIMMED_AT_ONCE]
        self._trimming = self._transact((), tuple(Delete(key) for key in oldest))

    def _wake_by(self, at_s: float) -> None:
        self._judge_at_s = min(self._judge_at_s, at_s)
