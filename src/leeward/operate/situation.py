"""One consistent view of a world out of its agents' answers. Pure.

Everything about applications comes from a single answer, the one of the highest revision: never a mixture of
what several agents believe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from leeward.base.problem import Problem
from leeward.core import data_regions
from leeward.core.codec import from_plain
from leeward.core.conditions import paths
from leeward.core.values import Heartbeat, InstanceReport, LastDrill, Region, Tally, Topology
from leeward.operate.agents import Answer, newest
from leeward.operate.outcome import OperationError


@dataclass(frozen=True, slots=True)
class Objectives:
    """What an application's file asks for, as the agents act on it."""

    rto_s: float
    rpo_s: float


@dataclass(frozen=True, slots=True)
class ApplicationRow:
    """One application, as the quorum knows it."""

    name: str
    ready: int
    """Regions whose replica is healthy, whose pods serve, and whose gateway carries traffic to the others."""
    regions: int
    primary: str | None
    writable: bool
    epoch: int
    phase: str
    mode: str
    lag_bytes: int | None
    """Of the standby that is furthest behind; None while no standby streams."""
    rpo_s: float | None
    """The writes that the loss of the primary's region would take now, by its agent's measure: how far the standby is
    behind that is nearest to it. None while that agent is silent or no standby streams; resolution 0.1 s."""
    paused: bool
    because: str
    last_failover: Mapping[str, Any] | None = None
    """From the agent that all this comes from: epoch, at_unix_s, to, because, stages_s."""
    conditions: tuple[Mapping[str, Any], ...] = ()
    """``metav1.Condition`` each."""
    changing: str | None = None
    """Which data region joins or leaves; None while none does."""
    needless_failovers: int = 0
    """Failovers since the application was founded whose deposed primary was back within a minute."""
    needless_lost: int = 0
    """Acknowledged transactions that those lost; only in async."""
    needless_gap_s: float = 0.0
    """How long those interrupted writes, in total."""
    withheld_failovers: int = 0
    """Failovers that were decided and not started: `failover: observe`."""
    data_regions: tuple[str, ...] = ()
    """Those in force, in order of preference."""
    objectives: Objectives | None = None
    """None: an agent of an earlier version does not report them."""


@dataclass(frozen=True, slots=True)
class RegionRow:
    """One region's part in one application; without a heartbeat within the lease, only the heartbeat's age."""

    region: str
    application: str
    role: str | None
    writable: bool
    healthy: bool
    pods_ready: int | None
    upstream: str | None
    lag_bytes: int | None
    heartbeat_age_s: float | None
    problem: str | None
    users_to: tuple[str, ...]
    """Where DNS sends the users near this region; empty where another provider serves DNS."""
    deep: Mapping[str, Any] | None = None
    """A pod's last answer to its own agent's deep health check: healthy, because, age_s."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A region that did not answer, and why."""

    region: str
    because: str


@dataclass(frozen=True, slots=True)
class Situation:
    """What ``status`` shows; None and empty while no agent knows the store's state."""

    revision: int | None
    age_s: float | None
    source: str | None
    """The region whose agent it comes from."""
    quorum_leader: str | None
    answered: tuple[str, ...]
    silent: tuple[Silence, ...]
    applications: tuple[ApplicationRow, ...]
    regions: tuple[RegionRow, ...]
    drills: Mapping[str, LastDrill] = field(default_factory=dict)
    """How each application's last drill ended."""


def situation(answers: Sequence[Answer]) -> Situation:
    """Return the view of the newest answer."""
    silent = tuple(
        Silence(answer.region, answer.because or f"HTTP status {answer.status}")
        for answer in answers
        if answer.status != 200
    )
    answered = tuple(answer.region for answer in answers if answer.status == 200)
    best = newest(list(answers))
    if best is None:
        return Situation(None, None, None, None, answered, silent, (), ())
    body = best.body
    heard = frozenset(body["answered"])
    heartbeats = {
        region: (from_plain(Heartbeat, raw) if region in heard else None, float(raw["age_s"]))
        for region, raw in body["heartbeats"].items()
    }
    names = body.get("names") or {}
    topologies = [from_plain(Topology, raw) for _, raw in sorted(body["topologies"].items())]
    return Situation(
        revision=body["revision"],
        age_s=body["age_s"],
        source=best.region,
        quorum_leader=body["quorum_leader"],
        answered=answered,
        silent=silent,
        applications=tuple(
            replace(
                _application(each, heartbeats, _lags_s(answers, each)),
                last_failover=body.get("last_failovers", {}).get(each.app),
                conditions=_conditions(best, answers, each.app),
                objectives=_objectives(body, each.app),
                **_counted(body.get("tallies", {}).get(each.app)),
            )
            for each in topologies
        ),
        regions=tuple(
            replace(_region(topology, region, heartbeats, names), deep=_deep(answers, region, topology.app))
            for topology in topologies
            for region in data_regions.replicas(topology)
        ),
        drills={app: from_plain(LastDrill, raw) for app, raw in body.get("drills", {}).items()},
    )


def only(app: str | None, view: Situation) -> Situation:
    """Return the part of one application. Raises OperationError if it is unknown."""
    if app is None or view.revision is None:
        return view
    applications = tuple(row for row in view.applications if row.name == app)
    if not applications:
        raise OperationError(
            Problem(
                code="no-such-application",
                where="command line",
                what=f"unknown application {app}",
                why=f"the fleet has {', '.join(row.name for row in view.applications) or 'none yet'}",
                fix="use one of these names, or omit it to see all",
            )
        )
    return replace(
        view,
        applications=applications,
        regions=tuple(row for row in view.regions if row.application == app),
        drills={name: drill for name, drill in view.drills.items() if name == app},
    )


def _objectives(body: Mapping[str, Any], app: str) -> Objectives | None:
    raw = body.get("objectives", {}).get(app)
    return None if raw is None else from_plain(Objectives, raw)


def _conditions(best: Answer, answers: Sequence[Answer], app: str) -> tuple[Mapping[str, Any], ...]:
    """Return the newest answer's conditions, each with the earliest transition that any agent saw for its status."""

    def reported(answer: Answer) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = answer.body.get("conditions", {}).get(app, [])
        return found

    since: dict[tuple[str, str], str] = {}
    for each in (each for answer in answers if answer.status == 200 for each in reported(answer)):
        key, at = (each["type"], each["status"]), each["lastTransitionTime"]
        since[key] = min(at, since.get(key, at))
    return tuple({**each, "lastTransitionTime": since[each["type"], each["status"]]} for each in reported(best))


def _deep(answers: Sequence[Answer], region: str, app: str) -> Mapping[str, Any] | None:
    """Return what a region's own agent heard from its pods; other agents do not query them."""
    own = next((answer.body for answer in answers if answer.region == region and answer.status == 200), {})
    found: Mapping[str, Any] | None = own.get("deep", {}).get(app)
    return found


def _counted(raw: Any) -> dict[str, Any]:
    tally = Tally() if raw is None else from_plain(Tally, raw)
    return {
        "needless_failovers": tally.needless,
        "needless_lost": tally.needless_lost,
        "needless_gap_s": tally.needless_gap_s,
        "withheld_failovers": tally.withheld,
    }


Heartbeats = Mapping[str, tuple[Heartbeat | None, float]]
"""The last one of each region, while it is not older than the lease, and its age."""


def _report(topology: Topology, region: Region, heartbeats: Heartbeats) -> InstanceReport | None:
    heartbeat, _age_s = heartbeats.get(region, (None, 0.0))
    return None if heartbeat is None else heartbeat.apps.get(topology.app)


def _gateway_problem(region: Region, heartbeats: Heartbeats) -> str | None:
    heartbeat, _age_s = heartbeats.get(region, (None, 0.0))
    return None if heartbeat is None else heartbeat.gateway_problem


def _lags_s(answers: Sequence[Answer], topology: Topology) -> Mapping[str, float]:
    """Return how far each standby is behind, as the primary's agent measures it."""
    primary_view = next(
        (answer.body for answer in answers if answer.region == topology.primary and answer.status == 200), {}
    )
    lags: Mapping[str, float] = primary_view.get("lags_s", {}).get(topology.app, {})
    return lags


def _application(topology: Topology, heartbeats: Heartbeats, lags_s: Mapping[str, float]) -> ApplicationRow:
    reports = {region: _report(topology, region, heartbeats) for region in topology.data_regions}
    primary = reports.get(topology.primary) if topology.primary is not None else None
    broken = paths.broken(reports)
    lags = [lag for region in topology.data_regions if (lag := _lag(topology, region, heartbeats)) is not None]
    return ApplicationRow(
        name=topology.app,
        ready=sum(
            report is not None
            and report.healthy
            and report.pods_ready > 0
            and region not in broken
            and _gateway_problem(region, heartbeats) is None
            for region, report in reports.items()
        ),
        regions=len(topology.data_regions),
        primary=topology.primary,
        writable=primary is not None and primary.writable and primary.epoch == topology.epoch,
        epoch=topology.epoch,
        phase=topology.phase,
        mode=topology.mode,
        lag_bytes=max(lags, default=None),
        rpo_s=min(lags_s.values(), default=None),
        paused=topology.paused,
        because=topology.because,
        changing=_changing(topology),
        data_regions=topology.data_regions,
    )


def _changing(topology: Topology) -> str | None:
    if topology.joining is not None:
        return f"{topology.joining} is joining"
    return None if topology.leaving is None else f"{topology.leaving} is leaving"


def _lag(topology: Topology, region: Region, heartbeats: Heartbeats) -> int | None:
    """Return how many bytes a standby's flushed WAL is behind its primary's, as the primary says."""
    if topology.primary is None or region == topology.primary:
        return None
    primary = _report(topology, topology.primary, heartbeats)
    if primary is None or primary.wal is None:
        return None
    flushed = [sender.flushed_lsn for sender in primary.senders if sender.region == region and sender.streaming]
    return max(0, primary.wal.lsn - flushed[0]) if flushed else None


def _region(topology: Topology, region: Region, heartbeats: Heartbeats, names: Mapping[str, Any]) -> RegionRow:
    report = _report(topology, region, heartbeats)
    return RegionRow(
        region=region,
        application=topology.app,
        role=str(report.role) if report else None,
        writable=report is not None and report.writable,
        healthy=report is not None and report.healthy,
        pods_ready=report.pods_ready if report else None,
        upstream=report.upstream if report else None,
        lag_bytes=_lag(topology, region, heartbeats),
        heartbeat_age_s=heartbeats[region][1] if region in heartbeats else None,
        problem=(report.problem if report else None) or _gateway_problem(region, heartbeats),
        users_to=tuple(names[topology.app]["leads_to"][region]) if topology.app in names else (),
    )
