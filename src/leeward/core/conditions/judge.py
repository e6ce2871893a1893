"""Judge an application's state from what one agent knows. Pure; nothing is guessed: what is not known is Unknown."""

from dataclasses import dataclass, field

from leeward.core import election, reconfiguration, timers
from leeward.core.conditions import certificate_conditions, disks, paths, store_conditions
from leeward.core.conditions.catalogue import ELSEWHERE, NOT_FOUNDED, UNHEARD, condition
from leeward.core.conditions.values import Condition, Status, Type
from leeward.core.store_members import StoreFacts
from leeward.core.values import FailoverPolicy, LastDrill, Phase, Region, ReplicationMode, Topology
from leeward.core.view import View


@dataclass(frozen=True, slots=True)
class Facts:
    """The input of all conditions."""

    view: View
    because: str
    """The agent's last decision about the application, in a sentence."""
    quorum_age_s: float | None
    """Since the store was last heard; None when it never was."""
    drill: LastDrill | None = None
    store: StoreFacts = StoreFacts()
    certificates: certificate_conditions.Known = field(default_factory=dict)
    """By region, as its agent last reported."""
    unix_s: float = 0.0


PHASES = {Phase.ELECTING: "Electing", Phase.PROMOTING: "Promoting", Phase.SWITCHING: "SwitchingOver"}


def conditions(facts: Facts) -> tuple[Condition, ...]:
    """Return every condition, in the order of the types."""
    drill, of_the_store = _drill(facts.drill), store_conditions.conditions(facts.store, facts.view.me)
    certificates = certificate_conditions.judge(facts.certificates, facts.unix_s)
    known = {each.type: each for each in (*of_the_store, certificates, drill)}
    blind = _blind(facts)
    if blind is not None:
        reason, message = blind
        return tuple(known.get(each) or condition(each, reason, message) for each in Type)
    view, topology = facts.view, facts.view.topology
    assert topology is not None, "a view without one is blind"
    writable = _writable(view, topology)
    return (
        _ready(view, topology, writable),
        writable,
        _replicating(view, topology),
        _durability(view, topology),
        _objectives(view, topology),
        _capacity(view, topology),
        _disks(view, topology),
        _gateways(view, topology),
        _quorum(view),
        *of_the_store,
        certificates,
        drill,
        _paused(topology),
        _observing(view),
        _reconciling(view, topology),
        _stalled(facts, topology),
    )


def _blind(facts: Facts) -> tuple[str, str] | None:
    """Return why almost nothing is known; None when that is not the case."""
    view = facts.view
    if facts.quorum_age_s is None:
        return UNHEARD, f"{view.me} has not heard from the quorum store yet"
    if facts.quorum_age_s > view.timers.lease_s + view.timers.margin_s:
        return UNHEARD, f"{view.me} last heard from the quorum store {facts.quorum_age_s:.1f} s ago"
    if view.topology is None:
        if view.me in view.app.data_regions and view.app.instance_url is None:
            return ELSEWHERE, f"the database of {view.app.name} is run by its own operator"
        return NOT_FOUNDED, facts.because or f"{view.app.name} has not been founded yet"
    return None


def _ready(view: View, topology: Topology, writable: Condition) -> Condition:
    if writable.status is not Status.TRUE:
        return condition(Type.READY, "NotWritable", writable.message)
    serving = [region for region in topology.data_regions if _pods(view, region)[0] > 0]
    if not serving:
        return condition(Type.READY, "NoPods", f"no pod of {topology.app} is ready in any reporting region")
    return condition(Type.READY, "Serving", f"{writable.message}; pods serve in {_all(serving)}")


def _writable(view: View, topology: Topology) -> Condition:
    of, primary = Type.PRIMARY_WRITABLE, topology.primary
    if primary is None:
        return condition(of, "Electing", topology.because)
    # The agent asked always hears itself; whether the others do is what its lease says.
    if not view.alive(primary) or (primary == view.me and not view.leased):
        return condition(of, "PrimaryUnheard", f"no heartbeat from {primary} for longer than its lease")
    report = view.report(primary)
    if report is not None and report.writable and report.epoch == topology.epoch:
        return condition(of, "AcceptsWrites", f"{primary} accepts writes under epoch {topology.epoch}")
    if topology.phase is not Phase.STEADY:
        return condition(of, PHASES[topology.phase], topology.because)
    problem = report.problem if report is not None else None
    return condition(of, "DatabaseNotWritable", f"{primary}: {problem or 'its database does not accept writes'}")


def _streaming(view: View, topology: Topology) -> frozenset[Region] | None:
    """Return who streams from the primary, by its own report; None without a heartbeat from it."""
    report = view.report(topology.primary) if topology.primary and view.alive(topology.primary) else None
    return None if report is None else frozenset(sender.region for sender in report.senders if sender.streaming)


def _replicating(view: View, topology: Topology) -> Condition:
    of, streaming = Type.REPLICATING, _streaming(view, topology)
    standbys = [region for region in topology.data_regions if region != topology.primary]
    if not standbys:
        return condition(of, "NothingToReplicate", f"{topology.primary} is the only data region")
    if streaming is None:
        return condition(of, "NoPrimary", "no heartbeat from a primary")
    missing = [region for region in standbys if region not in streaming]
    if missing:
        detail = "; ".join(f"{region}: {_why_apart(view, region)}" for region in missing)
        return condition(of, "StandbysMissing", f"{_do(missing)} not stream from {topology.primary} ({detail})")
    reports = {region: view.report(region) for region in standbys if view.alive(region)}
    problems = [f"{region}: {found.problem}" for region, found in reports.items() if found and found.problem]
    if problems:
        return condition(
            of, "StandbysUnhealthy", f"all standbys stream, but not all could take over ({'; '.join(problems)})"
        )
    verb = "streams" if len(standbys) == 1 else "stream"
    return condition(of, "AllStream", f"{_all(standbys)} {verb} from {topology.primary}")


def _durability(view: View, topology: Topology) -> Condition:
    of, primary = Type.DURABILITY_AS_PROMISED, topology.primary
    report = view.report(primary) if primary and view.alive(primary) else None
    if report is None:
        return condition(of, "NoPrimary", "no heartbeat from a primary")
    if report.weakened:
        return condition(of, "SynchronousCommitOff", f"{primary}: {'; '.join(report.weakened)}")
    return condition(of, "NotWeakened", f"commits at {primary} wait for what {topology.mode} promises")


def _why_apart(view: View, region: Region) -> str:
    if not view.alive(region):
        return "no heartbeat for longer than a lease"
    report = view.report(region)
    return "no report from its database" if report is None else report.problem or f"it is {report.role}"


def _objectives(view: View, topology: Topology) -> Condition:
    """Whether the objectives would be met if the primary's region were lost now."""
    of, primary, app = Type.OBJECTIVES_FEASIBLE, topology.primary, view.app
    asynchronous = topology.mode is ReplicationMode.ASYNC
    budget = timers.budget(
        view.timers.lease_s, view.timers.rtt_max_s, synchronous=not asynchronous, takeover_s=app.takeover_s
    )
    # Rounded: files that are just feasible must not be refused by the last bit of a sum.
    if round(budget.total_s - app.rto_s, 6) > 0:
        return condition(of, "RtoTooShort", f"the RTO is {app.rto_s:g} s, and in {topology.mode} {budget.arithmetic()}")
    if asynchronous and app.rpo_s < app.lease_s:
        lease_s = app.lease_s
        return condition(of, "RpoTooStrict", f"the RPO is {app.rpo_s:g} s, and async may lose a lease of {lease_s:g} s")
    if primary is None or not view.alive(primary):
        return condition(of, "NoPrimary", "no heartbeat from a primary")
    if topology.paused:
        return condition(of, "FailoverPaused", f"if {primary} were lost, no region would take over: failover is paused")
    if app.failover is FailoverPolicy.OBSERVE:
        detail = f"if {primary} were lost, no region would take over: failover is set to observe"
        return condition(of, "FailoverObserved", detail)
    left = [region for region in view.regions if region != primary and view.alive(region)]
    needed = len(view.regions) // 2 + 1
    if len(left) < needed:
        return condition(
            of,
            "MajorityWouldBeLost",
            f"if {primary} were lost, {_all(left) or 'no region'} would remain of {len(view.regions)} regions; "
            f"{needed} are needed to decide",
        )
    return _succession(view, topology, primary, budget.total_s)


def _succession(view: View, topology: Topology, primary: Region, takes_s: float) -> Condition:
    of, app = Type.OBJECTIVES_FEASIBLE, view.app
    reports = ((region, view.report(region)) for region in topology.data_regions if region != primary)
    heirs = [region for region, report in reports if report is not None and report.wal and view.alive(region)]
    data = len(topology.data_regions)
    heir = election.heir(view, topology)
    # As elections have it: in async one replica will do, else any two quorums must meet.
    needed = 1 if topology.mode is ReplicationMode.ASYNC else data - topology.acks_required
    if heir is None or len(heirs) < needed:
        return condition(
            of,
            "TooFewReplicas",
            f"if {primary} were lost, {_all(heirs) or 'no replica'} would remain of {data} replicas, and an election "
            f"in {topology.mode} needs {needed}",
        )
    detail = f"if {primary} were lost, {heir} could take over within {takes_s:.2f} s"
    if topology.mode is not ReplicationMode.ASYNC:
        return condition(of, "WithinObjectives", f"{detail} and lose nothing acknowledged")
    loss_s = election.reported_loss_s(view, heir)
    behind = election.seconds_text(loss_s)
    if loss_s > app.rpo_s:
        return condition(
            of, "BehindRpo", f"if {primary} were lost, {behind} of writes would be lost; the RPO is {app.rpo_s:g} s"
        )
    return condition(of, "WithinObjectives", f"{detail} and lose {behind} of writes (RPO {app.rpo_s:g} s)")


def _pods(view: View, region: Region) -> tuple[int, int]:
    """Return a region's ready pods and those that its files ask for; what is not heard has none."""
    report = view.report(region)
    if region == view.me:
        return view.pods_ready, view.app.pods_wanted
    if report is None or not view.alive(region):
        return 0, max(1, report.pods_wanted if report is not None else 1)
    return report.pods_ready, report.pods_wanted


def _capacity(view: View, topology: Topology) -> Condition:
    of = Type.CAPACITY_SUFFICIENT
    counts = [(region, *_pods(view, region)) for region in topology.data_regions]
    detail = ", ".join(f"{ready} of {wanted} in {region}" for region, ready, wanted in counts)
    unheard = [region for region in topology.data_regions if not view.alive(region)]
    if unheard:
        return condition(of, "RegionUnheard", f"no heartbeat from {_all(unheard)}; ready pods: {detail}")
    few = any(ready < wanted for _, ready, wanted in counts)
    return condition(of, "PodsMissing" if few else "EnoughPods", f"ready pods: {detail}")


def _disks(view: View, topology: Topology) -> Condition:
    return disks.judge({region: view.report(region) for region in topology.data_regions if view.alive(region)})


def _gateways(view: View, topology: Topology) -> Condition:
    of = Type.GATEWAYS_CONNECTED
    reports = {region: view.report(region) if view.alive(region) else None for region in topology.data_regions}
    broken = paths.broken(reports)
    unanswered = [f"{each}: {why}" for each in topology.data_regions if (why := _unanswered(view, each)) is not None]
    if unanswered:
        return condition(of, "UsersUnanswered", "; ".join(unanswered))
    if broken:
        each = [f"{region}: {why}" for region, found in broken.items() for why in found.values()]
        return condition(of, "PathBroken", "; ".join(each))
    heard = [region for region, report in reports.items() if report is not None]
    return condition(of, "AllConnected", f"the gateways of {_all(heard)} carry requests and database sessions")


def _unanswered(view: View, region: Region) -> str | None:
    """Return why a region that is heard does not answer users."""
    return view.gateway_problem(region) if view.alive(region) else None


def _quorum(view: View) -> Condition:
    of, every = Type.QUORUM_AVAILABLE, len(view.regions)
    unheard = [region for region in view.regions if not view.alive(region)]
    if not unheard:
        return condition(of, "AllHeard", f"all {every} regions send heartbeats")
    return condition(
        of,
        "MajorityHeard",
        f"the quorum store answers; no heartbeat from {_all(unheard)} ({len(unheard)} of {every} regions)",
    )


def _drill(drill: LastDrill | None) -> Condition:
    of = Type.LAST_DRILL_SUCCEEDED
    if drill is None:
        return condition(of, "NoDrill", "no drill is on record")
    reasons = {"passed": "DrillPassed", "failed": "DrillFailed"}
    detail = f"{drill.drill} in {drill.replication}: {drill.verdict}"
    return condition(of, reasons.get(drill.verdict, "DrillInconclusive"), detail)


def _paused(topology: Topology) -> Condition:
    if topology.paused:
        return condition(Type.PAUSED, "PausedByOperator", "an operator paused automatic failover")
    return condition(Type.PAUSED, "AutomaticFailover", "a lost primary is replaced automatically")


def _observing(view: View) -> Condition:
    if view.app.failover is FailoverPolicy.OBSERVE:
        counted = f"{view.tally.withheld} failover{'' if view.tally.withheld == 1 else 's'}"
        return condition(Type.OBSERVING, "ObserveOnly", f"failover is set to observe; {counted} withheld")
    return condition(Type.OBSERVING, "ActsByItself", "failover is set to automatic")


def _reconciling(view: View, topology: Topology) -> Condition:
    of = Type.RECONCILING
    if topology.phase is not Phase.STEADY:
        return condition(of, PHASES[topology.phase], topology.because)
    if topology.requested_mode is not None:
        return condition(of, "ChangingMode", f"from {topology.mode} to {topology.requested_mode}, as requested")
    if topology.joining is not None:
        progress = reconfiguration.progress(view, topology, topology.joining)
        return condition(of, "DataRegionJoining", f"{topology.joining} is joining: {progress}")
    if topology.leaving is not None:
        return condition(of, "DataRegionLeaving", topology.because)
    if view.declared is not None and view.declared != topology.data_regions:
        detail = f"the files name {', '.join(view.declared)}; in force are {', '.join(topology.data_regions)}"
        return condition(of, "DataRegionsDiffer", detail)
    streaming = _streaming(view, topology)
    if streaming is not None:
        apart = [
            region
            for region in topology.data_regions
            if region != topology.primary and region not in streaming and view.alive(region)
        ]
        if apart:
            detail = "; ".join(f"{region}: {_why_apart(view, region)}" for region in apart)
            return condition(of, "Rejoining", f"{_do(apart)} not stream yet ({detail})")
    return condition(of, "Settled", "the actual state matches the orders")


def _stalled(facts: Facts, topology: Topology) -> Condition:
    of, view = Type.STALLED, facts.view
    if topology.paused and topology.primary is not None and not view.alive(topology.primary):
        return condition(of, "PausedWithoutPrimary", f"no heartbeat from {topology.primary}, and failover is paused")
    if view.app.failover is FailoverPolicy.OBSERVE and topology.primary and not view.alive(topology.primary):
        detail = f"no heartbeat from {topology.primary}, and failover is set to observe"
        return condition(of, "ObservedWithoutPrimary", detail)
    lasted_s = view.now_s - view.topology_seen_at_s
    if topology.phase is not Phase.STEADY and lasted_s > view.app.rto_s:
        why = facts.because or topology.because
        return condition(of, "TakesTooLong", f"{topology.phase} for longer than the RTO of {view.app.rto_s:g} s: {why}")
    return condition(of, "NothingStuck", "no operator action is needed")


def _all(regions: list[Region]) -> str:
    """Return names as a list of words: ``a, b and c``."""
    if len(regions) < 2:
        return "".join(regions)
    return f"{', '.join(regions[:-1])} and {regions[-1]}"


def _do(regions: list[Region]) -> str:
    return f"{_all(regions)} {'does' if len(regions) == 1 else 'do'}"
