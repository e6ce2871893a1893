"""The agent without any I/O: events in, actions out. The simulator drives this very code.

Level-triggered: after every event the whole situation is judged again, and whatever is missing is asked
for again. Nothing here waits, reads a clock or draws a number; time comes with each event.
"""

from collections.abc import Iterable, Mapping
from typing import assert_never

from leeward.agent import actions as do
from leeward.agent import events as on
from leeward.agent import orders, relevance, requests
from leeward.agent.application import Application
from leeward.agent.heart import Heart
from leeward.agent.journal import Journal
from leeward.agent.outbox import NEVER_S, RETRY_S, Outbox
from leeward.agent.placement import Placement
from leeward.agent.proposals import Proposals
from leeward.agent.store import StoreCopy
from leeward.agent.traffic import Traffic
from leeward.core import failover, keys, lease, routing
from leeward.core.actions import Propose
from leeward.core.settings import AgentSettings
from leeward.core.values import Region, Role, Vantage
from leeward.core.view import View
from leeward.ports.quorum import Change, Outcome, Snapshot


class Machine:
    """One region's agent. ``handle`` is its only door; it is not thread-safe and needs no lock."""

    def __init__(self, settings: AgentSettings, incarnation: str) -> None:
        self.settings = settings
        self.me = settings.region
        self.timers = settings.timers
        self.incarnation = incarnation
        self.store = StoreCopy(settings.fleet)
        self.apps = {app.name: Application(app) for app in settings.apps}
        self.lease_until_s = 0.0
        self._regions = tuple(region.name for region in settings.regions)
        self._heartbeat_keys = {keys.heartbeat(settings.fleet, region): region for region in self._regions}
        self._serves = Vantage(True, f"{self.me} holds its lease")
        self._requests: dict[int, str] = {}
        nearest = tuple(
            region.name for region in sorted(settings.regions, key=lambda r: r.rtt_s) if region.name != self.me
        )
        self._out = Outbox(settings)
        self._heart = Heart(settings, incarnation, self.store, self._out)
        self._journal = Journal(self.me, self.store, self._out)
        self._proposals = Proposals(settings, nearest, self.store, self._out)
        self._traffic = Traffic(settings, nearest, self.apps, self._journal, self._out)
        self._placement = Placement(settings, self.store, self._out)

    # -- the door ---------------------------------------------------------------------------------

    def handle(self, event: on.Event, now_s: float, unix_s: float) -> list[do.Action]:
        """Take in one event at ``now_s`` of the boot clock; return what to do, in order."""
        out = self._out
        out.begin(now_s, unix_s)
        relevant = self._take(event)
        if self.store.revision:
            due = now_s >= self._heart.beat_at_s
            relevant = relevant or due or now_s >= out.judge_at_s
            if due:
                self._beat()
            if relevant or not relevance.quiet(self.store, self.me, self.lease_until_s, now_s, self.timers):
                out.judge_at_s = NEVER_S
                self._journal.retell()
                self._traffic.route([self._judge(app) for app in self.apps.values()])
                self._placement.place(self._traffic.health)
        return out.actions

    @property
    def wake_at_s(self) -> float:
        """When time alone calls for the next event, ``Woke``."""
        if not self.store.revision:
            return NEVER_S
        judge_at_s, beat_at_s = self._out.judge_at_s, self._heart.beat_at_s
        return judge_at_s if judge_at_s < beat_at_s else beat_at_s

    @property
    def vantages(self) -> Mapping[Region, Vantage]:
        """How the other regions look from here."""
        return self._traffic.vantages

    @property
    def health(self) -> Mapping[Region, routing.Health]:
        """How they have looked lately."""
        return self._traffic.health

    @property
    def leader(self) -> Region | None:
        """Where the quorum store's leader is."""
        return self._placement.leader

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
        now_s = self._out.now_s
        return View(
            now_s=now_s,
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
            vantages=self._traffic.vantages,
            promises=promises,
            instance=app.instance,
            instance_silent_since_s=app.silent_since_s,
            lease_until_s=self.lease_until_s,
            progress=app.progress,
            lags_s=app.lags_s(now_s),
            pods_ready=app.pods_ready(now_s),
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
                beat = self._heart.is_beat(transaction) and outcome is not None and outcome.succeeded
                leads = self.me in [stored.topology.primary for stored in self.store.topologies.values()]
                self._transaction_ended(transaction, outcome)
                return leads or not beat
            case on.Woke():
                return False
            case on.Probed():
                self._heart.probed(event.region)
                return self._traffic.probed(event.region, event.vantage)
            case on.SnapshotTaken(snapshot=snapshot):
                self._start_again(snapshot)
            case on.InstanceReported(app=name, status=status):
                self.apps[name].report_instance(status, self._out.now_s)
            case on.InstanceLost(app=name):
                self.apps[name].instance = None
                self.apps[name].ordering = None
            case on.OrderEnded(app=name, accepted=accepted):
                self.apps[name].ordering = None
                if not accepted:
                    self.apps[name].order_after_s = self._out.now_s + RETRY_S
            case on.PromiseReceived(promise=promise):
                app = self.apps.get(promise.app)
                if app is not None:
                    app.direct_promises[promise.region] = promise
            case on.PodsChanged(app=name, pods=pods):
                self.apps[name].pods, self.apps[name].pods_seen = pods, True
            case on.RoutesApplied(number=number):
                self._traffic.applied(number)
            case on.LeaderSeen(leader=leader):
                self._placement.leader = leader
            case on.SwitchoverRequested() | on.FailoverRequested() | on.ModeRequested() | on.PauseRequested():
                self._request(event)
            case _:
                assert_never(event)
        return True

    def _fold(self, change: Change) -> bool:
        """Take in what the watch brought; False when it is only that heartbeats go on."""
        seen, regions = self.store.seen, self._heartbeat_keys
        before = {regions[key]: seen.get(regions[key]) for key in change.entries if key in regions}
        self.store.fold(change, self._out.now_s)
        self._note_progress(before)
        if len(before) < len(change.entries):
            return True
        return bool([one for one, was in before.items() if relevance.is_news(was, seen.get(one), self.timers)])

    def _start_again(self, snapshot: Snapshot) -> None:
        """Take in the whole store."""
        first = not self.store.revision
        self.store.take(snapshot, self._out.now_s)
        self._note_progress(self._regions)
        if first:
            # Until this agent has looked at its pods, it repeats what was last said of them.
            known = self.store.seen.get(self.me)
            said = known.heartbeat.apps if known is not None else {}
            for name, app in self.apps.items():
                app.pods_before = said[name].pods_ready if name in said else 0
                app.patient_until_s = self._out.now_s + self.timers.lease_s

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
        sent_at_s = self._heart.ended(number)
        if sent_at_s is not None and committed:
            self.lease_until_s = max(self.lease_until_s, lease.holder_until_s(sent_at_s, self.timers))
        request = self._requests.pop(number, None)
        if request is not None:
            refused = "something else changed at the same moment; look again and repeat"
            lost = "the quorum store did not answer; whether the request took effect is unknown"
            because = "" if committed else lost if outcome is None else refused
            self._out.actions.append(do.Reply(request, committed, because))
        self._journal.ended(number, committed=committed)
        for app in self.apps.values():
            self._proposals.ended(app, number, outcome)

    def _request(self, request: on.Request) -> None:
        app = self.apps.get(request.app)
        if app is None:
            self._out.actions.append(do.Reply(request.request, False, f"there is no application {request.app}"))
            return
        answer = requests.answer(self.view(app), request)
        if isinstance(answer, Propose):
            self._requests[self._proposals.propose(app, answer)] = request.request
        else:
            self._out.actions.append(do.Reply(request.request, answer.accepted, answer.because, answer.ask_instead))

    # -- heartbeats -------------------------------------------------------------------------------

    def _beat(self) -> None:
        self._heart.probe()
        if not self._heart.choked:
            now_s, served = self._out.now_s, [app for app in self.apps.values() if app.settings.instance_url]
            reports = {app.settings.name: app.report(now_s) for app in served}
            self._heart.beat(self._traffic.vantages, reports)
            self._journal.trim()

    # -- decisions --------------------------------------------------------------------------------

    def _judge(self, app: Application) -> View:
        """Decide about one application, and return what was decided on."""
        now_s = self._out.now_s
        stored = self.store.topologies.get(app.settings.name)
        topology = stored.topology if stored is not None else None
        app.watch_silence(
            leads=topology is not None and topology.primary == self.me,
            heard=now_s < self.lease_until_s or self._heart.heard,
            epoch=topology.epoch if topology is not None else 0,
            phase=topology.phase if topology is not None else None,
            now_s=now_s,
        )
        view = self.view(app)
        decision = failover.decide(view)
        if decision.because != app.because:
            app.because = decision.because
            self._out.actions.append(do.Tell(app.settings.name, decision.because))
        if decision.retry_at_s is not None and decision.retry_at_s > now_s:
            self._out.wake_by(decision.retry_at_s)
        self._proposals.perform(app, decision.actions)
        self._proposals.write_promise(app, view)
        self._journal.tell_rejoin(app)
        orders.order(app, view, self._out)
        orders.feed(app, view, self._out)
        return view
