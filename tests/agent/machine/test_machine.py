"""The machine's own promises: leases, levels, and nothing asked for twice at once."""

from dataclasses import replace
from typing import Any, TypeVar

import pytest

from leeward.agent.machine import actions as do
from leeward.agent.machine import events as on
from leeward.agent.machine.application import PODS_UNSEEN_S
from leeward.agent.machine.machine import Machine
from leeward.agent.machine.outbox import RETRY_S
from leeward.core import invariants, keys
from leeward.core.codec import decode, encode
from leeward.core.settings import AgentSettings, RegionSettings
from leeward.core.values import (
    Accepted,
    Asked,
    Declared,
    Generation,
    Heartbeat,
    Order,
    Phase,
    Promise,
    Record,
    Region,
    Rejoin,
    RejoinMethod,
    ReplicationMode,
    Role,
    Topology,
    Vantage,
    WalPosition,
)
from leeward.ports.gateway import Address
from leeward.ports.quorum import Change, Compare, Entry, Outcome, Put, Snapshot
from tests.core.views import (
    AP,
    APP,
    EU,
    LEASE_S,
    REGIONS,
    SETTINGS,
    TIMERS,
    US,
    electing,
    order,
    report,
    status,
    topology,
)

FLEET = "test"
RECORD = Record(1.0e9, US, APP, 1, "PrimaryRouted", "because")
T = TypeVar("T")


def settings(me: Region) -> AgentSettings:
    regions = tuple(
        RegionSettings(
            name=region,
            witness=False,
            agent_url="",
            gateway_host="",
            gateway_port=0,
            rtt_s=0.0 if region == me else 0.1,
        )
        for region in REGIONS
    )
    return AgentSettings(
        fleet=FLEET,
        region=me,
        regions=regions,
        timers=TIMERS,
        apps=(SETTINGS,),
        quorum_url="",
        cluster_url="",
        cluster_token_file="",
        identity_dir="",
        store_identity_dir="",
        gateway_identity_dir="",
        gateway_dir="",
        gateway_host="",
        listen_host="",
        listen_port=0,
    )


class Driven:
    """A machine, and what it asked for; time is set by hand."""

    def __init__(self, me: Region) -> None:
        self.machine = Machine(settings(me), "a")
        self.now_s = 100.0
        self.revision = 10

    def post(self, event: on.Event) -> list[do.Action]:
        return self.machine.handle(event, self.now_s, 1.0e9 + self.now_s)

    def load(self, found: Topology | None, **fences: int) -> list[do.Action]:
        entries = {keys.fence(FLEET, Region(r)): Entry(str(value), 2) for r, value in fences.items()}
        entries[keys.declared(FLEET, self.machine.me)] = Entry(encode(Declared({APP: REGIONS})), 3)
        if found is not None:
            entries[keys.topology(FLEET, APP)] = Entry(encode(found), 5)
        return self.post(on.SnapshotTaken(Snapshot(self.revision, entries)))

    def change(self, **entries: str | None) -> list[do.Action]:
        self.revision += 1
        return self.post(on.StoreChanged(Change(self.revision, entries)))

    def store(self, key: str, value: Any) -> list[do.Action]:
        return self.change(**{key: encode(value)})

    def commit(self, asked: do.Transact) -> list[do.Action]:
        return self.post(on.TransactionEnded(asked.transaction, Outcome(True, self.revision)))


def of(kind: type[T], actions: list[do.Action]) -> list[T]:
    return [action for action in actions if isinstance(action, kind)]


def heartbeats(actions: list[do.Action]) -> list[do.Transact]:
    return [a for a in of(do.Transact, actions) if any(c.key.endswith("/heartbeat") for c in a.changes)]


def proposals(actions: list[do.Action]) -> list[do.Transact]:
    return [a for a in of(do.Transact, actions) if any(c.key.endswith("/topology") for c in a.changes)]


def leading() -> tuple[Driven, list[do.Action]]:
    driven = Driven(US)
    return driven, driven.load(topology(), us=7)


def test_nothing_is_done_before_the_store_was_read() -> None:
    driven = Driven(US)
    assert driven.post(on.Woke()) == []
    assert driven.machine.wake_at_s == float("inf")


def test_a_heartbeat_compares_the_fence_and_its_lease_counts_from_when_it_was_sent() -> None:
    driven, actions = leading()
    (beat,) = heartbeats(actions)
    assert [(c.key, c.revision) for c in beat.compares] == [
        (keys.fence(FLEET, US), 2),
        (keys.generation(FLEET), 0),
    ]
    assert isinstance(beat.changes[0], Put)
    assert decode(Heartbeat, beat.changes[0].value).fence == 7
    driven.now_s += 0.9
    driven.commit(beat)
    assert driven.machine.lease_until_s == pytest.approx(100.0 + LEASE_S)
    assert driven.machine.serving(100.0 + LEASE_S - 0.01).serving
    assert not driven.machine.serving(100.0 + LEASE_S).serving


def test_a_replaced_history_of_the_store_is_reported_with_what_showed_it() -> None:
    driven, _ = leading()
    entries = {
        keys.topology(FLEET, APP): Entry(encode(topology()), 5),
        keys.generation(FLEET): Entry(encode(Generation("g", "eu has data of orders", 1.0)), 11),
    }
    driven.post(on.SnapshotTaken(Snapshot(11, entries), "restored"))
    assert "(eu has data of orders)" in driven.machine.apps[APP].because


def test_a_refused_or_unanswered_heartbeat_gives_no_lease() -> None:
    for outcome in (Outcome(False, 11), None):
        driven, actions = leading()
        driven.post(on.TransactionEnded(heartbeats(actions)[0].transaction, outcome))
        assert driven.machine.lease_until_s == 0.0


def test_heartbeats_go_on_while_earlier_ones_are_unanswered_but_not_without_end() -> None:
    driven, actions = leading()
    sent = len(heartbeats(actions))
    for _ in range(20):
        driven.now_s += TIMERS.heartbeat_s
        sent += len(heartbeats(driven.post(on.Woke())))
    assert sent == 6


PRIMARY = status(Role.PRIMARY, order=Order(1, Role.PRIMARY), clock_s=7.0)


def test_the_lease_is_fed_on_the_instances_own_clock_once_it_accepted_the_order() -> None:
    driven, actions = leading()
    driven.commit(heartbeats(actions)[0])
    assert of(do.ExtendLease, driven.post(on.InstanceReported(APP, replace(PRIMARY, order=None)))) == []
    (fed,) = of(do.ExtendLease, driven.post(on.InstanceReported(APP, PRIMARY)))
    assert (fed.epoch, fed.until_s) == (1, pytest.approx(7.0 + LEASE_S))
    assert of(do.ExtendLease, driven.post(on.InstanceReported(APP, PRIMARY))) == [], "not twice for the same lease"
    driven.now_s += RETRY_S
    assert of(do.ExtendLease, driven.post(on.InstanceReported(APP, replace(PRIMARY, clock_s=7.1)))), "it never took it"


def test_a_store_that_went_back_ends_the_lease() -> None:
    driven, actions = leading()
    driven.commit(heartbeats(actions)[0])
    assert of(do.ExtendLease, driven.post(on.InstanceReported(APP, PRIMARY)))
    entries = {keys.topology(FLEET, APP): Entry(encode(topology()), 5)}
    driven.post(on.SnapshotTaken(Snapshot(driven.revision, entries), "another history"))
    driven.now_s += RETRY_S
    assert of(do.ExtendLease, driven.post(on.InstanceReported(APP, replace(PRIMARY, clock_s=7.1)))) == []


@pytest.mark.parametrize(
    ("mode", "requested", "lease_s"),
    [
        (ReplicationMode.QUORUM, None, 20.0),
        (ReplicationMode.ASYNC, None, 2.5),
        (ReplicationMode.QUORUM, ReplicationMode.ASYNC, 2.5),
    ],
)
def test_an_asynchronous_primary_gets_no_longer_lease_than_its_rpo_bears(
    mode: ReplicationMode, requested: ReplicationMode | None, lease_s: float
) -> None:
    """The files may name another mode, and with it a longer lease, before the topology does."""
    driven = Driven(US)
    app = driven.machine.apps[APP]
    app.settings = replace(app.settings, lease_s=20.0, takeover_s=20.0, rpo_s=5.0)
    actions = driven.load(topology(mode=mode, requested_mode=requested), us=7)
    driven.commit(heartbeats(actions)[0])
    (fed,) = of(do.ExtendLease, driven.post(on.InstanceReported(APP, PRIMARY)))
    assert fed.until_s == pytest.approx(7.0 + lease_s)
    assert app.lease_stated_s(driven.now_s) == 20.0, "others wait for the longer one"


def test_a_primary_of_an_older_epoch_gets_no_lease() -> None:
    driven = Driven(US)
    driven.commit(heartbeats(driven.load(topology(epoch=2)))[0])
    assert of(do.ExtendLease, driven.post(on.InstanceReported(APP, PRIMARY))) == []


def test_an_order_is_a_level_that_is_repeated_until_it_is_taken() -> None:
    driven = Driven(EU)
    driven.load(topology())
    idle = status(order=None)
    (asked,) = of(do.OrderInstance, driven.post(on.InstanceReported(APP, idle)))
    assert asked.order == order(1, Role.STANDBY, US)
    assert of(do.OrderInstance, driven.post(on.InstanceReported(APP, idle))) == [], "one at a time"
    assert of(do.OrderInstance, driven.post(on.OrderEnded(APP, accepted=False))) == [], "not at once again"
    assert driven.machine.wake_at_s <= driven.now_s + RETRY_S
    driven.now_s += RETRY_S
    assert of(do.OrderInstance, driven.post(on.Woke())) == [asked]
    driven.post(on.OrderEnded(APP, accepted=True))
    taken = status(order=asked.order, clock_s=1.0)
    assert of(do.OrderInstance, driven.post(on.InstanceReported(APP, taken))) == []


def lost(me: Region) -> tuple[Driven, list[do.Action]]:
    """The primary's region fell silent, and nobody can see it."""
    driven = Driven(me)
    other = AP if me == EU else EU
    driven.load(topology())
    driven.store(keys.heartbeat(FLEET, US), Heartbeat(US, "a", 1, 0))
    driven.now_s += LEASE_S
    for _ in range(2):
        driven.post(on.Probed(US, Vantage(False, "no answer")))
    driven.now_s += TIMERS.margin_s
    doubts = {US: Vantage(False, "no answer")}
    return driven, driven.store(keys.heartbeat(FLEET, other), Heartbeat(other, "a", 1, 0, doubts))


def test_a_lost_primary_is_deposed_once_and_a_failed_attempt_waits_for_news() -> None:
    driven, actions = lost(EU)
    (asked,) = proposals(actions)
    assert {c.key for c in asked.compares} == {
        keys.topology(FLEET, APP),
        keys.fence(FLEET, US),
        keys.heartbeat(FLEET, US),
        keys.generation(FLEET),
    }
    assert proposals(driven.post(on.Woke())) == [], "one at a time"
    failed = driven.post(on.TransactionEnded(asked.transaction, Outcome(False, driven.revision + 1)))
    assert proposals(failed) == [], "what made it fail has not been seen yet"
    assert len(proposals(driven.store(keys.heartbeat(FLEET, AP), Heartbeat(AP, "a", 2, 0, _doubts())))) == 1


def test_a_silence_that_lasts_is_logged_once() -> None:
    driven, actions = lost(EU)
    logged_now = [line.because for line in of(do.LogDecision, actions)]
    assert any("last heard" in because for because in logged_now)
    first = driven.machine.apps[APP].because
    driven.now_s += 1.0
    assert of(do.LogDecision, driven.post(on.Woke())) == []
    assert driven.machine.apps[APP].because != first, "status has the newest figure"


def test_an_operator_who_names_another_region_does_not_restart_the_wait_for_the_old_primary() -> None:
    driven = Driven(EU)
    electing = replace(topology(), epoch=2, phase=Phase.ELECTING, primary=None, deposed=US)
    driven.store(keys.topology(FLEET, APP), electing)
    seen_at_s = driven.now_s
    driven.now_s += 20.0
    driven.store(keys.topology(FLEET, APP), replace(electing, target=AP))
    found = driven.machine.store.topologies[APP]
    assert (found.topology.target, found.seen_at_s) == (AP, seen_at_s)
    driven.store(keys.topology(FLEET, APP), replace(electing, epoch=3))
    assert driven.machine.store.topologies[APP].seen_at_s == driven.now_s


def test_an_attempt_without_an_answer_is_repeated_a_little_later() -> None:
    driven, actions = lost(EU)
    (asked,) = proposals(actions)
    assert proposals(driven.post(on.TransactionEnded(asked.transaction, None))) == []
    driven.now_s += RETRY_S
    assert len(proposals(driven.post(on.Woke()))) == 1


def _doubts() -> dict[Region, Vantage]:
    return {US: Vantage(False, "no answer")}


@pytest.mark.parametrize(("heard", "gives_up"), [(True, True), (False, False)])
def test_a_primary_whose_heartbeats_arrive_too_late_for_a_lease_gives_up(heard: bool, gives_up: bool) -> None:
    """Nobody else ever would: they hear it all the time."""
    driven, _ = leading()
    starved = replace(PRIMARY, writable=False, settled=False)
    driven.post(on.InstanceReported(APP, starved))
    heir = {APP: report()}
    found: list[do.Transact] = []
    for sequence in range(20):
        driven.now_s += LEASE_S / 4
        if heard:
            found += proposals(driven.store(keys.heartbeat(FLEET, US), Heartbeat(US, "a", sequence, 7)))
        for region in (EU, AP):
            beat = Heartbeat(region, "a", sequence, 0, {}, heir)
            found += proposals(driven.store(keys.heartbeat(FLEET, region), beat))
    assert bool(found) == gives_up


def test_one_failed_probe_is_no_vantage() -> None:
    driven, _ = leading()
    driven.post(on.Probed(EU, Vantage(True, "")))
    driven.post(on.Probed(EU, Vantage(False, "no answer")))
    assert driven.machine.vantages[EU].serving
    driven.post(on.Probed(EU, Vantage(False, "no answer")))
    assert not driven.machine.vantages[EU].serving


def test_a_promise_is_sent_to_all_agents_and_written_until_it_is_stored() -> None:
    driven = Driven(AP)
    driven.load(electing())
    cut = status(Role.DETACHED, epoch=2, order=Order(2, Role.DETACHED))
    actions = driven.post(on.InstanceReported(APP, cut))
    promise = Promise(AP, APP, 2, WalPosition(2, 100))
    assert [(tell.region, tell.promise) for tell in of(do.SendPromise, actions)] == [(US, promise), (EU, promise)]

    def written(given: list[do.Action]) -> list[do.Transact]:
        return [a for a in of(do.Transact, given) if a.changes[0].key == keys.promise(FLEET, APP, AP)]

    (asked,) = written(actions)
    assert written(driven.post(on.Woke())) == []
    driven.post(on.TransactionEnded(asked.transaction, None))
    driven.now_s += RETRY_S
    assert len(written(driven.post(on.Woke()))) == 1
    driven.store(keys.promise(FLEET, APP, AP), promise)
    driven.now_s += 1
    assert written(driven.post(on.Woke())) == []


def test_a_promise_of_another_epoch_counts_for_nothing() -> None:
    driven = Driven(EU)
    driven.load(electing(mode=topology().mode))
    for epoch in (1, 3):
        driven.post(on.PromiseReceived(Promise(AP, APP, epoch, WalPosition(1, 100))))
    assert driven.machine.view(driven.machine.apps[APP], driven.now_s).promises == {}
    driven.post(on.PromiseReceived(Promise(AP, APP, 2, WalPosition(1, 100))))
    assert set(driven.machine.view(driven.machine.apps[APP], driven.now_s).promises) == {AP}


def test_routes_are_applied_when_they_change_and_the_new_primary_is_put_on_record() -> None:
    driven = Driven(EU)
    driven.load(topology())
    (applied,) = of(do.ApplyRoutes, driven.post(on.PodsChanged(APP, (Address("10.0.0.1", 8000),))))
    assert applied.routes[0].primary == US
    assert of(do.ApplyRoutes, driven.post(on.Woke())) == []
    records = of(do.Transact, driven.post(on.RoutesApplied(applied.number)))
    assert ["PrimaryRouted" in put.key for record in records for put in record.changes] == [True]
    assert of(do.Transact, driven.post(on.RoutesApplied(applied.number))) == [], "once per epoch"


def test_a_gateway_that_fails_twice_is_reported_with_the_next_heartbeat_and_so_is_its_recovery() -> None:
    driven = Driven(EU)
    driven.load(topology())
    told = []
    for problem in (None, "drained", None, "drained", "drained", None):
        driven.post(on.GatewayTried(problem))
        driven.now_s += TIMERS.heartbeat_s
        (beat,) = heartbeats(driven.post(on.Woke()))
        driven.commit(beat)
        assert isinstance(beat.changes[0], Put)
        told.append(decode(Heartbeat, beat.changes[0].value).gateway_problem)
    assert told == [None, None, None, None, "drained", None]


def test_a_gateway_that_does_not_answer_at_the_first_look_is_reported_at_once() -> None:
    driven = Driven(EU)
    driven.post(on.GatewayTried("no routes yet"))
    (beat,) = heartbeats(driven.load(topology()))
    assert isinstance(beat.changes[0], Put)
    assert decode(Heartbeat, beat.changes[0].value).gateway_problem == "no routes yet"
    view = driven.machine.view(driven.machine.apps[APP], driven.now_s)
    assert view.gateway_problem(EU) == "no routes yet"


def test_a_primary_without_a_lease_gets_no_writes() -> None:
    driven, actions = leading()
    told = of(do.ApplyRoutes, driven.post(on.PodsChanged(APP, ())))
    told += of(do.ApplyRoutes, driven.post(on.InstanceReported(APP, PRIMARY)))
    assert told[-1].routes[0].primary is None
    (routed,) = of(do.ApplyRoutes, driven.commit(heartbeats(actions)[0]))
    assert routed.routes[0].primary == US


def test_an_agent_that_starts_repeats_the_last_report_of_its_pods_until_it_has_looked() -> None:
    def started() -> tuple[Driven, list[do.Action]]:
        driven = Driven(US)
        before = Heartbeat(US, "before", 9, 0, {}, {APP: report(Role.PRIMARY, pods_ready=2)})
        entries = {
            keys.topology(FLEET, APP): Entry(encode(topology()), 5),
            keys.heartbeat(FLEET, US): Entry(encode(before), 6),
        }
        return driven, driven.post(on.SnapshotTaken(Snapshot(driven.revision, entries)))

    def pods_said(actions: list[do.Action]) -> int:
        (beat,) = heartbeats(actions)
        assert isinstance(beat.changes[0], Put)
        return decode(Heartbeat, beat.changes[0].value).apps[APP].pods_ready

    driven, actions = started()
    assert pods_said(actions) == 2
    assert of(do.ApplyRoutes, actions) == [], "the gateway keeps what it has"
    pods = (Address("10.0.0.1", 8000),)
    (routed,) = of(do.ApplyRoutes, driven.post(on.PodsChanged(APP, pods)))
    assert routed.routes[0].pods == pods

    driven, _ = started()
    driven.now_s += LEASE_S
    actions = driven.post(on.Woke())
    assert pods_said(actions) == 2
    (routed,) = of(do.ApplyRoutes, actions)
    assert routed.routes[0].pods is None, "nobody could look for a whole lease: the gateway keeps those it has"
    driven.now_s += PODS_UNSEEN_S - LEASE_S
    assert pods_said(driven.post(on.Woke())) == 0
    (routed,) = of(do.ApplyRoutes, driven.post(on.PodsChanged(APP, pods)))
    assert routed.routes[0].pods == pods


def test_a_request_for_another_agent_is_sent_there_and_a_proposal_answers_its_own() -> None:
    driven = Driven(EU)
    driven.load(topology())
    (reply,) = of(do.Reply, driven.post(on.SwitchoverRequested("r1", APP, EU)))
    assert (reply.accepted, reply.ask_instead) == (False, US)
    (asked,) = proposals(driven.post(on.PauseRequested("r2", APP, paused=True)))
    assert of(do.Reply, driven.commit(asked)) == [do.Reply("r2", True, "")]
    (unknown,) = of(do.Reply, driven.post(on.PauseRequested("r3", "other", paused=True)))  # type: ignore[arg-type]
    assert not unknown.accepted


def test_what_an_operator_asked_for_takes_effect_once_in_the_fleet_and_the_log_names_who_asked() -> None:
    driven, other = Driven(EU), Driven(AP)
    asked, key = Asked("operator:1", 1.0e9 + driven.now_s, "nonce"), keys.accepted(FLEET, APP)
    for one in (driven, other):
        one.load(topology())
    # Two agents that do not know of each other: the store lets one of them have it.
    for one in (driven, other):
        (proposed,) = proposals(one.post(on.PauseRequested("r1", APP, paused=True, asked=asked)))
        assert Compare(key, 0) in proposed.compares
    puts = {change.key: change.value for change in proposed.changes if isinstance(change, Put)}
    assert decode(Accepted, puts[key]) == Accepted((asked,))
    (note,) = [decode(Record, value) for each, value in puts.items() if each.startswith(keys.decisions(FLEET))]
    assert (note.kind, note.asked_by) == ("FailoverPaused", "operator:1")
    # One that knows refuses, even though the topology is no longer what it was asked for.
    driven.change(**{key: puts[key]})
    again = driven.post(on.PauseRequested("r2", APP, paused=True, asked=asked))
    assert proposals(again) == []
    assert [(reply.accepted, reply.because[:38]) for reply in of(do.Reply, again)] == [
        (False, "this request has already taken effect:")
    ]
    (later,) = proposals(driven.post(on.PauseRequested("r3", APP, paused=True, asked=replace(asked, nonce="b"))))
    assert Compare(key, driven.revision) in later.compares


def test_the_decision_log_is_trimmed() -> None:
    driven, _ = leading()
    entries = {f"{keys.decisions(FLEET)}{n:04d}": "{}" for n in range(501)}
    driven.change(**entries)
    driven.now_s += TIMERS.heartbeat_s
    trims = [a for a in of(do.Transact, driven.post(on.Woke())) if a.changes[0].key.startswith(keys.decisions(FLEET))]
    assert [len(trim.changes) for trim in trims] == [100]
    assert trims[0].changes[0].key.endswith("0000"), "the oldest go first"


def logged(actions: list[do.Action]) -> list[do.Transact]:
    return [each for each in of(do.Transact, actions) if not each.compares]


def test_log_entries_without_an_answer_of_the_store_are_retried() -> None:
    driven = Driven(EU)
    back = status(rejoined=Rejoin(1, US, RejoinMethod.REWIND, "timeline 1 continues past the fork", 5 << 20, 3, 1.25))
    driven.post(on.PodsChanged(APP, ()))
    driven.post(on.InstanceReported(APP, back))
    (rejoined,) = logged(actions := driven.load(topology()))
    (applied,) = of(do.ApplyRoutes, actions)
    (routed,) = logged(driven.post(on.RoutesApplied(applied.number)))
    assert logged(driven.post(on.InstanceReported(APP, back))) == [], "it is on its way"
    for each in (rejoined, routed):
        assert logged(driven.post(on.TransactionEnded(each.transaction, None))) == [], "not at once"
    assert driven.machine.wake_at_s <= driven.now_s + RETRY_S
    driven.now_s += RETRY_S
    # It had taken one of them after all.
    (put,) = routed.changes
    assert isinstance(put, Put)
    (again,) = logged(driven.change(**{put.key: put.value}))
    assert again.changes == rejoined.changes, "the same entry: it is never there twice"
    assert logged(driven.commit(again)) == []
    driven.now_s += RETRY_S
    assert logged(driven.post(on.Woke())) == []


def test_an_entry_sent_twice_is_in_the_log_once() -> None:
    driven, _ = leading()
    driven.change(**{f"{keys.decisions(FLEET)}1": encode(RECORD)})
    driven.change(**{f"{keys.decisions(FLEET)}1": encode(RECORD)})
    assert [record for _, record in driven.machine.store.records] == [RECORD]
    assert len(driven.machine.store.decision_keys) == 1


def test_how_a_replica_came_back_is_logged_once() -> None:
    driven = Driven(EU)
    driven.load(topology())
    back = status(rejoined=Rejoin(1, US, RejoinMethod.REWIND, "timeline 1 continues past the fork", 5 << 20, 3, 1.25))
    (asked,) = logged(driven.post(on.InstanceReported(APP, back)))
    (put,) = asked.changes
    assert isinstance(put, Put)
    assert "StandbyRejoined" in put.key
    assert "pg_rewind copied 5.0 MiB" in put.value
    driven.change(**{put.key: put.value})
    assert logged(driven.post(on.InstanceReported(APP, back))) == []
    restarted = Driven(EU)
    restarted.load(topology())
    restarted.change(**{put.key: put.value})
    actions = restarted.post(on.InstanceReported(APP, back))
    assert logged(actions) == [], "the agent before has logged it"


def test_an_agent_that_cannot_read_its_deposition_gives_its_primary_no_further_lease() -> None:
    """A newer agent's topology has a value that this one does not know; the fence in the same transaction it reads."""
    agent = Driven(US)
    agent.load(topology(), us=7)
    newer = encode(electing()).replace('"electing"', '"weighing"')
    agent.now_s += 1.0
    (beat, *_) = heartbeats(agent.change(**{keys.topology(FLEET, APP): newer, keys.fence(FLEET, US): "8"}))
    assert beat.compares[0].revision == agent.revision, "its heartbeats are of the new fence, so they commit"
    agent.commit(beat)
    assert of(do.ExtendLease, agent.post(on.InstanceReported(APP, PRIMARY))) == []


def test_a_proposal_that_breaks_an_invariant_is_reported_once_and_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "broken", lambda before, after: "two primaries")
    driven, actions = lost(EU)
    for _ in range(3):
        driven.now_s += RETRY_S
        actions += driven.post(on.Woke())
    assert proposals(actions) == []
    assert of(do.ReportDefect, actions) == [do.ReportDefect(APP, "two primaries")]
    monkeypatch.undo()
    driven.now_s += RETRY_S
    assert len(proposals(driven.post(on.Woke()))) == 1
