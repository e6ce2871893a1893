"""The protocol, broken on purpose, one promise at a time; and where each weakness would show."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import pytest

from leeward.agent.heart import Heart
from leeward.agent.machine import Machine
from leeward.core import election, failover, lease, membership, replication, routing, switchover
from leeward.core.actions import Propose
from leeward.core.election import Choice
from leeward.core.settings import AgentSettings
from leeward.core.values import InstanceStatus, Order, Phase, Promise, Region, ReplicationMode, Role, Topology
from leeward.core.view import View
from leeward.sim import database, postgres
from leeward.sim.faults import Fault, Kind
from leeward.sim.fleet import three
from leeward.sim.plan import Focus, Plan, draw

SAFE_MODES = (ReplicationMode.SYNC, ReplicationMode.QUORUM)
LOSSES = frozenset((Kind.REGION_LOSS, Kind.ISOLATION, Kind.REGION_FREEZE))
STALLS = frozenset((Kind.WATCH_STALL, Kind.PARTITION, Kind.SLOW_LINK))
SLOW = frozenset((Kind.SLOW_DISK, Kind.SLOW_LINK))


@dataclass(frozen=True, slots=True)
class Mutation:
    """What is broken, how, in which worlds to look, and in how many at most."""

    name: str
    apply: Callable[[pytest.MonkeyPatch], None]
    focus: Focus
    seeds: int = 60
    make: Callable[[AgentSettings, str], Machine] = Machine
    script: tuple[Fault, ...] = ()
    """When chance alone would take too long to get there: these faults, each at about its time."""

    def plan(self, seed: int) -> Plan:
        if not self.script:
            return draw(seed, self.focus)
        chance = Random(seed)
        return Plan(
            seed=seed,
            fleet=three(chance.choice(self.focus.modes)),
            faults=tuple(replace(fault, at_s=fault.at_s + chance.uniform(0.0, 0.5)) for fault in self.script),
            ambushes=(),
            storm_s=30.0,
            jitter=0.5,
            write_every_s=0.05,
        )


def no_margin(settings: AgentSettings, incarnation: str) -> Machine:
    return Machine(replace(settings, timers=replace(settings.timers, margin_s=0.0)), incarnation)


def skip_prepare(patch: pytest.MonkeyPatch) -> None:
    """Whoever finds the primary lost names itself."""
    prepare = failover.depose

    def depose(view: View, topology: Topology, **given: object) -> Propose:
        proposal = prepare(view, topology, **given)  # type: ignore[arg-type]
        if view.me not in topology.data_regions:
            return proposal
        mine = replace(proposal.topology, phase=Phase.PROMOTING, primary=view.me, favourite=None, target=None)
        return replace(proposal, topology=mine)

    patch.setattr(failover, "depose", depose)


def standbys_do_not_cut(patch: pytest.MonkeyPatch) -> None:
    """They promise what they hold, and go on streaming from the old primary."""

    def electing(view: View, topology: Topology) -> Order:
        if view.me == topology.deposed:
            return Order(topology.epoch, Role.DETACHED)
        return Order(topology.epoch, Role.STANDBY, upstream=topology.deposed)

    honest = failover.promise

    def promise(view: View, topology: Topology) -> Promise | None:
        instance = view.instance
        if view.me == topology.deposed:
            return honest(view, topology)
        if instance is None or instance.wal is None or view.me in view.promises:
            return None
        return Promise(view.me, topology.app, topology.epoch, instance.wal)

    patch.setattr(replication, "_electing", electing)
    patch.setattr(failover, "promise", promise)


def ignore_the_quorum(patch: pytest.MonkeyPatch) -> None:
    """R + W > N does not matter."""
    choose = election.choose
    patch.setattr(
        election, "choose", lambda view, topology: choose(view, replace(topology, acks_required=len(view.regions)))
    )


def promote_the_lagging(patch: pytest.MonkeyPatch) -> None:
    choose = election.choose

    def worst(view: View, topology: Topology) -> Choice:
        choice = choose(view, topology)
        if choice.elected is None:
            return choice
        least = min(view.promises.values(), key=lambda promise: promise.wal)
        return Choice(least.region, "it lags the most")

    patch.setattr(election, "choose", worst)


def trust_the_stores_expiry(patch: pytest.MonkeyPatch) -> None:
    """Its lease runs from when the store answers, not from when it asked."""
    ended = Heart.ended

    def answered(heart: Heart, transaction: int) -> float | None:
        return None if ended(heart, transaction) is None else heart._out.now_s

    patch.setattr(Heart, "ended", answered)


def one_vantage_and_no_compare(patch: pytest.MonkeyPatch) -> None:
    no_revision_compare(patch)
    judge = membership.judge

    def alone(view: View, region: object) -> membership.Verdict:
        verdict = judge(view, region)  # type: ignore[arg-type]
        over = view.now_s >= lease.takeover_at_s(view.seen[region].at_s, view.timers) if region in view.seen else False  # type: ignore[index]
        against = membership.doubters(view, region)  # type: ignore[arg-type]
        return membership.Verdict(True, "one is enough") if over and against else verdict

    patch.setattr(membership, "judge", alone)


def no_revision_compare(patch: pytest.MonkeyPatch) -> None:
    """A heartbeat that arrives late does not defeat the takeover."""
    prepare = failover.depose

    def depose(view: View, topology: Topology, **given: object) -> Propose:
        proposal = prepare(view, topology, **given)  # type: ignore[arg-type]
        return replace(proposal, unless_heard=None, bump_fence=None)

    patch.setattr(failover, "depose", depose)


def late_guard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(database, "GUARD_S", (0.4, 0.6))
    patch.setattr(database, "BACKSTOP_S", (0.4, 0.6))


def follow_any_heir(patch: pytest.MonkeyPatch) -> None:
    """A bug that was there: an old primary that came back is taken for an heir."""

    def first_alive(view: View, topology: Topology) -> Region | None:
        others = (region for region in topology.data_regions if region != topology.primary and view.alive(region))
        return next(others, None)

    patch.setattr(replication, "_holds_ours", lambda view, region: True)
    patch.setattr(replication, "_goes_on_with_ours", lambda view, region: True)
    patch.setattr(election, "heir", first_alive)


def promote_before_the_old_one_stopped(patch: pytest.MonkeyPatch) -> None:
    """An operator's failover does not wait the lease out."""
    patch.setattr(failover, "old_primary_stopped", lambda view, topology: True)


def nothing(patch: pytest.MonkeyPatch) -> None:
    """Break nothing here: ``make`` does."""


def hand_over_early(patch: pytest.MonkeyPatch) -> None:
    """A switchover is handed over before the old primary has stopped."""

    def drained(instance: InstanceStatus, topology: Topology) -> bool:
        return instance.wal is not None

    patch.setattr(switchover, "drained", drained)


def send_users_anywhere(patch: pytest.MonkeyPatch) -> None:
    """Whoever answers probes gets users, with pods or without."""
    patch.setattr(routing, "has_pods", lambda view, region: True)


def believe_claims(patch: pytest.MonkeyPatch) -> None:
    """A standby's word about how much it holds is passed on, whatever history it holds it of."""

    def all_of_it(held_lsn: int, sent_lsn: int) -> int:
        return held_lsn

    patch.setattr(postgres, "claim", all_of_it)


def writes_wait_for_pods(patch: pytest.MonkeyPatch) -> None:
    """Nobody's pods stand in for those beside the primary."""

    def nobody(view: View, fit: tuple[Region, ...]) -> None:
        return None

    patch.setattr(routing, "stand_in", nobody)


ASYNC = (ReplicationMode.ASYNC,)
QUORUM = (ReplicationMode.QUORUM,)
US, EU, AP = Region("us"), Region("eu"), Region("ap")
UNHEARD_FAILOVER = (Fault(12.0, Kind.WATCH_STALL, US, None, 4.0), Fault(12.6, Kind.FAILOVER, EU, EU))
UNHEARD_AND_THEN_SLOW = (*UNHEARD_FAILOVER, Fault(12.9, Kind.SLOW_LINK, US, EU, 6.0, 1.0))
SLOW_THEN_GONE = (Fault(12.0, Kind.SLOW_LINK, US, None, 12.0, 0.8), Fault(16.0, Kind.ISOLATION, US, None, 6.0))
BACK_WHILE_THE_NEXT_DIES = (Fault(12.0, Kind.ISOLATION, US, None, 13.5), Fault(25.2, Kind.REGION_LOSS, EU, None, 10.0))
LAGS_AND_THEN_LEADS = (
    Fault(12.0, Kind.SLOW_DISK, EU, None, 10.0, 0.3),
    Fault(15.0, Kind.SLOW_LINK, EU, AP, 8.0, 0.5),
    Fault(16.0, Kind.REGION_LOSS, US, None, 9.0),
)
LAGS_AND_IS_ALONE = (
    Fault(12.0, Kind.SLOW_DISK, EU, None, 14.0, 0.3),
    Fault(15.0, Kind.SLOW_LINK, EU, AP, 9.0, 0.5),
    Fault(16.0, Kind.REGION_LOSS, US, None, 9.0),
    Fault(17.5, Kind.INSTANCE_KILL, AP, None, 10.0),
)
NO_PODS_BESIDE_THE_PRIMARY = (Fault(12.0, Kind.SERVICE_LOSS, US, None, 25.0),)
NO_PODS_IN_TWO = tuple(Fault(12.0, Kind.SERVICE_LOSS, region, None, 25.0) for region in (US, EU))

MUTATIONS = (
    Mutation("no lease margin", nothing, Focus((3,), rtts_s=(0.004,), kinds=LOSSES), make=no_margin),
    Mutation("prepare is skipped", skip_prepare, Focus(modes=QUORUM), script=LAGS_AND_THEN_LEADS),
    Mutation("standbys do not cut", standbys_do_not_cut, Focus(modes=QUORUM), script=UNHEARD_AND_THEN_SLOW),
    Mutation("R + W > N is ignored", ignore_the_quorum, Focus(modes=QUORUM), script=LAGS_AND_IS_ALONE),
    Mutation("a lagging standby is promoted", promote_the_lagging, Focus((3,), SAFE_MODES, (0.2,), LOSSES | SLOW)),
    Mutation("the store's expiry is trusted", trust_the_stores_expiry, Focus(), script=SLOW_THEN_GONE),
    Mutation("one vantage is enough, no revision compared", one_vantage_and_no_compare, Focus((3, 5), kinds=STALLS)),
    Mutation("no revision is compared", no_revision_compare, Focus((3, 5), kinds=STALLS)),
    Mutation("the guard fires late", late_guard, Focus((3,), rtts_s=(0.004, 0.02, 0.08), kinds=LOSSES)),
    Mutation("any heir is followed", follow_any_heir, Focus(modes=SAFE_MODES), script=BACK_WHILE_THE_NEXT_DIES),
    Mutation(
        "an operator's failover does not wait",
        promote_before_the_old_one_stopped,
        Focus(modes=ASYNC),
        script=UNHEARD_FAILOVER,
    ),
    Mutation(
        "a switchover hands over too early", hand_over_early, Focus((3,), ASYNC, kinds=frozenset((Kind.SWITCHOVER,)))
    ),
    Mutation("claims are believed", believe_claims, Focus((3,), SAFE_MODES, (0.2,), LOSSES)),
    Mutation("writes wait for pods", writes_wait_for_pods, Focus(), script=NO_PODS_BESIDE_THE_PRIMARY),
    Mutation("users go where there is no pod", send_users_anywhere, Focus(), script=NO_PODS_IN_TWO),
)
