"""What the status shows for what the agents answered, as golden text."""

from typing import Any

import pytest

from leeward.cli.console import Colour, Console
from leeward.cli.status import Page, render
from leeward.core.codec import plain
from leeward.core.values import (
    App,
    Heartbeat,
    InstanceReport,
    LastDrill,
    Phase,
    Region,
    ReplicationMode,
    Role,
    Sender,
    Tally,
    Topology,
    WalPosition,
)
from leeward.operate.agents import Answer
from leeward.operate.outcome import OperationError
from leeward.operate.situation import only, situation
from leeward.world.model import RegionInfo, RegionState, WorldInfo

EAST, WEST, FAR = Region("east"), Region("west"), Region("far")
SHOP = App("shop")
REGIONS = (EAST, WEST, FAR)


def report(role: Role, *, writable: bool = False, senders: tuple[Sender, ...] = ()) -> InstanceReport:
    return InstanceReport(
        role=role,
        epoch=3,
        writable=writable,
        wal=WalPosition(3, 10_000),
        upstream=None if writable else EAST,
        healthy=True,
        pods_ready=2,
        senders=senders,
    )


def sender(region: Region, flushed_lsn: int) -> Sender:
    return Sender(region, streaming=True, flushed_lsn=flushed_lsn, replayed_lsn=flushed_lsn, synchronous=False)


def answer(
    region: Region, revision: int, age_s: float, phase: Phase = Phase.STEADY, unheard: tuple[Region, ...] = ()
) -> Answer:
    senders = (sender(WEST, 10_000), sender(FAR, 9_000))
    reports = {
        EAST: report(Role.PRIMARY, writable=phase is Phase.STEADY, senders=senders),
        WEST: report(Role.STANDBY),
        FAR: report(Role.STANDBY),
    }
    heartbeats: dict[str, Any] = {
        name: plain(Heartbeat(name, "i", 1, 0, apps={SHOP: each})) | {"age_s": 6.2 if name in unheard else 0.2}
        for name, each in reports.items()
    }
    topology = Topology(
        app=SHOP,
        epoch=3,
        phase=phase,
        primary=EAST if phase is Phase.STEADY else None,
        data_regions=REGIONS,
        mode=ReplicationMode.ASYNC,
        acks_required=0,
        because="east accepts writes" if phase is Phase.STEADY else "east was last heard 2.1 s ago",
    )
    body = {
        "revision": revision,
        "age_s": age_s,
        "quorum_leader": WEST,
        "answered": [name for name in REGIONS if name not in unheard],
        "topologies": {SHOP: plain(topology)},
        "objectives": {SHOP: {"rto_s": 30.0, "rpo_s": 5.0}},
        "heartbeats": heartbeats,
        "drills": {SHOP: plain(LastDrill("region-loss", "async", "passed", 100.0, 100.0))},
    }
    return Answer(region, 200, body)


def silent(region: Region) -> Answer:
    return Answer(region, 0, {}, "no answer within 0.5 s")


def info(*lost: Region) -> WorldInfo:
    return WorldInfo(
        name="default",
        fleet="small",
        directory="/d",
        isolation="user-namespace",
        not_emulated=(),
        janitor_pid=1,
        supervisor_pid=2,
        wan_pid=3,
        started_at_unix_s=0.0,
        files=("/f",),
        regions=tuple(
            RegionInfo(
                name=region,
                index=index,
                state=RegionState.LOST if region in lost else RegionState.RUNNING,
                because="killed by request" if region in lost else "it runs",
                pid=4,
                directory="/d",
                gateway_url=f"http://127.0.0.1:180{index}0",
                agent_url=f"https://127.0.0.1:180{index}1",
                api_url=f"https://127.0.0.1:180{index}2",
                dns_host="127.0.0.1",
                dns_port=18003 + 10 * index,
            )
            for index, region in enumerate(REGIONS, start=1)
        ),
    )


def shown(
    *answers: Answer, lost: tuple[Region, ...] = (), wide: bool = False, now_s: float = 725.0, conditions: bool = False
) -> str:
    world = info(*lost)
    page = Page(world.fleet, REGIONS, world, wide=wide, conditions=conditions)
    return render(Console(Colour.NEVER), page, situation(answers), now_s=now_s)


def stands(of: str, status: str, reason: str, message: str, minute: int = 0) -> dict[str, Any]:
    at = f"2026-01-01T00:{minute:02}:00Z"
    seen = {"type": of, "status": status, "reason": reason, "message": message}
    return {**seen, "lastTransitionTime": at, "observedGeneration": 1}


def telling(answered: Answer, *conditions: dict[str, Any], **more: Any) -> Answer:
    return Answer(answered.region, 200, {**answered.body, "conditions": {SHOP: list(conditions)}, **more})


def test_steady() -> None:
    assert shown(answer(EAST, 41, 0.3), answer(WEST, 42, 0.1), answer(FAR, 42, 0.2)) == (
        "world default, fleet small: revision 42, 100ms old, by west; 3 of 3 regions answered\n"
        "\n"
        "NAME   READY   PRIMARY   EPOCH   MODE    LAG     RPO    DRILL    NEEDLESS   AGE\n"
        "shop   3/3     east      3       async   1000B   <=5s   passed   0          12m5s\n"
        "\n"
        "REGION   STATE     APP    ROLE                PODS   LAG     HEARTBEAT\n"
        "east     running   shop   primary, writable   2      -       200ms ago\n"
        "west     running   shop   standby             2      0B      200ms ago\n"
        "far      running   shop   standby             2      1000B   200ms ago\n"
        "\n"
        "REGION   STATE     GATEWAY                  AGENT             API-SERVER        DNS\n"
        "east     running   http://127.0.0.1:18010   127.0.0.1:18011   127.0.0.1:18012   -p 18013\n"
        "west     running   http://127.0.0.1:18020   127.0.0.1:18021   127.0.0.1:18022   -p 18023\n"
        "far      running   http://127.0.0.1:18030   127.0.0.1:18031   127.0.0.1:18032   -p 18033"
    )


def test_where_users_are_sent_stands_beside_each_region() -> None:
    known = answer(EAST, 42, 0.1)
    leads_to = {EAST: [WEST], WEST: [WEST], FAR: [FAR, EAST]}
    names = {SHOP: {"host": "shop.example.com", "leads_to": leads_to, "left_out": {EAST: "it is lost"}}}
    lines = shown(Answer(EAST, 200, {**known.body, "names": names})).splitlines()
    start = next(index for index, line in enumerate(lines) if "USERS-TO" in line)
    assert [line.split("   ")[-1].strip() for line in lines[start : start + 4]] == [
        "USERS-TO",
        "west",
        "west",
        "far, east",
    ]


def test_a_lost_region_and_an_election_are_seen_first() -> None:
    head = shown(silent(EAST), answer(WEST, 50, 0.1, Phase.ELECTING), answer(FAR, 49, 0.0), lost=(EAST,)).split("\n\n")
    assert head[0].splitlines() == [
        "world default, fleet small: revision 50, 100ms old, by west; 2 of 3 regions answered",
        "silent: east (lost: killed by request; no answer within 0.5 s)",
        "shop: electing, because east was last heard 2.1 s ago",
    ]
    assert head[1].splitlines()[1].split() == ["shop", "3/3", "-", "3", "async", "-", "<=5s", "passed", "0", "12m5s"]


def test_a_region_whose_gateway_does_not_reach_one_that_is_well_is_not_ready() -> None:
    seen = answer(EAST, 7, 0.2)
    seen.body["heartbeats"][WEST]["apps"][SHOP]["broken_paths"] = {FAR: "no answer"}
    assert [row.ready for row in situation([seen]).applications] == [2]
    seen.body["heartbeats"][FAR]["apps"][SHOP]["healthy"] = False
    assert [row.ready for row in situation([seen]).applications] == [2], "far is not, and west is not to blame"


def test_a_region_whose_gateway_does_not_answer_users_is_not_ready_and_has_a_problem() -> None:
    seen = answer(EAST, 7, 0.2)
    seen.body["heartbeats"][WEST]["gateway_problem"] = "the users' port refuses connections"
    found = situation([seen])
    assert [row.ready for row in found.applications] == [2]
    assert [row.problem for row in found.regions if row.region == WEST] == ["the users' port refuses connections"]


def test_a_region_that_joins_is_named_and_has_a_row_of_its_own() -> None:
    known = answer(EAST, 42, 0.1)
    because = "far becomes a data region: it copies and streams, and does not count yet"
    change = {"data_regions": [EAST, WEST], "joining": FAR, "because": because}
    body = {**known.body, "topologies": {SHOP: {**known.body["topologies"][SHOP], **change}}}
    text = shown(Answer(EAST, 200, body))
    assert f"shop: far is joining, because {because}" in text.splitlines()
    assert "shop   2/2     east" in text, "it is not counted"
    assert "far      running   shop   standby             2      1000B" in text


def test_what_a_lost_region_said_last_is_not_shown_as_if_it_were_so() -> None:
    text = shown(silent(EAST), answer(WEST, 50, 0.1, unheard=(EAST,)), answer(FAR, 49, 0.0), lost=(EAST,))
    assert "shop   2/3     east" in text
    assert "east     lost      shop   -         -      -     6.2s ago" in text
    assert "writable" not in text


def test_the_rpo_is_measured_where_the_primary_s_agent_answers() -> None:
    measured = answer(EAST, 42, 0.1)
    body = {**measured.body, "lags_s": {SHOP: {WEST: 0.2, FAR: 1.4}}}
    lines = shown(Answer(EAST, 200, body), wide=True).splitlines()
    assert lines[3].split()[6:15] == ["200ms", "passed", "0", "12m5s", "0", "<=5s", "region-loss,", "10m25s", "ago"]


def test_needless_and_withheld_failovers_are_counted() -> None:
    tally = plain(Tally(needless=2, needless_lost=7, needless_gap_s=6.1, withheld=3))
    seen = telling(answer(EAST, 42, 0.1), tallies={SHOP: tally})
    (row,) = situation([seen]).applications
    counted = (row.needless_failovers, row.needless_lost, row.needless_gap_s, row.withheld_failovers)
    assert counted == (2, 7, 6.1, 3)
    lines = shown(seen, wide=True).splitlines()
    assert dict(zip(lines[2].split(), lines[3].split(), strict=False))["NEEDLESS"] == "2"
    assert dict(zip(lines[2].split(), lines[3].split(), strict=False))["WITHHELD"] == "3"
    assert "observe" not in lines[0] + lines[1], "automatic again: the count remains, the warning does not"


def test_that_automatic_failover_is_off_is_shown_once() -> None:
    observing = stands("Observing", "True", "ObserveOnly", "failover is set to observe")
    infeasible = stands("ObjectivesFeasible", "False", "FailoverObserved", "no region would take over")
    seen = telling(answer(EAST, 42, 0.1), observing, infeasible, tallies={SHOP: plain(Tally(withheld=1))})
    assert shown(seen).split("\n\n")[0].splitlines()[1:] == [
        "shop: automatic failover is off, because failover is set to observe; 1 withheld so far"
    ]


def test_who_has_not_heard_the_store_for_long_does_not_win_by_a_revision_of_before_a_restore() -> None:
    restored, before = answer(WEST, 700, 0.1), answer(EAST, 2000, 30.0)
    assert situation((before, restored)).source == WEST
    assert situation((before, answer(WEST, 700, 20.0))).source == EAST, (
        "no agent has recent contact: the newest revision wins"
    )
    assert situation((answer(EAST, 2000, 9.0), restored)).source == EAST


def test_the_newest_revision_wins_whole() -> None:
    view = situation([answer(EAST, 40, 0.0), answer(WEST, 41, 3.0, Phase.ELECTING)])
    assert (view.revision, view.source, view.applications[0].primary) == (41, WEST, None)


def test_one_application_of_several() -> None:
    both = answer(EAST, 41, 0.0)
    body = {
        **both.body,
        "topologies": {"cart": {**both.body["topologies"][SHOP], "app": "cart"}, **both.body["topologies"]},
    }
    view = situation([Answer(EAST, 200, body)])
    assert [row.name for row in view.applications] == ["cart", SHOP]
    alone = only(SHOP, view)
    assert {row.name for row in alone.applications} | {row.application for row in alone.regions} == {SHOP}
    assert only(None, view) == view
    with pytest.raises(OperationError, match="no-such-application"):
        only("till", view)
    unknown = situation([silent(EAST)])
    assert only("till", unknown) == unknown, "no agent knows"


def test_no_agent_answers() -> None:
    text = shown(*map(silent, REGIONS))
    assert text.startswith("world default, fleet small: no agent knows the quorum's state; 0 of 3 regions answered\n")
    assert "NAME" not in text


FEW = stands("CapacitySufficient", "False", "PodsMissing", "ready pods: 1 of 2 in far", 3)
ON_TIME_S = 1767225900.0  # five minutes after the conditions' hour


def test_what_is_not_as_it_should_be_is_seen_first() -> None:
    fine = stands("Replicating", "True", "AllStream", "west and far stream from it")
    text = shown(telling(answer(EAST, 42, 0.1), fine, FEW))
    assert text.splitlines()[1] == "shop: CapacitySufficient is False, because ready pods: 1 of 2 in far"
    assert "Replicating" not in text


def test_conditions_are_shown_as_the_longest_watcher_saw_them() -> None:
    serving = stands("Ready", "True", "Serving", "east accepts writes", 4)
    newest = telling(answer(EAST, 42, 0.1), serving, FEW)
    longest = telling(answer(WEST, 41, 0.1), stands("Ready", "True", "Serving", "old words", 1))
    other = telling(answer(FAR, 40, 0.1), stands("Ready", "False", "NotWritable", "older words", 0))
    parts = shown(newest, longest, other, now_s=ON_TIME_S, conditions=True).split("\n\n")
    assert parts[2].splitlines() == [
        "SHOP:CONDITION       STATUS   REASON        SINCE   BECAUSE",
        "Ready                True     Serving       4m0s    east accepts writes",
        "CapacitySufficient   False    PodsMissing   2m0s    ready pods: 1 of 2 in far",
    ]


def test_deep_health_is_each_regions_own_word() -> None:
    sick = {SHOP: {"healthy": False, "because": "test write on the primary: refused", "age_s": 3.0}}
    well = {SHOP: {"healthy": True, "because": "it can do all its work", "age_s": 1.0}}
    text = shown(telling(answer(EAST, 42, 0.1), deep=well), telling(answer(WEST, 42, 0.1), deep=sick), wide=True)
    assert "shop: deep health fails in west, because test write on the primary: refused (3s ago)\n" in text
    regions = next(part for part in text.split("\n\n") if "DEEP-HEALTH" in part).splitlines()
    assert [("healthy" in line, "fails" in line) for line in regions[1:]] == [
        (True, False),
        (False, True),
        (False, False),
    ]
