"""Every reason with its meaning: the only place that maps a reason to its status."""

from dataclasses import dataclass

from leeward.core.conditions.values import Condition, Status, Type

T, F, U = Status.TRUE, Status.FALSE, Status.UNKNOWN
KNOWN_ANYWAY = (Type.STORE_HAS_ROOM, Type.STORE_BACKED_UP, Type.CERTIFICATES_VALID, Type.LAST_DRILL_SUCCEEDED)
"""What an agent knows without the quorum store, or from its last contact with it."""
UNHEARD, ELSEWHERE, NOT_FOUNDED = "QuorumUnheard", "DatabaseElsewhere", "NotFounded"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a type has a status."""

    type: Type
    status: Status
    name: str
    meaning: str


MEANINGS = {
    Type.READY: "Users are served: writes are accepted, and a region has ready pods. Redundancy does not count here.",
    Type.PRIMARY_WRITABLE: "The primary of the epoch in force accepts writes under a lease.",
    Type.REPLICATING: "Every other data region streams from the primary.",
    Type.DURABILITY_AS_PROMISED: "A commit returns only when it is as durable as the replication mode promises.",
    Type.OBJECTIVES_FEASIBLE: "If the primary's region were lost now, RTO and RPO would be met.",
    Type.CAPACITY_SUFFICIENT: "Every data region has at least as many ready pods as the files require.",
    Type.DISK_HAS_ROOM: "The database volume of every reporting region has at least 10 % free.",
    Type.GATEWAYS_CONNECTED: "Every region's gateway answers users, and carries traffic to all other regions.",
    Type.QUORUM_AVAILABLE: "The quorum store has a majority of its members: decisions can be made.",
    Type.STORE_HAS_ROOM: "The quorum store accepts writes, and is not about to reach its quota.",
    Type.STORE_BACKED_UP: "Some region has a checked backup of the quorum store that is not too old.",
    Type.CERTIFICATES_VALID: "Every certificate that agents watch is renewed in time.",
    Type.LAST_DRILL_SUCCEEDED: "The last drill met its objectives.",
    Type.PAUSED: "An operator paused automatic failover.",
    Type.OBSERVING: "A lost primary is reported but not replaced, as configured (`failover: observe`).",
    Type.RECONCILING: "A change is in progress and will finish without intervention (kstatus).",
    Type.STALLED: "A change is stuck and needs an operator (kstatus).",
}

_OWN = (
    (Type.READY, T, "Serving", "Writes are accepted and at least one region has ready pods."),
    (Type.READY, F, "NotWritable", "No primary accepts writes; `PrimaryWritable` shows why."),
    (Type.READY, F, "NoPods", "No reporting region has a ready pod."),
    (Type.PRIMARY_WRITABLE, T, "AcceptsWrites", "Its agent reported this within the lease."),
    (Type.PRIMARY_WRITABLE, F, "Electing", "The old primary is deposed; another one is being elected."),
    (Type.PRIMARY_WRITABLE, F, "Promoting", "The elected region does not accept writes yet."),
    (Type.PRIMARY_WRITABLE, F, "SwitchingOver", "The primary was stopped for a switchover and is handing over."),
    (
        Type.PRIMARY_WRITABLE,
        F,
        "PrimaryUnheard",
        "No heartbeat from the primary's region within the lease; the region may be lost.",
    ),
    (
        Type.PRIMARY_WRITABLE,
        F,
        "DatabaseNotWritable",
        "The primary's region sends heartbeats, but its database does not accept writes.",
    ),
    (Type.PRIMARY_WRITABLE, F, NOT_FOUNDED, "There has been no primary yet: the application is just starting."),
    (Type.REPLICATING, T, "AllStream", "The primary sends its WAL to every other data region."),
    (Type.REPLICATING, T, "NothingToReplicate", "There is only one data region."),
    (
        Type.REPLICATING,
        F,
        "StandbysMissing",
        "At least one data region does not stream: it is lost, starting or rejoining.",
    ),
    (
        Type.REPLICATING,
        F,
        "StandbysUnhealthy",
        "The primary sends its WAL to every other data region, but one reports a problem: no switchover to it.",
    ),
    (Type.REPLICATING, U, "NoPrimary", "No heartbeat from a primary: it is unknown which standbys stream."),
    (
        Type.DURABILITY_AS_PROMISED,
        T,
        "NotWeakened",
        "No database, role or sampled session has `synchronous_commit` below `on`.",
    ),
    (
        Type.DURABILITY_AS_PROMISED,
        F,
        "SynchronousCommitOff",
        "The application sets `synchronous_commit` below `on`: such commits can be lost, in every mode.",
    ),
    (Type.DURABILITY_AS_PROMISED, U, "NoPrimary", "No heartbeat from a primary: no commit returns."),
    (Type.OBJECTIVES_FEASIBLE, T, "WithinObjectives", "By calculation and by measurement, both would be met."),
    (Type.OBJECTIVES_FEASIBLE, F, "RtoTooShort", "A failover in the mode in force takes longer than the RTO."),
    (Type.OBJECTIVES_FEASIBLE, F, "RpoTooStrict", "The mode in force is async, and the RPO is shorter than a lease."),
    (Type.OBJECTIVES_FEASIBLE, F, "FailoverPaused", "No region would take over: automatic failover is paused."),
    (Type.OBJECTIVES_FEASIBLE, F, "FailoverObserved", "No region would take over: failover is set to observe."),
    (
        Type.OBJECTIVES_FEASIBLE,
        F,
        "MajorityWouldBeLost",
        "Without the primary's region, too few regions would remain to decide.",
    ),
    (
        Type.OBJECTIVES_FEASIBLE,
        F,
        "TooFewReplicas",
        "Too few replicas would remain for an election that keeps what the mode guarantees.",
    ),
    (
        Type.OBJECTIVES_FEASIBLE,
        F,
        "BehindRpo",
        "The standby that would be elected is further behind than the RPO allows.",
    ),
    (Type.OBJECTIVES_FEASIBLE, U, "NoPrimary", "No heartbeat from a primary: a failover may already be in progress."),
    (Type.CAPACITY_SUFFICIENT, T, "EnoughPods", "Each data region has the pods that the files require."),
    (
        Type.CAPACITY_SUFFICIENT,
        F,
        "RegionUnheard",
        "No heartbeat from a data region within the lease: its pods count as missing.",
    ),
    (Type.CAPACITY_SUFFICIENT, F, "PodsMissing", "A data region has fewer ready pods than the files require."),
    (Type.DISK_HAS_ROOM, T, "EnoughRoom", "Every reported volume has at least 10 % free."),
    (
        Type.DISK_HAS_ROOM,
        F,
        "DiskFilling",
        "A volume has less than 10 % free. When it is full, statements fail, or the primary stops.",
    ),
    (Type.DISK_HAS_ROOM, U, "NotMeasured", "No instance manager has reported its volume yet."),
    (Type.GATEWAYS_CONNECTED, T, "AllConnected", "Each path between reporting regions carried its last probe."),
    (
        Type.GATEWAYS_CONNECTED,
        F,
        "PathBroken",
        "A gateway reached a limit, does not answer, or failed two probes of a path to a healthy region in a row.",
    ),
    (
        Type.GATEWAYS_CONNECTED,
        F,
        "UsersUnanswered",
        "A region's gateway does not answer on its users' port: DNS omits the region until it does.",
    ),
    (Type.QUORUM_AVAILABLE, T, "AllHeard", "Every region sends heartbeats."),
    (Type.QUORUM_AVAILABLE, T, "MajorityHeard", "The store answers, but at least one region sends no heartbeats."),
    (Type.QUORUM_AVAILABLE, F, UNHEARD, "The queried agent has not heard from the store for longer than a lease."),
    (Type.STORE_HAS_ROOM, T, "HasRoom", "Every member's database is below 80 % of its quota."),
    (Type.STORE_HAS_ROOM, F, "Filling", "A member's database is above 80 % of its quota."),
    (
        Type.STORE_HAS_ROOM,
        F,
        "NoSpace",
        "A member reached its quota: no write is accepted until agents have freed space and lifted the alarm.",
    ),
    (Type.STORE_HAS_ROOM, F, "Corrupt", "etcd reports that its members differ: restore the store from a backup."),
    (Type.STORE_HAS_ROOM, U, "NotYetKnown", "The queried agent has not measured its member yet."),
    (Type.STORE_BACKED_UP, T, "BackupRecent", "The newest checked backup is no older than three periods."),
    (Type.STORE_BACKED_UP, F, "BackupOld", "The newest checked backup of any region is older than three periods."),
    (Type.STORE_BACKED_UP, F, "NoBackup", "No region has a checked backup, and an attempt to make one failed."),
    (Type.STORE_BACKED_UP, U, "NotYetKnown", "The queried agent has just started and has no backup yet."),
    (
        Type.CERTIFICATES_VALID,
        T,
        "InTime",
        "Every certificate has at least a quarter of its lifetime left, or 30 days where that is less.",
    ),
    (
        Type.CERTIFICATES_VALID,
        F,
        "RenewalOverdue",
        "A certificate has less left: its issuer did not renew it when a third was left.",
    ),
    (
        Type.CERTIFICATES_VALID,
        F,
        "Expired",
        "Open connections continue, new ones are refused: what restarts or loses its connection cannot reconnect.",
    ),
    (Type.CERTIFICATES_VALID, U, "NotYetKnown", "The queried agent has just started."),
    (Type.LAST_DRILL_SUCCEEDED, T, "DrillPassed", "Every objective was met and every rule kept."),
    (Type.LAST_DRILL_SUCCEEDED, F, "DrillFailed", "An objective was missed or a rule broken."),
    (Type.LAST_DRILL_SUCCEEDED, U, "DrillInconclusive", "The drill ran without a conclusive result."),
    (Type.LAST_DRILL_SUCCEEDED, U, "NoDrill", "No drill is on record."),
    (Type.PAUSED, T, "PausedByOperator", "`leeward pause`; a lost primary is not replaced until `leeward resume`."),
    (Type.PAUSED, F, "AutomaticFailover", "A lost primary is replaced automatically."),
    (
        Type.OBSERVING,
        T,
        "ObserveOnly",
        "Failovers are logged and counted, not carried out; `leeward failover` still works.",
    ),
    (Type.OBSERVING, F, "ActsByItself", "Decisions are carried out automatically."),
    (Type.RECONCILING, T, "Electing", "A primary is being elected."),
    (Type.RECONCILING, T, "Promoting", "The elected region is being promoted."),
    (Type.RECONCILING, T, "SwitchingOver", "A switchover is moving the primary."),
    (Type.RECONCILING, T, "ChangingMode", "The replication mode is being changed."),
    (
        Type.RECONCILING,
        T,
        "DataRegionJoining",
        "A data region is being added: it copies or streams, or is about to count.",
    ),
    (
        Type.RECONCILING,
        T,
        "DataRegionLeaving",
        "A data region is being removed; it counts until the others hold all of its WAL.",
    ),
    (
        Type.RECONCILING,
        T,
        "DataRegionsDiffer",
        "The files name data regions other than those in force.",
    ),
    (Type.RECONCILING, T, "Rejoining", "A reporting region has a replica that does not stream yet."),
    (Type.RECONCILING, T, NOT_FOUNDED, "The application is just starting."),
    (Type.RECONCILING, F, "Settled", "The actual state matches the orders."),
    (
        Type.STALLED,
        T,
        UNHEARD,
        "Without the store no decision is made; decisions resume when a majority of regions is back.",
    ),
    (
        Type.STALLED,
        T,
        "PausedWithoutPrimary",
        "No heartbeat from the primary's region, and failover is paused: `leeward resume`.",
    ),
    (
        Type.STALLED,
        T,
        "ObservedWithoutPrimary",
        "No heartbeat from the primary's region, and failover is set to observe: `leeward failover`.",
    ),
    (Type.STALLED, T, "TakesTooLong", "An election, a promotion or a switchover has taken longer than the RTO."),
    (Type.STALLED, F, "NothingStuck", "No operator action is needed."),
)

_ANYWHERE = {
    UNHEARD: "The queried agent has not heard from the quorum store for longer than a lease: its data is stale.",
    ELSEWHERE: "The database is run by its own operator; Leeward does not see its state.",
    NOT_FOUNDED: "The application is just starting.",
}


def _catalogue() -> tuple[Reason, ...]:
    found = [Reason(*row) for row in _OWN]
    for each in Type:
        if each in KNOWN_ANYWAY:
            continue
        own = {reason.name for reason in found if reason.type is each}
        found += [Reason(each, U, name, meaning) for name, meaning in _ANYWHERE.items() if name not in own]
    order = list(Type)
    return tuple(sorted(found, key=lambda reason: order.index(reason.type)))


CATALOGUE = _catalogue()
_STATUS = {(reason.type, reason.name): reason.status for reason in CATALOGUE}


def condition(of: Type, reason: str, message: str) -> Condition:
    """Return the condition with the status that the reason stands for. Raises KeyError for a reason unknown."""
    return Condition(of, _STATUS[of, reason], reason, message)


HEADER = """\
# Conditions

What `leeward status --show-conditions`, `leeward status -o json` and the metric `leeward_condition` report for each
application, in the form of Kubernetes' own conditions: `type`, `status`, `reason`, `message` (because),
`lastTransitionTime`, `observedGeneration`. All of them are present from the start. They are states, not
transitions: a failover of three seconds is in `leeward records` and in `last_failover`, not in a condition.

All come from one agent, the one with the newest revision of the quorum store. `lastTransitionTime` is when the
status changed, as seen by the agent that has watched it longest; an agent that restarts, or was frozen, starts over.
`observedGeneration` is always 1: agents read the files once, when they start.

`leeward wait APP --for TYPE` waits for one. This page is generated: `pytest tests/core/conditions --rewrite`.
"""


def page() -> str:
    """Return the reference page as Markdown."""
    sections = [HEADER]
    for each in Type:
        rows = [f"| `{r.status}` | `{r.name}` | {r.meaning} |" for r in CATALOGUE if r.type is each]
        table = "\n".join(["| Status | Reason | Meaning |", "|---|---|---|", *rows])
        sections.append(f"## {each}\n\n{MEANINGS[each]}\n\n{table}\n")
    return "\n".join(sections)
