"""How an application stands, row by row: what is known, and which condition says what about it."""

from dataclasses import replace
from pathlib import Path

import pytest

from leeward.core.conditions.catalogue import CATALOGUE, MEANINGS, condition, page
from leeward.core.conditions.judge import Facts, conditions
from leeward.core.conditions.values import Condition, Status, Type
from leeward.core.values import LastDrill, Phase, ReplicationMode, Role
from leeward.core.view import Progress, View
from tests.conftest import Golden
from tests.core.views import AP, EU, LEASE_S, SETTINGS, US, electing, report, seen, sender, topology, view, wal

ROOT = Path(__file__).parents[3]
NOW_S = 100.0
OLD_S = NOW_S - LEASE_S - 1
SYNC = ReplicationMode.SYNC


def world(me: str = EU, **changes: object) -> View:
    """A steady application: us is primary, both others stream, each region has the two pods it wants."""
    senders = (sender(EU), sender(AP))
    regions = {
        US: seen(US, NOW_S, report_=report(Role.PRIMARY, senders=senders, pods_wanted=2)),
        EU: seen(EU, NOW_S, report_=report(pods_wanted=2)),
        AP: seen(AP, NOW_S, report_=report(pods_wanted=2)),
    }
    base: dict[str, object] = {"seen": regions, "app": replace(SETTINGS, pods_wanted=2), "pods_ready": 2}
    return view(EU if me == EU else US, NOW_S, **(base | changes))


def heard(**changed: object) -> dict[str, object]:
    """The heartbeats of a steady world, some of them otherwise."""
    return {**world().seen, **changed}


def primary(**changes: object) -> object:
    base: dict[str, object] = {"senders": (sender(EU), sender(AP)), "pods_wanted": 2}
    return seen(US, NOW_S, report_=report(Role.PRIMARY, **(base | changes)))


def told(of: View, *, age_s: float | None = 0.2, drill: LastDrill | None = None) -> dict[Type, Condition]:
    found = conditions(Facts(of, "it was decided so", age_s, drill))
    assert [each.type for each in found] == list(Type), "all of them, in order"
    return {each.type: each for each in found}


def reasons(of: View, *, age_s: float | None = 0.2) -> dict[Type, str]:
    return {each.type: each.reason for each in told(of, age_s=age_s).values()}


STEADY = {
    Type.READY: "Serving",
    Type.PRIMARY_WRITABLE: "AcceptsWrites",
    Type.REPLICATING: "AllStream",
    Type.OBJECTIVES_FEASIBLE: "WithinObjectives",
    Type.CAPACITY_SUFFICIENT: "EnoughPods",
    Type.QUORUM_AVAILABLE: "AllHeard",
    Type.LAST_DRILL_SUCCEEDED: "NoDrill",
    Type.PAUSED: "AutomaticFailover",
    Type.RECONCILING: "Settled",
    Type.STALLED: "NothingStuck",
}
LOST = {
    Type.READY: "NotWritable",
    Type.PRIMARY_WRITABLE: "PrimaryUnheard",
    Type.REPLICATING: "NoPrimary",
    Type.OBJECTIVES_FEASIBLE: "NoPrimary",
    Type.CAPACITY_SUFFICIENT: "RegionUnheard",
    Type.QUORUM_AVAILABLE: "MajorityHeard",
}
US_LOST = heard(us=seen(US, OLD_S, report_=report(Role.PRIMARY, pods_wanted=2)))
AP_LOST = heard(us=primary(senders=(sender(EU),)), ap=seen(AP, OLD_S))
APART = heard(us=primary(senders=(sender(EU), sender(AP, streaming=False))))
SLOW = (Progress(NOW_S - 8, wal(1, 90)), Progress(NOW_S - 7, wal(1, 300)), Progress(NOW_S, wal(1, 400)))


@pytest.mark.parametrize(
    ("of", "otherwise"),
    [
        pytest.param(world(), {}, id="steady"),
        pytest.param(world(seen=US_LOST), LOST, id="the primary's region falls silent"),
        pytest.param(
            world(seen=US_LOST, topology=electing(), topology_seen_at_s=NOW_S - 1),
            {**LOST, Type.PRIMARY_WRITABLE: "Electing", Type.RECONCILING: "Electing"},
            id="an election",
        ),
        pytest.param(
            world(seen=US_LOST, topology=electing(), topology_seen_at_s=NOW_S - 6),
            {
                **LOST,
                Type.PRIMARY_WRITABLE: "Electing",
                Type.RECONCILING: "Electing",
                Type.STALLED: "TakesTooLong",
            },
            id="an election longer than the RTO",
        ),
        pytest.param(
            world(seen=US_LOST, topology=topology(paused=True)),
            {**LOST, Type.PAUSED: "PausedByOperator", Type.STALLED: "PausedWithoutPrimary"},
            id="lost while paused",
        ),
        pytest.param(
            world(topology=topology(paused=True)),
            {Type.PAUSED: "PausedByOperator", Type.OBJECTIVES_FEASIBLE: "FailoverPaused"},
            id="paused",
        ),
        pytest.param(
            world(
                topology=topology(epoch=2, phase=Phase.PROMOTING),
                topology_seen_at_s=NOW_S - 1,
                seen=heard(us=primary(writable=False)),
            ),
            {
                Type.READY: "NotWritable",
                Type.PRIMARY_WRITABLE: "Promoting",
                Type.RECONCILING: "Promoting",
            },
            id="promoted, and not yet writable",
        ),
        pytest.param(
            world(topology=topology(phase=Phase.SWITCHING, target=EU), topology_seen_at_s=NOW_S - 1),
            {Type.RECONCILING: "SwitchingOver"},
            id="a switchover under way, still writable",
        ),
        pytest.param(
            world(seen=heard(us=primary(writable=False, problem="it is starting"))),
            {Type.READY: "NotWritable", Type.PRIMARY_WRITABLE: "DatabaseNotWritable"},
            id="the database crashed",
        ),
        pytest.param(
            world(seen=AP_LOST),
            {
                Type.REPLICATING: "StandbysMissing",
                Type.OBJECTIVES_FEASIBLE: "MajorityWouldBeLost",
                Type.CAPACITY_SUFFICIENT: "RegionUnheard",
                Type.QUORUM_AVAILABLE: "MajorityHeard",
            },
            id="a standby's region is lost",
        ),
        pytest.param(
            world(seen=APART),
            {Type.REPLICATING: "StandbysMissing", Type.RECONCILING: "Rejoining"},
            id="a standby rejoins",
        ),
        pytest.param(
            world(seen=heard(us=primary(senders=(sender(EU),)), ap=seen(AP, NOW_S, report_=report(wal=None)))),
            {
                Type.REPLICATING: "StandbysMissing",
                Type.CAPACITY_SUFFICIENT: "EnoughPods",
                Type.RECONCILING: "Rejoining",
            },
            id="a standby is copied anew: in async the other one suffices",
        ),
        pytest.param(
            world(
                topology=topology(mode=SYNC),
                seen=heard(us=primary(senders=(sender(EU),)), ap=seen(AP, NOW_S, report_=report(wal=None))),
            ),
            {
                Type.REPLICATING: "StandbysMissing",
                Type.OBJECTIVES_FEASIBLE: "NobodyToTakeOver",
                Type.RECONCILING: "Rejoining",
            },
            id="a standby is copied anew: in sync an election needs both",
        ),
        pytest.param(
            world(topology=topology(requested_mode=SYNC)), {Type.RECONCILING: "ChangingMode"}, id="a change of mode"
        ),
        pytest.param(
            world(topology=topology(mode=SYNC), app=replace(SETTINGS, rto_s=3.2, pods_wanted=2)),
            {Type.OBJECTIVES_FEASIBLE: "RtoTooShort"},
            id="the RTO leaves no room for sync",
        ),
        pytest.param(
            world(app=replace(SETTINGS, rpo_s=0.0, pods_wanted=2)),
            {Type.OBJECTIVES_FEASIBLE: "RpoTooStrict"},
            id="nothing may be lost, and it is async",
        ),
        pytest.param(world(progress=SLOW), {Type.OBJECTIVES_FEASIBLE: "BehindRpo"}, id="all standbys lag"),
        pytest.param(
            world(progress=SLOW[1:], seen=heard()), {Type.OBJECTIVES_FEASIBLE: "BehindRpo"}, id="and for long"
        ),
        pytest.param(world(progress=SLOW[2:]), {}, id="an agent that has just begun cannot tell"),
        pytest.param(world(pods_ready=1), {Type.CAPACITY_SUFFICIENT: "PodsMissing"}, id="a pod is not ready"),
        pytest.param(
            world(
                pods_ready=0,
                seen=heard(us=primary(pods_ready=0), ap=seen(AP, NOW_S, report_=report(pods_ready=0, pods_wanted=2))),
            ),
            {Type.READY: "NoPods", Type.CAPACITY_SUFFICIENT: "PodsMissing"},
            id="no pod is ready anywhere",
        ),
        pytest.param(
            world(topology=topology(data_regions=(US,))),
            {Type.REPLICATING: "NothingToReplicate", Type.OBJECTIVES_FEASIBLE: "NobodyToTakeOver"},
            id="one data region",
        ),
    ],
)
def test_how_it_stands(of: View, otherwise: dict[Type, str]) -> None:
    assert reasons(of) == STEADY | otherwise


@pytest.mark.parametrize(
    ("of", "age_s", "reason"),
    [
        pytest.param(world(), None, "QuorumUnheard", id="never heard"),
        pytest.param(world(), LEASE_S + 1, "QuorumUnheard", id="not heard for long"),
        pytest.param(world(topology=None), 0.1, "NotFounded", id="just starting"),
        pytest.param(
            world(topology=None, app=replace(SETTINGS, instance_url=None)), 0.1, "DatabaseElsewhere", id="not ours"
        ),
    ],
)
def test_what_is_not_known_is_not_claimed(of: View, age_s: float | None, reason: str) -> None:
    found = told(of, age_s=age_s, drill=LastDrill("region-loss", "async", "passed", 1.0, 1.0))
    assert found.pop(Type.LAST_DRILL_SUCCEEDED).status is Status.TRUE, "a record stays true"
    assert {each.reason for each in found.values()} == {reason}
    assert Status.TRUE not in {found[each].status for each in (Type.READY, Type.PRIMARY_WRITABLE, Type.REPLICATING)}


@pytest.mark.parametrize(
    ("verdict", "status"),
    [("passed", Status.TRUE), ("failed", Status.FALSE), ("inconclusive", Status.UNKNOWN)],
)
def test_the_last_drill(verdict: str, status: Status) -> None:
    found = told(world(), drill=LastDrill("partition", "sync", verdict, 5.0))[Type.LAST_DRILL_SUCCEEDED]
    assert (found.status, found.message) == (status, f"partition in sync: {verdict}")


def test_messages_are_for_people() -> None:
    found = told(world(seen=AP_LOST))
    assert found[Type.READY].message == "us accepts writes under epoch 1; pods serve in us and eu"
    assert found[Type.REPLICATING].message == "ap does not stream from us (ap: not heard for longer than a lease)"
    pods = "2 of 2 in us, 2 of 2 in eu, 0 of 1 in ap"
    assert found[Type.CAPACITY_SUFFICIENT].message == f"ap is not heard; ready pods: {pods}"
    steady = told(world())[Type.OBJECTIVES_FEASIBLE].message
    assert steady == "were us lost, eu could take over within 3.06 s and lose about 0.0 s of writes (RPO 5 s)"


def test_every_reason_is_in_the_catalogue_once() -> None:
    keys = [(reason.type, reason.name) for reason in CATALOGUE]
    assert len(keys) == len(set(keys))
    assert MEANINGS.keys() == set(Type)
    assert all(reason.name.isalnum() and reason.name[0].isupper() and reason.meaning for reason in CATALOGUE)
    with pytest.raises(KeyError):
        condition(Type.READY, "MadeUp", "")


def test_the_page_of_conditions_is_current(golden: Golden) -> None:
    golden(ROOT / "docs" / "reference" / "conditions.md", page())
