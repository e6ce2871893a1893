"""How an application stands, row by row: what is known, and which condition says what about it."""

from dataclasses import replace
from pathlib import Path

import pytest

from leeward.core.certificates import Certificate
from leeward.core.conditions.catalogue import CATALOGUE, MEANINGS, condition, page
from leeward.core.conditions.certificate_conditions import Known
from leeward.core.conditions.judge import Facts, conditions
from leeward.core.conditions.values import Condition, Status, Type
from leeward.core.progress import Progress
from leeward.core.store_members import StoreFacts, StoreMember
from leeward.core.values import Disk, FailoverPolicy, LastDrill, Phase, Region, ReplicationMode, Role
from leeward.core.view import View
from tests.conftest import Golden
from tests.core.views import AP, EU, LEASE_S, SETTINGS, US, electing, report, seen, sender, topology, view, wal

ROOT = Path(__file__).parents[3]
NOW_S = 100.0
OLD_S = NOW_S - LEASE_S - 1
OBSERVED = replace(SETTINGS, pods_wanted=2, failover=FailoverPolicy.OBSERVE)
SYNC = ReplicationMode.SYNC
GIB = 2**30
ROOMY = Disk(100 * GIB, 90 * GIB)


def world(me: str = EU, **changes: object) -> View:
    """A steady application: us is primary, both others stream, each region has the two pods it wants."""
    senders = (sender(EU), sender(AP))
    regions = {
        US: seen(US, NOW_S, report_=report(Role.PRIMARY, senders=senders, pods_wanted=2, disk=ROOMY)),
        EU: seen(EU, NOW_S, report_=report(pods_wanted=2, disk=Disk(100 * GIB, 10 * GIB))),
        AP: seen(AP, NOW_S, report_=report(pods_wanted=2)),
    }
    base: dict[str, object] = {"seen": regions, "app": replace(SETTINGS, pods_wanted=2), "pods_ready": 2}
    return view(EU if me == EU else US, NOW_S, **(base | changes))


def heard(**changed: object) -> dict[str, object]:
    """The heartbeats of a steady world, some of them otherwise."""
    return {**world().seen, **changed}


def primary(**changes: object) -> object:
    base: dict[str, object] = {"senders": (sender(EU), sender(AP)), "pods_wanted": 2, "disk": ROOMY}
    return seen(US, NOW_S, report_=report(Role.PRIMARY, **(base | changes)))


UNIX_S = 1.7e9
DAY_S = 86400.0
PERIOD_S = 600.0


def backed_up(*ages_s: float | None, error: str = "") -> StoreFacts:
    """Members whose newest backups are so old."""
    made = [None if age_s is None else UNIX_S - age_s for age_s in ages_s]
    members = {region: StoreMember(at, error) for region, at in zip((US, EU, AP), made, strict=False)}
    return StoreFacts(members, UNIX_S, PERIOD_S)


def sized(us: float, eu: float, *, alarms: tuple[str, ...] = (), us_alarms: tuple[str, ...] = ()) -> StoreFacts:
    """Members whose files are that large, in MiB."""
    mib, member = 1024 * 1024, StoreMember(UNIX_S, answers=True, quota_bytes=256 * 1024 * 1024)
    sizes = {
        region: replace(member, db_bytes=int(size * mib), in_use_bytes=mib) for region, size in ((US, us), (EU, eu))
    }
    found = {US: replace(sizes[US], alarms=us_alarms), EU: replace(sizes[EU], alarms=alarms)}
    return StoreFacts(found, UNIX_S, PERIOD_S)


WELL_KEPT = sized(2, 2)


def lasting(*days_left: float, life_days: float = 30) -> dict[Region, tuple[Certificate, ...]]:
    """A certificate of each region, of which so much is left."""
    return {
        region: (Certificate("agent", UNIX_S + (left - life_days) * DAY_S, UNIX_S + left * DAY_S),)
        for region, left in zip((US, EU, AP), days_left, strict=False)
    }


IN_TIME = lasting(29, 29, 29)


def conditions_of(
    of: View,
    *,
    age_s: float | None = 0.2,
    drill: LastDrill | None = None,
    store: StoreFacts = WELL_KEPT,
    certificates: Known = IN_TIME,
) -> dict[Type, Condition]:
    found = conditions(Facts(of, "it was decided so", age_s, drill, store, certificates, UNIX_S))
    assert [each.type for each in found] == list(Type), "all of them, in order"
    return {each.type: each for each in found}


def reasons(of: View, *, age_s: float | None = 0.2) -> dict[Type, str]:
    return {each.type: each.reason for each in conditions_of(of, age_s=age_s).values()}


STEADY = {
    Type.READY: "Serving",
    Type.PRIMARY_WRITABLE: "AcceptsWrites",
    Type.REPLICATING: "AllStream",
    Type.DURABILITY_AS_PROMISED: "NotWeakened",
    Type.DISK_HAS_ROOM: "EnoughRoom",
    Type.OBJECTIVES_FEASIBLE: "WithinObjectives",
    Type.CAPACITY_SUFFICIENT: "EnoughPods",
    Type.GATEWAYS_CONNECTED: "AllConnected",
    Type.QUORUM_AVAILABLE: "AllHeard",
    Type.STORE_HAS_ROOM: "HasRoom",
    Type.STORE_BACKED_UP: "BackupRecent",
    Type.CERTIFICATES_VALID: "InTime",
    Type.LAST_DRILL_SUCCEEDED: "NoDrill",
    Type.PAUSED: "AutomaticFailover",
    Type.OBSERVING: "ActsByItself",
    Type.RECONCILING: "Settled",
    Type.STALLED: "NothingStuck",
}
LOST = {
    Type.READY: "NotWritable",
    Type.PRIMARY_WRITABLE: "PrimaryUnheard",
    Type.REPLICATING: "NoPrimary",
    Type.DURABILITY_AS_PROMISED: "NoPrimary",
    Type.OBJECTIVES_FEASIBLE: "NoPrimary",
    Type.CAPACITY_SUFFICIENT: "RegionUnheard",
    Type.QUORUM_AVAILABLE: "MajorityHeard",
}
US_LOST = heard(us=seen(US, OLD_S, report_=report(Role.PRIMARY, pods_wanted=2)))
AP_LOST = heard(us=primary(senders=(sender(EU),), broken_paths={AP: "not its gateway's fault"}), ap=seen(AP, OLD_S))
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
            world(app=OBSERVED),
            {Type.OBSERVING: "ObserveOnly", Type.OBJECTIVES_FEASIBLE: "FailoverObserved"},
            id="observed only",
        ),
        pytest.param(
            world(seen=US_LOST, app=OBSERVED),
            {**LOST, Type.OBSERVING: "ObserveOnly", Type.STALLED: "ObservedWithoutPrimary"},
            id="lost while observed only",
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
            world(me=US, lease_until_s=NOW_S - 0.1),
            {Type.READY: "NotWritable", Type.PRIMARY_WRITABLE: "PrimaryUnheard"},
            id="the primary's own agent lost its lease: the store refuses writes",
        ),
        pytest.param(
            world(seen=heard(us=primary(writable=False, problem="it is starting"))),
            {Type.READY: "NotWritable", Type.PRIMARY_WRITABLE: "DatabaseNotWritable"},
            id="the database crashed",
        ),
        pytest.param(
            world(seen=heard(us=primary(weakened=("role payments has synchronous_commit = off",)))),
            {Type.DURABILITY_AS_PROMISED: "SynchronousCommitOff"},
            id="the application's commits do not wait",
        ),
        pytest.param(
            world(seen=heard(ap=seen(AP, NOW_S, report_=report(pods_wanted=2, disk=Disk(100 * GIB, 9 * GIB))))),
            {Type.DISK_HAS_ROOM: "DiskFilling"},
            id="the volume of a standby is nearly full",
        ),
        pytest.param(
            world(seen=heard(us=primary(disk=None), eu=seen(EU, NOW_S, report_=report(pods_wanted=2)))),
            {Type.DISK_HAS_ROOM: "NotMeasured"},
            id="no volume was measured",
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
            world(seen=heard(us=primary(broken_paths={AP: "no answer"}))),
            {Type.GATEWAYS_CONNECTED: "PathBroken"},
            id="a gateway does not reach a region that is well",
        ),
        pytest.param(
            world(seen=heard(ap=seen(AP, NOW_S, report_=report(pods_wanted=2, broken_paths={AP: "it is full"})))),
            {Type.GATEWAYS_CONNECTED: "PathBroken"},
            id="a gateway is full",
        ),
        pytest.param(
            world(own_gateway_problem="the users' port refuses connections"),
            {Type.GATEWAYS_CONNECTED: "UsersUnanswered"},
            id="our gateway is drained",
        ),
        pytest.param(
            world(
                seen=heard(
                    us=primary(senders=(sender(EU),), broken_paths={AP: "no answer"}),
                    ap=seen(AP, NOW_S, report_=report(wal=None, healthy=False, pods_wanted=2)),
                )
            ),
            {
                Type.REPLICATING: "StandbysMissing",
                Type.RECONCILING: "Rejoining",
            },
            id="a gateway does not reach a database that is down: not its fault",
        ),
        pytest.param(
            world(
                seen=heard(ap=seen(AP, NOW_S, report_=report(healthy=False, problem="a slot is lost", pods_wanted=2)))
            ),
            {Type.REPLICATING: "StandbysUnhealthy"},
            id="a standby streams and reports a problem",
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
            id="a standby is copied again: in async the other one suffices",
        ),
        pytest.param(
            world(
                topology=topology(mode=SYNC),
                seen=heard(us=primary(senders=(sender(EU),)), ap=seen(AP, NOW_S, report_=report(wal=None))),
            ),
            {
                Type.REPLICATING: "StandbysMissing",
                Type.OBJECTIVES_FEASIBLE: "TooFewReplicas",
                Type.RECONCILING: "Rejoining",
            },
            id="a standby is copied again: in sync an election needs both",
        ),
        pytest.param(
            world(topology=topology(requested_mode=SYNC)), {Type.RECONCILING: "ChangingMode"}, id="a change of mode"
        ),
        pytest.param(
            world(topology=topology(joining=Region("sa"))),
            {Type.RECONCILING: "DataRegionJoining"},
            id="a data region is being added",
        ),
        pytest.param(
            world(topology=topology(leaving=AP, joint=True)),
            {Type.RECONCILING: "DataRegionLeaving"},
            id="a data region is being removed",
        ),
        pytest.param(
            world(declared=(US, EU)),
            {Type.RECONCILING: "DataRegionsDiffer"},
            id="the files name other data regions, and the next step waits",
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
        pytest.param(
            world(progress=SLOW[2:]),
            {Type.OBJECTIVES_FEASIBLE: "BehindRpo"},
            id="a loss that is not on record is infinite",
        ),
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
            {Type.REPLICATING: "NothingToReplicate", Type.OBJECTIVES_FEASIBLE: "TooFewReplicas"},
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
    found = conditions_of(of, age_s=age_s, drill=LastDrill("region-loss", "async", "passed", 1.0, 1.0))
    assert found.pop(Type.LAST_DRILL_SUCCEEDED).status is Status.TRUE, "a record stays true"
    assert found.pop(Type.STORE_BACKED_UP).status is Status.TRUE, "backups are files, and agents report to each other"
    assert found.pop(Type.CERTIFICATES_VALID).status is Status.TRUE, (
        "they are looked at, and agents report to each other"
    )
    assert found.pop(Type.STORE_HAS_ROOM).status is Status.TRUE, "members say so, and agents report to each other"
    assert {each.reason for each in found.values()} == {reason}
    assert Status.TRUE not in {found[each].status for each in (Type.READY, Type.PRIMARY_WRITABLE, Type.REPLICATING)}


@pytest.mark.parametrize(
    ("verdict", "status"),
    [("passed", Status.TRUE), ("failed", Status.FALSE), ("inconclusive", Status.UNKNOWN)],
)
def test_the_last_drill(verdict: str, status: Status) -> None:
    found = conditions_of(world(), drill=LastDrill("partition", "sync", verdict, 5.0))[Type.LAST_DRILL_SUCCEEDED]
    assert (found.status, found.message) == (status, f"partition in sync: {verdict}")


@pytest.mark.parametrize(
    ("certificates", "reason", "message"),
    [
        pytest.param(lasting(29, 8, 29), "InTime", "the first to expire is agent of eu, in 8 days", id="in time"),
        pytest.param(lasting(7.5), "InTime", "the first to expire is agent of us, in 8 days", id="a quarter is left"),
        pytest.param(
            lasting(29, 7, 1), "RenewalOverdue", "ap: agent expires in 24 h; eu: agent expires in 7 days", id="late"
        ),
        pytest.param(lasting(0, 7), "Expired", "us: agent has expired", id="expired at this moment"),
        pytest.param(
            lasting(400, life_days=3650), "InTime", "the first to expire is agent of us, in 400 days", id="an authority"
        ),
        pytest.param(
            lasting(29, 29.9, life_days=3650),
            "RenewalOverdue",
            "us: agent expires in 29 days; eu: agent expires in 30 days",
            id="a late one",
        ),
        pytest.param({}, "NotYetKnown", "no certificate has been checked yet", id="just started"),
        pytest.param({US: ()}, "NotYetKnown", "no certificate has been checked yet", id="nothing answers"),
    ],
)
def test_certificates_are_renewed_in_time(certificates: Known, reason: str, message: str) -> None:
    found = conditions_of(world(), certificates=certificates)[Type.CERTIFICATES_VALID]
    assert (found.reason, found.message) == (reason, message)


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        pytest.param(backed_up(3 * PERIOD_S), "BackupRecent", id="three periods"),
        pytest.param(backed_up(3 * PERIOD_S + 1, None, 4 * PERIOD_S), "BackupOld", id="longer"),
        pytest.param(backed_up(4 * PERIOD_S, 10.0), "BackupRecent", id="one region has one"),
        pytest.param(backed_up(-4 * PERIOD_S), "BackupRecent", id="made by a clock that was ahead"),
        pytest.param(backed_up(None, error="no space"), "NoBackup", id="none could be made"),
        pytest.param(backed_up(None, None), "NotYetKnown", id="just started"),
        pytest.param(StoreFacts(), "NotYetKnown", id="nothing is known"),
    ],
)
def test_a_store_is_backed_up_while_any_region_has_a_recent_backup(store: StoreFacts, reason: str) -> None:
    assert conditions_of(world(), store=store)[Type.STORE_BACKED_UP].reason == reason


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        pytest.param(sized(204, 204), "HasRoom", id="below 80 %"),
        pytest.param(sized(2, 205), "Filling", id="one is above"),
        pytest.param(sized(2, 2, alarms=("NOSPACE",)), "NoSpace", id="no write is accepted"),
        pytest.param(sized(2, 2, alarms=("CORRUPT", "NOSPACE")), "Corrupt", id="members differ"),
        pytest.param(sized(2, 2, us_alarms=("NOSPACE",)), "HasRoom", id="what a lost region last reported is over"),
        pytest.param(backed_up(10.0), "NotYetKnown", id="not measured yet"),
    ],
)
def test_whether_the_store_has_room(store: StoreFacts, reason: str) -> None:
    assert conditions_of(world(), store=store)[Type.STORE_HAS_ROOM].reason == reason


def test_messages_are_for_people() -> None:
    found = conditions_of(world(seen=AP_LOST))
    assert found[Type.READY].message == "us accepts writes under epoch 1; pods serve in us and eu"
    assert found[Type.REPLICATING].message == "ap does not stream from us (ap: no heartbeat for longer than a lease)"
    pods = "2 of 2 in us, 2 of 2 in eu, 0 of 1 in ap"
    assert found[Type.CAPACITY_SUFFICIENT].message == f"no heartbeat from ap; ready pods: {pods}"
    failed = conditions_of(world(), store=backed_up(1860.0, error="no space"))[Type.STORE_BACKED_UP].message
    assert failed == "us has the newest checked backup, 31 min old; one is due every 600 s (us: no space)"
    room = conditions_of(world(), store=sized(205, 2.5))[Type.STORE_HAS_ROOM].message
    assert room == "eu: 2.5 of 256 MiB, 1.0 MiB in use; us: 205.0 of 256 MiB, 1.0 MiB in use"
    steady = conditions_of(world())[Type.OBJECTIVES_FEASIBLE].message
    assert steady == "if us were lost, eu could take over within 3.06 s and lose about 0.0 s of writes (RPO 5 s)"


def test_the_progress_of_a_joining_region_is_reported_by_the_primary() -> None:
    joining = topology(joining=AP, data_regions=(US, EU))
    for senders, progress in (
        ((sender(EU),), "it does not stream yet"),
        ((sender(EU), sender(AP, lsn=60)), "it streams and is 40 bytes behind"),
    ):
        of = world(topology=joining, seen=heard(us=primary(senders=senders)))
        assert conditions_of(of)[Type.RECONCILING].message == f"ap is joining: {progress}"


def test_every_reason_is_in_the_catalogue_once() -> None:
    keys = [(reason.type, reason.name) for reason in CATALOGUE]
    assert len(keys) == len(set(keys))
    assert MEANINGS.keys() == set(Type)
    assert all(reason.name.isalnum() and reason.name[0].isupper() and reason.meaning for reason in CATALOGUE)
    with pytest.raises(KeyError):
        condition(Type.READY, "MadeUp", "")


def test_the_page_of_conditions_is_current(golden: Golden) -> None:
    golden(ROOT / "docs" / "reference" / "conditions.md", page())
