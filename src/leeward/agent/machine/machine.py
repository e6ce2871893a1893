"""The agent without any I/O: events in, actions out. The simulator drives this very code.

Level-triggered: after every event the whole situation is judged again, and whatever is missing is asked
for again. Nothing here waits, reads a clock or draws a number; time comes with each event.
"""

import re
from collections.abc import Mapping
from typing import assert_never

from leeward.agent.machine import actions as do
from leeward.agent.machine import events as on
from leeward.agent.machine import news, orders, relevance, requests
from leeward.agent.machine.application import Application
from leeward.agent.machine.declaration import Declaration
from leeward.agent.machine.delays import DelayLog
from leeward.agent.machine.generations import Generations
from leeward.agent.machine.heartbeats import Heartbeats
from leeward.agent.machine.log import DecisionLog
from leeward.agent.machine.outbox import NEVER_S, Outbox
from leeward.agent.machine.placement import Placement
from leeward.agent.machine.proposals import Proposals
from leeward.agent.machine.removal import Removal
from leeward.agent.machine.store import StoreCopy
from leeward.agent.machine.traffic import Traffic
from leeward.core import asked, failover, failovers, keys, lease, progress, routing, tally, timers
from leeward.core.actions import Propose
from leeward.core.codec import encode
from leeward.core.delays import Delays
from leeward.core.settings import AgentSettings
from leeward.core.store_members import StoreFacts, StoreMember
from leeward.core.values import Accepted, Phase, Region, ReplicationMode, Tally, Topology, Vantage
from leeward.core.view import View
from leeward.ports.gateway import Carried
from leeward.ports.quorum import Change, Outcome, Put, Snapshot

NOTHING_COUNTED = (Tally(), 0)
_SECONDS = re.compile(r"\b\d+(\.\d+)? s\b")


class Machine:
    """One region's agent. ``handle`` is its only entry point; it is not thread-safe and needs no lock."""

    def __init__(self, settings: AgentSettings, incarnation: str) -> None:
        self.settings = settings
        self.me = settings.region
        self.timers = settings.timers
        self.incarnation = incarnation
        self.store = StoreCopy(settings.fleet)
        self.apps = {app.name: Application(app) for app in settings.apps}
        self.lease_until_s = 0.0
        """Until when this region is heard by its last heartbeat that committed."""
        self.store_members: dict[Region, StoreMember] = {}
        self.news = 0
        """Grows whenever something is known that was not before, time aside: for whoever reads the machine."""
        self._heard_sent_at_s = float("-inf")
        self._regions = tuple(region.name for region in settings.regions)
        self._heartbeat_keys = {keys.heartbeat(settings.fleet, region): region for region in self._regions}
        self._progress_keys = frozenset(keys.progress(settings.fleet, app.name) for app in settings.apps)
        self._serves = Vantage(True, f"{self.me} holds its lease")
        self._requests: dict[int, str] = {}
        nearest = tuple(
            region.name for region in sorted(settings.regions, key=lambda r: r.rtt_s) if region.name != self.me
        )
        self._out = Outbox(settings)
        self._heartbeats = Heartbeats(settings, incarnation, self.store, self._out)
        self._decision_log = DecisionLog(self.me, self.store, self._out)
        self._generations = Generations(settings.fleet, incarnation, self.store, self._out)
        self._proposals = Proposals(settings, nearest, self.store, self._generations, self._out)
        self._traffic = Traffic(settings, nearest, self.apps, self._decision_log, self._out)
        self._delays = DelayLog(settings, self.store, self._out)
        self._placement = Placement(settings, self.store, self._out)
        self._declaration = Declaration(settings, self.store, self._out)
        self._removal = Removal(settings, self.store, self._out)

    # -- entry point ------------------------------------------------------------------------------

    def handle(self, event: on.Event, now_s: float, unix_s: float) -> list[do.Action]:
        """Take in one event at ``now_s`` of the boot clock; return what to do, in order."""
        out = self._out
        out.begin(now_s, unix_s)
        self._delays.look()
        leased = now_s < self.lease_until_s
        relevant = self._take(event)
        if news.is_news(event, relevant=relevant) or leased is not (now_s < self.lease_until_s):
            self.news += 1
        if self.store.revision:
            due = now_s >= self._heartbeats.beat_at_s
            relevant = relevant or due or now_s >= out.judge_at_s
            if due:
                self._beat()
            self._generations.renew()
            if (
                relevant
                or self._generations.pending
                or not relevance.quiet(self.store, self.me, self.lease_until_s, now_s, self.timers)
            ):
                out.judge_at_s = NEVER_S
                self._decision_log.retry()
                self._declaration.declare()
                self._removal.look()
                self._traffic.route([self._judge(app) for app in self.apps.values()])
                self._placement.place(self._traffic.health)
        return out.actions

    @property
    def wake_at_s(self) -> float:
        """When time alone calls for the next event, ``Woke``."""
        if not self.store.revision:
            return NEVER_S
        judge_at_s, beat_at_s = self._out.judge_at_s, self._heartbeats.beat_at_s
        return judge_at_s if judge_at_s < beat_at_s else beat_at_s

    def silence_at_s(self, now_s: float) -> float:
        """Return when time alone next changes what is known (``news.silence_at_s``)."""
        rtos_s = [app.settings.rto_s for app in self.apps.values()]
        return news.silence_at_s(self.store, self.lease_until_s, rtos_s, now_s, self.timers)

    @property
    def vantages(self) -> Mapping[Region, Vantage]:
        """How the other regions look from here."""
        return self._traffic.vantages

    @property
    def delays(self) -> Delays:
        """How long they fell silent between two heartbeats."""
        return self._delays.delays

    @property
    def health(self) -> Mapping[Region, routing.Health]:
        """How they have looked lately."""
        return self._traffic.health

    @property
    def leader(self) -> Region | None:
        """Where the quorum store's leader is."""
        return self._placement.leader

    @property
    def store_facts(self) -> StoreFacts:
        """What is known of the members of the quorum store."""
        wanted = self.settings.store
        return StoreFacts(self.store_members, self._out.unix_s, wanted.backup_every_s if wanted else 0.0)

    def serving(self, now_s: float) -> Vantage:
        """Return what this region answers when another one asks whether it serves."""
        if now_s < self.lease_until_s:
            return self._serves
        return Vantage(False, f"{self.me} has no lease: it cannot reach the quorum")

    def view(self, app: Application, now_s: float) -> View:
        """Return what is known of an application at a time: the input of every decision about it."""
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
        deposed_seen_at_s = deposed_lease_s = 0.0
        if stored is not None and topology is not None and topology.deposed is not None:
            # Nothing can commit under the old fence once the new topology is there to be seen.
            last = self.store.seen_under.get((topology.deposed, topology.deposed_fence))
            deposed_seen_at_s = min(last.at_s, stored.seen_at_s) if last is not None else stored.seen_at_s
            deposed_lease_s = lease.stated_s(last.heartbeat, topology.app) if last is not None else 0.0
        recorded = self.store.progress.get(app.settings.name)
        return View(
            now_s=now_s,
            me=self.me,
            regions=self._regions,
            app=app.settings,
            timers=self.timers,
            topology=topology,
            topology_revision=stored.revision if stored is not None else 0,
            topology_seen_at_s=stored.seen_at_s if stored is not None else 0.0,
            generation=self.store.generation,
            generation_at_unix_s=self.store.generation_at_unix_s,
            generation_because=self.store.generation_because,
            unreadable=self.store.undecodable.get(keys.topology(self.settings.fleet, app.settings.name)),
            removed_epoch=self.store.removed.get(app.settings.name, 0),
            store_read_at_s=self.store.read_at_s,
            fences=self.store.fences,
            seen=self.store.seen,
            deposed_seen_at_s=deposed_seen_at_s,
            deposed_lease_s=deposed_lease_s,
            vantages=self._traffic.vantages,
            promises=promises,
            instance=app.instance,
            instance_silent_since_s=app.silent_since_s,
            lease_until_s=self.lease_until_s,
            writes_until_s=lease.holder_until_s(self._heard_sent_at_s, self._lease_s(app, topology)),
            progress=recorded.points if recorded is not None else (),
            lags_s=app.lags_s(now_s),
            pods_ready=app.pods_ready(now_s),
            own_gateway_problem=self._traffic.gateway_problem,
            wal_arrived_at_s={region: at_s for region, (_, at_s) in app.wal_arrived.items()},
            tally=self.store.tallies.get(app.settings.name, NOTHING_COUNTED)[0],
            declared=self._declaration.agreed(app.settings.name),
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
                beat = self._heartbeats.is_beat(transaction) and outcome is not None and outcome.succeeded
                leads = self.me in [stored.topology.primary for stored in self.store.topologies.values()]
                self._transaction_ended(transaction, outcome)
                return leads or not beat
            case on.Woke():
                return False
            case on.Probed():
                self._heartbeats.probed(event.region)
                return self._traffic.probed(event.region, event.vantage)
            case on.SnapshotTaken(snapshot=snapshot, replaced=replaced):
                self._start_again(snapshot, replaced)
            case on.InstanceReported() | on.InstanceLost() | on.OrderEnded():
                self._take_from_instance(event)
            case on.PodsChanged() | on.PromiseReceived():
                self._take_from_application(event)
            case on.RoutesApplied() | on.PathsTried() | on.GatewayTried():
                return self._take_from_gateway(event)
            case on.StoreMembersSeen(members=members):
                self.store_members.update(members)
                return False
            case on.LeaderSeen(leader=leader):
                self._placement.leader = leader
            case on.SwitchoverRequested() | on.FailoverRequested() | on.ModeRequested() | on.PauseRequested():
                self._request(event)
            case _:
                assert_never(event)
        return True

    def _take_from_instance(self, event: on.InstanceReported | on.InstanceLost | on.OrderEnded) -> None:
        """Take in what the instance manager answered, or that it did not."""
        app = self.apps[event.app]
        match event:
            case on.InstanceReported(status=status):
                app.report_instance(status, self._out.now_s)
                self._follow_progress(app)
            case on.InstanceLost():
                app.lose_instance()
                orders.lost(app)
            case on.OrderEnded(accepted=accepted):
                orders.ended(app, self._out, accepted=accepted)

    def _take_from_application(self, event: on.PodsChanged | on.PromiseReceived) -> None:
        """Take in the application's pods, or what another region's replica of its database promised."""
        match event:
            case on.PodsChanged(app=name, pods=pods):
                self.apps[name].see_pods(pods)
            case on.PromiseReceived(promise=promise):
                app = self.apps.get(promise.app)
                if app is not None:
                    self._proposals.receive_promise(app, promise)

    def _take_from_gateway(self, event: on.RoutesApplied | on.PathsTried | on.GatewayTried) -> bool:
        """Take in what the gateway did or answered; False when a steady state surely goes on as before."""
        match event:
            case on.RoutesApplied(number=number):
                self._traffic.applied(number)
                return True
            case on.PathsTried(carried=carried):
                for name, app in self.apps.items():
                    app.paths_tried(carried.get(name, Carried()))
                return False
            case on.GatewayTried(problem=problem):
                return self._traffic.gateway_tried(problem)

    def _fold(self, change: Change) -> bool:
        """Take in what the watch brought; False when it is only that heartbeats go on."""
        seen, regions = self.store.seen, self._heartbeat_keys
        before = {regions[key]: seen.get(regions[key]) for key in change.entries if key in regions}
        generation = self.store.generation
        self.store.fold(change, self._out.now_s)
        for region, was in before.items():
            self._delays.seen(region, was, seen.get(region))
            self._follow_wal(region)
        if self.store.generation != generation:
            self._generations.changed(generation)
        others = len(change.entries) - len(before)
        if others or any(news.reports_else(was, seen.get(one), self.timers) for one, was in before.items()):
            self.news += 1
        if others and not all(key in regions or key in self._progress_keys for key in change.entries):
            return True
        return bool([one for one, was in before.items() if relevance.is_news(was, seen.get(one), self.timers)])

    def _start_again(self, snapshot: Snapshot, replaced: str | None) -> None:
        """Take in the whole store. If it went back, no lease and no answer of the history before counts."""
        first = not self.store.revision
        because = self._generations.went_back(snapshot, replaced)
        if because is not None and not first:
            self.lease_until_s, self._heard_sent_at_s = 0.0, float("-inf")
            self._heartbeats.forget()
            for app in self.apps.values():
                self._proposals.forget_store(app)
            self._out.actions.append(do.ReportStoreRestored(because))
        self.store.take(snapshot, self._out.now_s, replaced=because is not None)
        if first:
            self._delays.continue_from_store()
            # Until this agent has looked at its pods, it repeats what was last said of them.
            known = self.store.seen.get(self.me)
            said = known.heartbeat.apps if known is not None else {}
            for name, app in self.apps.items():
                app.begin(said.get(name), self.timers.lease_s, self._out.now_s)

    def _follow_wal(self, region: Region) -> None:
        seen = self.store.seen.get(region)
        for name, report in seen.heartbeat.apps.items() if seen is not None else ():
            app, stored = self.apps.get(name), self.store.topologies.get(name)
            if app is not None and stored is not None:
                app.follow_wal(region, stored.topology.primary, report, self._out.now_s)

    def _follow_progress(self, app: Application) -> None:
        """Keep the record of how far our primary's WAL is, where a failover's loss may be judged by it."""
        name = app.settings.name
        stored = self.store.topologies.get(name)
        if stored is None or stored.topology.primary != self.me:
            return
        topology = stored.topology
        if ReplicationMode.ASYNC in (topology.mode, topology.requested_mode):
            known = self.store.progress.get(name)
            record = known.record if known is not None else None
            app.follow_progress(self.me, topology.epoch, record, self._progress_interval_s(app))

    def _progress_interval_s(self, app: Application) -> float:
        return progress.interval_s(app.settings.rpo_s, self.timers.heartbeat_s)

    def _progress_to_write(self) -> list[Put]:
        now_s, found = self._out.now_s, list[Put]()
        for name, app in self.apps.items():
            stored = self.store.topologies.get(name)
            if stored is None or stored.topology.primary != self.me or stored.topology.epoch != app.progress_epoch:
                continue
            record = app.progress_to_write(self._progress_interval_s(app), now_s)
            if record is not None:
                found.append(Put(keys.progress(self.settings.fleet, name), encode(record)))
        return found

    def _transaction_ended(self, number: int, outcome: Outcome | None) -> None:
        committed = outcome is not None and outcome.succeeded
        sent_at_s = self._heartbeats.ended(number)
        if sent_at_s is not None and committed:
            self._heard_sent_at_s = max(self._heard_sent_at_s, sent_at_s)
            self.lease_until_s = lease.holder_until_s(self._heard_sent_at_s, self.timers.lease_s)
        elif sent_at_s is not None:
            for app in self.apps.values():
                app.write_progress_again()
        request = self._requests.pop(number, None)
        if request is not None:
            refused = "something else changed at the same moment; check the state and retry"
            lost = "the quorum store did not answer; whether the request took effect is unknown"
            because = "" if committed else lost if outcome is None else refused
            self._out.actions.append(do.Reply(request, committed, because))
        self._generations.ended(number, outcome)
        self._decision_log.ended(number, committed=committed)
        self._declaration.ended(number)
        self._removal.ended(number)
        for app in self.apps.values():
            self._proposals.ended(app, number, outcome)

    def _request(self, request: on.Request) -> None:
        app = self.apps.get(request.app)
        if app is None:
            self._out.actions.append(do.Reply(request.request, False, f"there is no application {request.app}"))
            return
        answer = requests.answer(self.view(app, self._out.now_s), request)
        if isinstance(answer, Propose) and request.asked is not None:
            accepted, _ = self.store.accepted.get(request.app, (Accepted(), 0))
            since_unix_s = self.store.generation_at_unix_s
            refused = asked.refused(accepted, request.asked, self._out.unix_s, since_unix_s=since_unix_s)
            answer = answer if refused is None else requests.Answer(False, refused)
        if isinstance(answer, Propose) and not self._proposals.sound(app, answer):
            answer = requests.Answer(False, "the agent's decision breaks an invariant; see its log")
        if isinstance(answer, Propose):
            self._requests[self._proposals.propose(app, answer, request.asked)] = request.request
        else:
            self._out.actions.append(do.Reply(request.request, answer.accepted, answer.because, answer.ask_instead))

    # -- heartbeats -------------------------------------------------------------------------------

    def _beat(self) -> None:
        self._heartbeats.probe()
        if not self._heartbeats.saturated:
            now_s, served = self._out.now_s, [app for app in self.apps.values() if app.settings.instance_url]
            reports = {app.settings.name: app.report(now_s) for app in served}
            traffic = self._traffic
            self._heartbeats.beat(traffic.vantages, reports, traffic.gateway_problem, self._progress_to_write())
            self._decision_log.trim()
            self._delays.write()

    # -- decisions --------------------------------------------------------------------------------

    def _lease_s(self, app: Application, topology: Topology | None) -> float:
        """Return the lease that our heartbeats give: while the topology is asynchronous, no longer than the RPO bears.

        The files may already name another mode. Others wait for the longer one, which the heartbeat states.
        """
        if topology is None or ReplicationMode.ASYNC not in (topology.mode, topology.requested_mode):
            return app.settings.lease_s
        return min(app.settings.lease_s, timers.lease_max_s(app.settings.rpo_s, self.timers.rtt_max_s))

    def _judge(self, app: Application) -> View:
        """Decide about one application, and return what was decided on."""
        now_s = self._out.now_s
        stored = self.store.topologies.get(app.settings.name)
        topology = stored.topology if stored is not None else None
        app.watch_silence(
            leads=topology is not None and topology.primary == self.me,
            heard=now_s < self.lease_until_s or self._heartbeats.heard,
            epoch=topology.epoch if topology is not None else 0,
            phase=topology.phase if topology is not None else None,
            now_s=now_s,
        )
        view = self.view(app, self._out.now_s)
        decision = failover.decide(view)
        if decision.because != app.because:
            # Logged once while only the seconds in it change.
            if _SECONDS.sub("", decision.because) != _SECONDS.sub("", app.because):
                self.news += 1
                self._out.actions.append(do.LogDecision(app.settings.name, decision.because))
            app.because = decision.because
        if decision.retry_at_s is not None and decision.retry_at_s > now_s:
            self._out.wake_by(decision.retry_at_s)
        self._proposals.perform(app, decision.actions)
        self._proposals.write_promise(app, view)
        self._look_out(app, view)
        self._decision_log.record_rejoin(app)
        orders.order(app, view, self._out)
        orders.feed(app, view, self._out)
        return view

    def _look_out(self, app: Application, view: View) -> None:
        """Count a failover that its deposed primary's return shows to have been needless."""
        topology = view.topology
        if topology is not None and topology.phase is Phase.ELECTING and topology.deposed is not None:
            last = self.store.seen_under.get((topology.deposed, topology.deposed_fence))
            app.deposed = tally.remember(view, app.deposed, last)
        if app.deposed is not None:
            seen, gap_s = view.seen.get(app.deposed.region), None
            # What the failover cost is asked of all records: not in the midst of one.
            if seen is not None and seen.at_s > app.deposed.heard_at_s:
                records = (record for _, record in self.store.records)
                gap_s = failovers.gap_s(records, app.settings.name, app.deposed.epoch, self.me)
            app.deposed, count = tally.look_out(view, app.deposed, gap_s)
            self._proposals.perform(app, () if count is None else (count,))
