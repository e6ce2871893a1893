"""Every reason there is, with its meaning: the only place that says which status a reason stands for."""

from dataclasses import dataclass

from leeward.core.conditions.values import Condition, Status, Type

T, F, U = Status.TRUE, Status.FALSE, Status.UNKNOWN
KNOWN_ANYWAY = (Type.STORE_HAS_ROOM, Type.STORE_BACKED_UP, Type.CERTIFICATES_VALID, Type.LAST_DRILL_SUCCEEDED)
"""What an agent knows without the quorum store, or from before."""
UNHEARD, ELSEWHERE, NOT_FOUNDED = "QuorumUnheard", "DatabaseElsewhere", "NotFounded"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a type has a status."""

    type: Type
    status: Status
    name: str
    meaning: str


MEANINGS = {
    Type.READY: "Users are served: writes are accepted, and somewhere pods answer. Reserves do not count here.",
    Type.PRIMARY_WRITABLE: "The primary of the epoch in force accepts writes under a lease.",
    Type.REPLICATING: "Every other data region streams from the primary.",
    Type.DURABILITY_AS_PROMISED: "A commit returns only when it is as durable as the replication mode promises.",
    Type.OBJECTIVES_FEASIBLE: "Were the primary's region lost now, RTO and RPO could be met.",
    Type.CAPACITY_SUFFICIENT: "Every data region has as many ready pods as the files ask for at least.",
    Type.DISK_HAS_ROOM: "The volume of every region's database that is heard has a tenth free at least.",
    Type.GATEWAYS_CONNECTED: "Every region's gateway answers users, and carries traffic to every other one.",
    Type.QUORUM_AVAILABLE: "A majority of the regions keeps the quorum store: decisions can be made.",
    Type.STORE_HAS_ROOM: "The quorum store accepts writes, and is not about to reach its quota.",
    Type.STORE_BACKED_UP: "Some region has a checked backup of the quorum store that is not too old.",
    Type.CERTIFICATES_VALID: "Every certificate that agents watch is renewed in time.",
    Type.LAST_DRILL_SUCCEEDED: "The last drill met its objectives.",
    Type.PAUSED: "An operator forbade automatic failover.",
    Type.OBSERVING: "A lost primary is reported and not replaced, as the files say (`failover: observe`).",
    Type.RECONCILING: "Something is under way that ends by itself (kstatus).",
    Type.STALLED: "Something does not go on by itself (kstatus).",
}

_OWN = (
    (Type.READY, T, "Serving", "Writes are accepted and at least one region has ready pods."),
    (Type.READY, F, "NotWritable", "No primary accepts writes; `PrimaryWritable` says why."),
    (Type.READY, F, "NoPods", "No region that is heard has a ready pod."),
    (Type.PRIMARY_WRITABLE, T, "AcceptsWrites", "Its agent said so within the lease."),
    (Type.PRIMARY_WRITABLE, F, "Electing", "The old primary is deposed; another one is being elected."),
    (Type.PRIMARY_WRITABLE, F, "Promoting", "The elected region does not accept writes yet."),
    (Type.PRIMARY_WRITABLE, F, "SwitchingOver", "The primary has stopped on purpose and hands over."),
    (
        Type.PRIMARY_WRITABLE,
        F,
        "PrimaryUnheard",
        "The primary's region was not heard within the lease; it may be lost.",
    ),
    (
        Type.PRIMARY_WRITABLE,
        F,
        "DatabaseNotWritable",
        "The primary's region is heard, and its database takes no writes.",
    ),
    (Type.PRIMARY_WRITABLE, F, NOT_FOUNDED, "There has been no primary yet: the application is just starting."),
    (Type.REPLICATING, T, "AllStream", "The primary sends its WAL to every other data region."),
    (Type.REPLICATING, T, "NothingToReplicate", "There is one data region only."),
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
        "The primary sends its WAL to every other data region, and one of them reports a problem: no switchover to it.",
    ),
    (Type.REPLICATING, U, "NoPrimary", "No primary is heard, so it is not known who streams."),
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
    (Type.DURABILITY_AS_PROMISED, U, "NoPrimary", "There is no primary that is heard: no commit returns."),
    (Type.OBJECTIVES_FEASIBLE, T, "WithinObjectives", "By arithmetic and by what is measured both would be met."),
    (Type.OBJECTIVES_FEASIBLE, F, "RtoTooShort", "A failover in the mode in force takes longer than the RTO."),
    (Type.OBJECTIVES_FEASIBLE, F, "RpoTooStrict", "The mode in force is async, and the RPO is shorter than a lease."),
    (Type.OBJECTIVES_FEASIBLE, F, "FailoverPaused", "No region would take over: automatic failover is paused."),
    (Type.OBJECTIVES_FEASIBLE, F, "FailoverObserved", "No region would take over: failover is set to observe."),
    (
        Type.OBJECTIVES_FEASIBLE,
        F,
        "MajorityWouldBeLost",
        "Without the primary's region too few regions are left to decide.",
    ),
    (
        Type.OBJECTIVES_FEASIBLE,
        F,
        "NobodyToTakeOver",
        "Too few replicas are left to elect one without losing what must not be lost.",
    ),
    (Type.OBJECTIVES_FEASIBLE, F, "BehindRpo", "The standby that would win is further behind than the RPO."),
    (Type.OBJECTIVES_FEASIBLE, U, "NoPrimary", "There is no primary that is heard: the question is being answered."),
    (Type.CAPACITY_SUFFICIENT, T, "EnoughPods", "Each data region has what the files ask for."),
    (
        Type.CAPACITY_SUFFICIENT,
        F,
        "RegionUnheard",
        "A data region was not heard within the lease: its pods count as missing.",
    ),
    (Type.CAPACITY_SUFFICIENT, F, "PodsMissing", "A data region has fewer ready pods than the files ask for."),
    (Type.DISK_HAS_ROOM, T, "EnoughRoom", "A tenth or more is free of every volume that is heard of."),
    (
        Type.DISK_HAS_ROOM,
        F,
        "DiskFilling",
        "Less than a tenth of a volume is free. When it is full, statements fail, or the primary stops.",
    ),
    (Type.DISK_HAS_ROOM, U, "NotMeasured", "No instance manager that is heard has reported its volume."),
    (Type.GATEWAYS_CONNECTED, T, "AllConnected", "Each path between regions that are heard carried its last probe."),
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
        "A region's gateway does not answer at its users' port: DNS leaves the region out until it does.",
    ),
    (Type.QUORUM_AVAILABLE, T, "AllHeard", "Every region is heard."),
    (Type.QUORUM_AVAILABLE, T, "MajorityHeard", "The store answers, and some region is not heard."),
    (Type.QUORUM_AVAILABLE, F, UNHEARD, "The agent asked has not heard the store for longer than a lease."),
    (Type.STORE_HAS_ROOM, T, "HasRoom", "Every member's database is below 80 % of its quota."),
    (Type.STORE_HAS_ROOM, F, "Filling", "A member's database is above 80 % of its quota."),
    (
        Type.STORE_HAS_ROOM,
        F,
        "NoSpace",
        "A member reached its quota: no write is accepted until agents have freed space and lifted the alarm.",
    ),
    (Type.STORE_HAS_ROOM, F, "Corrupt", "etcd found that members differ: restore the store from a backup."),
    (Type.STORE_HAS_ROOM, U, "NotYetKnown", "The agent asked has not measured its member yet."),
    (Type.STORE_BACKED_UP, T, "BackupRecent", "The newest checked backup is no older than three periods."),
    (Type.STORE_BACKED_UP, F, "BackupOld", "The newest checked backup of any region is older than three periods."),
    (Type.STORE_BACKED_UP, F, "NoBackup", "No region has a checked backup, and an attempt to make one failed."),
    (Type.STORE_BACKED_UP, U, "NotYetKnown", "The agent asked has just started and waits for its first backup."),
    (
        Type.CERTIFICATES_VALID,
        T,
        "InTime",
        "Every certificate has a quarter of its life left, or 30 days where that is less.",
    ),
    (
        Type.CERTIFICATES_VALID,
        F,
        "RenewalOverdue",
        "A certificate has less left: whoever issues it has not renewed it when a third was left.",
    ),
    (
        Type.CERTIFICATES_VALID,
        F,
        "Expired",
        "Open connections go on, and no new ones are accepted: what restarts, or is cut off, does not come back.",
    ),
    (Type.CERTIFICATES_VALID, U, "NotYetKnown", "The agent asked has just started."),
    (Type.LAST_DRILL_SUCCEEDED, T, "DrillPassed", "Every objective was met and every rule kept."),
    (Type.LAST_DRILL_SUCCEEDED, F, "DrillFailed", "An objective was missed or a rule broken."),
    (Type.LAST_DRILL_SUCCEEDED, U, "DrillInconclusive", "The drill ran and could not tell."),
    (Type.LAST_DRILL_SUCCEEDED, U, "NoDrill", "No drill is on record."),
    (Type.PAUSED, T, "PausedByOperator", "`leeward pause`; a lost primary stays lost until `leeward resume`."),
    (Type.PAUSED, F, "AutomaticFailover", "A lost primary is replaced automatically."),
    (Type.OBSERVING, T, "ObserveOnly", "What would be done is logged and counted; `leeward failover` still works."),
    (Type.OBSERVING, F, "ActsByItself", "What is decided is done."),
    (Type.RECONCILING, T, "Electing", "A primary is being elected."),
    (Type.RECONCILING, T, "Promoting", "The elected region is being promoted."),
    (Type.RECONCILING, T, "SwitchingOver", "The primary moves, as asked."),
    (Type.RECONCILING, T, "ChangingMode", "Another replication mode is being prepared."),
    (
        Type.RECONCILING,
        T,
        "DataRegionJoining",
        "A region is being added: it copies, streams, or is being counted.",
    ),
    (Type.RECONCILING, T, "DataRegionLeaving", "A data region is being removed; it counts until the others hold all."),
    (
        Type.RECONCILING,
        T,
        "DataRegionsDiffer",
        "The files name other data regions than those in force.",
    ),
    (Type.RECONCILING, T, "Rejoining", "A region that is heard has a replica that does not stream yet."),
    (Type.RECONCILING, T, NOT_FOUNDED, "The application is just starting."),
    (Type.RECONCILING, F, "Settled", "All is as ordered."),
    (Type.STALLED, T, UNHEARD, "Without the store nothing is decided; it goes on when a majority of regions is back."),
    (
        Type.STALLED,
        T,
        "PausedWithoutPrimary",
        "The primary's region is not heard, and failover is paused: `leeward resume`.",
    ),
    (
        Type.STALLED,
        T,
        "ObservedWithoutPrimary",
        "The primary's region is not heard, and failover is set to observe: `leeward failover`.",
    ),
    (Type.STALLED, T, "TakesTooLong", "An election, a promotion or a switchover has taken longer than the RTO."),
    (Type.STALLED, F, "NothingStuck", "Nothing needs an operator."),
)

_ANYWHERE = {
    UNHEARD: "The agent asked has not heard the quorum store for longer than a lease: what it knows is old.",
    ELSEWHERE: "The database is run by its own operator, which alone knows.",
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

What `leeward status --show-conditions`, `leeward status -o json` and the metric `leeward_condition` tell of each
application, in the form of Kubernetes' own conditions: `type`, `status`, `reason`, `message` (because),
`lastTransitionTime`, `observedGeneration`. All of them are there from the first look. They are states, not
transitions: a failover of three seconds is in `leeward records` and in `last_failover`, and is no condition.

All come from one agent, the one with the newest revision of the quorum store. `lastTransitionTime` is when the
status changed, as seen by the agent that has watched it longest; one that restarts, or was frozen, starts over.
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
