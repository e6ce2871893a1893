"""Every reason there is, with its meaning: the only place that says which status a reason stands for."""

from dataclasses import dataclass

from leeward.core.conditions.values import Condition, Status, Type

T, F, U = Status.TRUE, Status.FALSE, Status.UNKNOWN
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
    Type.OBJECTIVES_FEASIBLE: "Were the primary's region lost now, RTO and RPO could be met.",
    Type.CAPACITY_SUFFICIENT: "Every data region has as many ready pods as the files ask for at least.",
    Type.QUORUM_AVAILABLE: "A majority of the regions keeps the quorum store: decisions can be made.",
    Type.LAST_DRILL_SUCCEEDED: "The last drill met its objectives.",
    Type.PAUSED: "An operator forbade automatic failover.",
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
    (Type.PRIMARY_WRITABLE, F, NOT_FOUNDED, "Nobody has been primary yet: the application is just starting."),
    (Type.REPLICATING, T, "AllStream", "The primary sends its WAL to every other data region."),
    (Type.REPLICATING, T, "NothingToReplicate", "There is one data region only."),
    (
        Type.REPLICATING,
        F,
        "StandbysMissing",
        "At least one data region does not stream: it is lost, starting or rejoining.",
    ),
    (Type.REPLICATING, U, "NoPrimary", "There is no primary that is heard, so nobody knows who streams."),
    (Type.OBJECTIVES_FEASIBLE, T, "WithinObjectives", "By arithmetic and by what is measured both would be met."),
    (Type.OBJECTIVES_FEASIBLE, F, "RtoTooShort", "A failover in the mode in force takes longer than the RTO."),
    (Type.OBJECTIVES_FEASIBLE, F, "RpoTooStrict", "The mode in force is async, and the RPO is shorter than a lease."),
    (Type.OBJECTIVES_FEASIBLE, F, "FailoverPaused", "Nobody would take over: automatic failover is paused."),
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
    (Type.QUORUM_AVAILABLE, T, "AllHeard", "Every region is heard."),
    (Type.QUORUM_AVAILABLE, T, "MajorityHeard", "The store answers, and some region is not heard."),
    (Type.QUORUM_AVAILABLE, F, UNHEARD, "The agent asked has not heard the store for longer than a lease."),
    (Type.LAST_DRILL_SUCCEEDED, T, "DrillPassed", "Every objective was met and every rule kept."),
    (Type.LAST_DRILL_SUCCEEDED, F, "DrillFailed", "An objective was missed or a rule broken."),
    (Type.LAST_DRILL_SUCCEEDED, U, "DrillInconclusive", "The drill ran and could not tell."),
    (Type.LAST_DRILL_SUCCEEDED, U, "NoDrill", "No drill is on record."),
    (Type.PAUSED, T, "PausedByOperator", "`leeward pause`; a lost primary stays lost until `leeward resume`."),
    (Type.PAUSED, F, "AutomaticFailover", "A lost primary is replaced without anybody's help."),
    (Type.RECONCILING, T, "Electing", "A primary is being elected."),
    (Type.RECONCILING, T, "Promoting", "The elected region is being promoted."),
    (Type.RECONCILING, T, "SwitchingOver", "The primary moves, as asked."),
    (Type.RECONCILING, T, "ChangingMode", "Another replication mode is being prepared."),
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
    (Type.STALLED, T, "TakesTooLong", "An election, a promotion or a switchover has taken longer than the RTO."),
    (Type.STALLED, F, "NothingStuck", "Nothing waits for help."),
)

_ANYWHERE = {
    UNHEARD: "The agent asked has not heard the quorum store for longer than a lease: what it knows is old.",
    ELSEWHERE: "The database is run by its own operator, which alone knows.",
    NOT_FOUNDED: "The application is just starting.",
}


def _catalogue() -> tuple[Reason, ...]:
    found = [Reason(*row) for row in _OWN]
    for each in Type:
        if each is Type.LAST_DRILL_SUCCEEDED:
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
status changed, as seen by the agent that has watched it longest; one that restarts, or was frozen, starts anew.
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
