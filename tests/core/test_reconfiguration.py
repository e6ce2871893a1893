"""Data regions join and leave: the steps in order, and every acknowledged write within every election's reach."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from leeward.core import data_regions, election, failover, replication, switchover
from leeward.core.actions import Propose
from leeward.core.settings import AppSettings
from leeward.core.values import (
    InstanceStatus,
    Order,
    Phase,
    Promise,
    Region,
    ReplicationMode,
    Role,
    Topology,
    WalPosition,
)
from leeward.core.view import View
from tests.core.views import (
    AP,
    APP,
    EU,
    LEASE_S,
    SETTINGS,
    US,
    electing,
    lost_view,
    report,
    seen,
    sender,
    status,
    topology,
    view,
)

SYNC, QUORUM, ASYNC = ReplicationMode.SYNC, ReplicationMode.QUORUM, ReplicationMode.ASYNC
SA = Region("sa")
ALL = (US, EU, AP, SA)


def steady(*regions: Region, mode: ReplicationMode = QUORUM, **changes: object) -> Topology:
    required = data_regions.acks_required(mode, len(regions))
    return topology(data_regions=regions, mode=mode, acks_required=required, **changes)


def primary(given: Topology, *senders: Region, lsn: int = 100, **changes: object) -> InstanceStatus:
    """The primary's instance, which obeys its order, and who streams from it."""
    bare = view(US, topology=given, instance=None)
    order = replication.order(bare)
    streams = tuple(sender(region, lsn=lsn) for region in senders)
    base = status(Role.PRIMARY, order=order, senders=streams)
    return replace(base, **changes)  # type: ignore[arg-type]


def leading(given: Topology, declared: tuple[Region, ...] | None, *senders: Region, **changes: object) -> View:
    now_s = 100.0
    base: dict[str, object] = {
        "regions": ALL,
        "topology": given,
        "declared": declared,
        "seen": {region: seen(region, now_s) for region in ALL},
        "instance": primary(given, *senders),
        "topology_seen_at_s": now_s - 0.1,
    }
    return view(US, now_s, **(base | changes))


def step(given: View) -> tuple[Topology | None, tuple[str, ...], str]:
    """What is proposed, with which records, and why."""
    decision = failover.decide(given)
    proposals = [action for action in decision.actions if isinstance(action, Propose)]
    assert len(proposals) <= 1
    if not proposals:
        return None, (), decision.because
    return proposals[0].topology, tuple(note.kind for note in proposals[0].notes), decision.because


# -- step by step ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(ReplicationMode))
def test_a_region_joins_as_a_learner_then_jointly_then_counts(mode: ReplicationMode) -> None:
    given = steady(US, EU, mode=mode)
    learner, kinds, _ = step(leading(given, (US, EU, AP), EU))
    assert learner == replace(given, joining=AP, because=learner.because if learner else "")
    assert kinds == ("DataRegionJoining",)

    nothing, _, because = step(leading(learner, (US, EU, AP), EU))
    assert nothing is None
    assert because == "ap is joining: it does not stream yet"

    joint, kinds, _ = step(leading(learner, (US, EU, AP), EU, AP))
    assert joint is not None
    assert (joint.joining, joint.joint, joint.data_regions, kinds) == (AP, True, (US, EU), ())

    not_yet = primary(joint, EU, AP, settled=False)
    assert step(leading(joint, (US, EU, AP), instance=not_yet))[0] is None, "PostgreSQL keeps both rules first"
    marked, _, _ = step(leading(joint, (US, EU, AP), EU, AP))
    assert marked == replace(joint, joint_lsn=100)

    behind = replace(primary(marked, EU), senders=(sender(EU), sender(AP, lsn=99)))
    assert step(leading(marked, (US, EU, AP), instance=behind))[0] is None, "it must hold what is there already"
    done, kinds, _ = step(leading(marked, (US, EU, AP), EU, AP))
    assert done is not None
    assert kinds == ("DataRegionJoined",)
    assert replace(done, because="") == replace(steady(US, EU, AP, mode=mode), because="")


def test_a_region_leaves_jointly_once_the_others_hold_everything() -> None:
    given = steady(US, EU, AP)
    leaving, kinds, _ = step(leading(given, (US, EU), EU, AP))
    assert leaving is not None
    assert (leaving.leaving, leaving.joint, leaving.data_regions) == (AP, True, (US, EU, AP))
    assert kinds == ("DataRegionLeaving",)
    marked, _, _ = step(leading(leaving, (US, EU), EU, AP))
    assert marked is not None
    assert step(leading(marked, (US, EU), AP))[0] is None, "a write may be on us and ap only"
    done, kinds, _ = step(leading(marked, (US, EU), EU))
    assert done is not None
    assert kinds == ("DataRegionLeft",)
    assert replace(done, because="") == replace(steady(US, EU), because="")


def test_a_region_that_is_gone_leaves_and_the_last_standby_too() -> None:
    heard = {region: seen(region, 100.0) for region in (US, EU)}
    leaving, _, _ = step(leading(steady(US, EU, AP), (US, EU), EU, seen=heard))
    assert leaving is not None
    assert leaving.leaving == AP
    alone = {"seen": {US: seen(US, 100.0)}}
    leaving, _, _ = step(leading(steady(US, EU), (US,), **alone))
    assert leaving is not None, "commits wait for eu until it has left"
    marked, _, _ = step(leading(leaving, (US,), **alone))
    assert marked is not None
    done, _, because = step(leading(marked, (US,), **alone))
    assert done is not None
    assert replace(done, because="") == replace(steady(US), because="")
    assert because == "eu is no longer a data region; a write is on 1 of 1 replicas before it is acknowledged"


def test_a_leave_waits_for_the_standbys_that_remain() -> None:
    none, _, because = step(leading(steady(US, EU, AP), (US, EU), AP))
    assert none is None
    assert because == "ap is to leave; waiting: 1 of eu must stream and have caught up"


def test_regions_are_added_before_others_are_removed_and_one_at_a_time() -> None:
    found, _, _ = step(leading(steady(US, EU), (US, AP, SA), EU))
    assert found is not None
    assert (found.joining, found.leaving) == (AP, None)


def test_only_what_a_majority_of_the_files_name_is_begun() -> None:
    assert step(leading(steady(US, EU), None, EU))[0] is None
    regions = (US, EU, AP)
    both, three = (US, EU), (US, EU, AP)
    assert data_regions.agreed({US: three, EU: both}, regions) is None
    assert data_regions.agreed({US: three, EU: both, AP: three}, regions) == three
    assert data_regions.agreed({US: three, SA: three}, regions) is None, "of the fleet's regions"
    assert data_regions.agreed({US: None, EU: None, AP: three}, regions) is None


def test_a_region_joins_once_its_agent_reports_an_instance() -> None:
    heard = {region: seen(region, 100.0) for region in (US, EU)}
    none, _, because = step(leading(steady(US, EU), (US, EU, AP), EU, seen=heard))
    assert none is None
    assert because == "waiting for ap to run an instance before it becomes a data region"


def test_another_order_of_preference_takes_effect_at_once() -> None:
    found, kinds, _ = step(leading(steady(US, EU, AP), (AP, US, EU), EU, AP))
    assert found is not None
    assert found.data_regions == (AP, US, EU)
    assert kinds == ("DataRegionsReordered",)


def test_a_primary_is_moved_out_before_its_region_leaves() -> None:
    given = steady(US, EU, AP)
    waited_s = {"topology_seen_at_s": 100.0 - 6 * LEASE_S}
    assert step(leading(given, (EU, AP), EU, AP))[0] is None, "not the moment it became primary"
    found, kinds, _ = step(leading(given, (EU, AP), EU, AP, **waited_s))
    assert found is not None
    assert (found.phase, found.target, kinds) == (Phase.SWITCHING, EU, ("SwitchoverStarted",))
    paused = replace(given, paused=True)
    nothing, _, because = step(leading(paused, (EU, AP), EU, AP, **waited_s))
    assert nothing is None
    assert "automatic failover is paused" in because
    nothing, _, because = step(leading(given, (EU, AP), **waited_s))
    assert because == "us is to leave and is the primary, and cannot be moved out: eu is not streaming from us"


@pytest.mark.parametrize(
    ("given", "declared"),
    [
        pytest.param(steady(US, EU, joining=AP), (US, EU), id="a learner"),
        pytest.param(steady(US, EU, AP, leaving=AP, joint=True), (US, EU, AP), id="a region that leaves"),
    ],
)
def test_files_that_say_otherwise_call_a_change_off(given: Topology, declared: tuple[Region, ...]) -> None:
    found, kinds, _ = step(leading(given, declared, EU, AP))
    assert found is not None
    assert (found.joining, found.leaving, found.joint) == (None, None, False)
    assert kinds == ("DataRegionChangeCalledOff",)


def test_a_joint_phase_that_commits_cannot_keep_is_rolled_back() -> None:
    given = steady(US, joining=EU, joint=True)
    late = {"topology_seen_at_s": 100.0 - 2 * LEASE_S}
    found, kinds, _ = step(leading(given, (US, EU), **late))
    assert found is not None
    assert (found.joining, found.joint) == (EU, False), "it learns on"
    assert kinds == ("DataRegionChangeCalledOff",)


def test_a_learner_that_is_lost_gives_up_its_turn() -> None:
    heard = {region: seen(region, 100.0) for region in (US, EU)}
    found, _, _ = step(leading(steady(US, EU, joining=AP), (US, EU, AP), EU, seen=heard))
    assert found is not None
    assert found.joining is None


@pytest.mark.parametrize("joint_lsn", [None, 100])
@pytest.mark.parametrize("change", [{"joining": SA}, {"leaving": AP}])
def test_every_move_of_the_primary_rolls_the_change_back(change: dict[str, Region], joint_lsn: int | None) -> None:
    given = steady(US, EU, AP, joint=True, joint_lsn=joint_lsn, **change)
    (action,) = failover.decide(lost_view(topology=given)).actions
    assert isinstance(action, Propose)
    started = switchover.start(leading(given, None, EU, AP), given, EU, "request").topology
    for found in (action.topology, started):
        assert (found.joint, found.joint_lsn, found.leaving) == (False, None, None)
        assert (found.joining, found.data_regions) == (change.get("joining"), (US, EU, AP))


def test_a_change_of_mode_and_one_of_regions_wait_for_each_other() -> None:
    both = steady(US, EU, mode=ASYNC, requested_mode=SYNC, joining=AP, joint=True)
    assert step(leading(both, (US, EU, AP), EU, AP))[0] == replace(both, joint_lsn=100)
    one = steady(US, mode=ASYNC, requested_mode=SYNC)
    found, kinds, _ = step(leading(one, (US,)))
    assert found is not None
    assert (found.mode, found.acks_required, kinds) == (SYNC, 0, ("ModeChanged",))


def test_a_promise_of_a_region_outside_of_the_set_counts_for_nothing() -> None:
    given = electing(data_regions=(US, EU, AP), mode=SYNC)
    promises = {r: Promise(r, APP, 2, WalPosition(1, 100)) for r in (EU, SA)}
    choice = election.choose(view(EU, regions=ALL, topology=given, promises=promises), given)
    assert choice.elected is None
    assert choice.because.startswith("only 1 of 3 replicas answered")


def test_a_region_that_leaves_is_no_target_of_a_switchover() -> None:
    given = steady(US, EU, AP, leaving=AP, joint=True)
    found = switchover.preflight(leading(given, (US, EU), EU, AP), given, AP)
    assert found == "ap is leaving: it will have no replica of payments"


# -- every acknowledged write is within every election's reach -------------------------------------

NAMES = tuple(Region(name) for name in "abcdefgh")


@st.composite
def changes(draw: st.DrawFn) -> Topology:
    """A set in force, and a region that joins it or leaves it; the primary is always one of those that stay."""
    count = draw(st.integers(1, 7))
    current = NAMES[:count]
    mode = draw(st.sampled_from((SYNC, QUORUM)))
    leaving = draw(st.sampled_from((None, *current[1:])))
    joining = NAMES[count] if leaving is None else None
    return steady(*current, mode=mode, primary=current[0], leaving=leaving, joining=joining)


def acknowledged(given: Topology) -> Iterator[frozenset[Region]]:
    """Every smallest set of replicas that a write may be on: the primary, and those that its rule asks for."""
    assert given.primary is not None
    rule = data_regions.rule(given, given.primary)
    if rule is None:
        yield frozenset((given.primary,))
        return
    assert rule.required <= len(rule.members), "commits could never be acknowledged"
    for chosen in combinations(rule.members, rule.required):
        yield frozenset((given.primary, *chosen))


def electorates(given: Topology) -> Iterator[frozenset[Region]]:
    """Every smallest set of promises that elects, as ``election.choose`` decides."""
    regions = given.data_regions
    opened = replace(given, epoch=2, phase=Phase.ELECTING, primary=None, deposed=given.primary, deposed_lease_over=True)
    for size in range(1, len(regions) + 1):
        found = [frozenset(chosen) for chosen in combinations(regions, size) if _elects(opened, chosen)]
        if found:
            yield from found
            return


def _elects(opened: Topology, chosen: tuple[Region, ...]) -> bool:
    promises = {region: Promise(region, APP, 2, WalPosition(1, 1)) for region in chosen}
    now_s = 100.0
    heard = {region: seen(region, now_s, report_=report()) for region in NAMES}
    given = view(chosen[0], now_s, regions=NAMES, topology=opened, promises=promises, seen=heard)
    return election.choose(given, opened).elected is not None


def reached(writes: Iterator[frozenset[Region]], given: Topology) -> bool:
    found = list(electorates(given))
    return all(write & promised for write in writes for promised in found)


@drawn(changes())
def test_joint_writes_are_reached_by_elections_of_the_set_in_force_and_of_the_next(given: Topology) -> None:
    joint = replace(given, joint=True)
    following = data_regions.next_set(joint)
    assert reached(acknowledged(joint), data_regions.rolled_back(joint)), "a change that is rolled back"
    assert reached(acknowledged(joint), steady(*following, mode=given.mode)), "a change that is carried through"


@drawn(changes(), st.data())
def test_what_was_acknowledged_before_is_reached_once_the_next_set_is_in_force(
    given: Topology, data: st.DataObject
) -> None:
    """The old primary's writes, wherever they were acknowledged, once standbys have flushed the joint LSN."""
    marked = replace(given, primary=US, joint=True, joint_lsn=100)
    renamed = {given.primary: US}
    current = tuple(renamed.get(r, r) for r in given.data_regions)
    marked = replace(marked, data_regions=current)
    others = [r for r in data_regions.replicas(marked) if r != US]
    flushed = [r for r in others if data.draw(st.booleans(), label=f"{r} flushed")]
    now_s = 100.0
    instance = replace(primary(marked), senders=tuple(sender(r, lsn=100 if r in flushed else 99) for r in others))
    settings: AppSettings = SETTINGS
    found, _, _ = step(
        view(
            US,
            now_s,
            app=settings,
            regions=(US, *NAMES),
            topology=marked,
            topology_seen_at_s=now_s - 0.1,
            seen={r: seen(r, now_s) for r in (US, *NAMES)},
            declared=data_regions.next_set(marked),
            instance=instance,
        )
    )
    if found is None:
        return
    before = acknowledged(replace(marked, joint=False))
    assert reached((write | {US, *flushed} for write in before), found)


@drawn(changes())
def test_the_joint_rule_is_what_both_sets_ask_for_and_no_more(given: Topology) -> None:
    joint = replace(given, joint=True)
    following = data_regions.next_set(joint)
    large = max((given.data_regions, following), key=len)
    rule = data_regions.rule(joint, NAMES[0])
    required = data_regions.acks_required(given.mode, len(large))
    assert (rule.required if rule is not None else 0) == required


def test_an_order_says_which_regions_have_replicas_the_learner_too() -> None:
    given = steady(US, EU, joining=AP)
    for me in (US, EU, AP):
        order = replication.order(view(me, topology=given))
        assert order is not None
        assert order.replicas == (US, EU, AP)
        assert (order.data_regions, order.acks_required) == ((US, EU), given.acks_required)
    assert replication.order(view(SA, topology=given)) == Order(
        1, Role.STOPPED, replicas=(US, EU, AP), data_regions=(US, EU), acks_required=given.acks_required
    )
