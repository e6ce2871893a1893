"""Kubernetes objects as text: the columns of each kind, and a description for people. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from leeward.base.units import duration_cell
from leeward.cli.render import NOTHING, facts, table
from leeward.ports.cluster import (
    DEPLOYMENTS,
    EVENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    PODS,
    SERVICES,
    STATEFUL_SETS,
    KubeObject,
    Resource,
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a kind; ``wide`` ones are only shown on request."""

    head: str
    cell: Callable[[KubeObject], object]
    wide: bool = False


def _replicas(item: KubeObject) -> str:
    return f"{item.get('status', {}).get('readyReplicas', 0)}/{item.get('spec', {}).get('replicas', 1)}"


def _status(field: str) -> Callable[[KubeObject], object]:
    return lambda item: item.get("status", {}).get(field, 0)


def _containers_ready(pod: KubeObject) -> str:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return f"{sum(bool(each.get('ready')) for each in statuses)}/{len(pod['spec']['containers'])}"


def _pod_status(pod: KubeObject) -> str:
    """Return what kubectl calls STATUS: the reason of the first container with a problem, else the phase."""
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for each in pod.get("status", {}).get("containerStatuses", []):
        state = each.get("state", {})
        reason = state.get("waiting", {}).get("reason") or state.get("terminated", {}).get("reason")
        if reason:
            return str(reason)
    return str(pod.get("status", {}).get("phase", "Unknown"))


def _restarts(pod: KubeObject) -> int:
    return sum(each.get("restartCount", 0) for each in pod.get("status", {}).get("containerStatuses", []))


def _ports(service: KubeObject) -> str:
    return ",".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in service["spec"].get("ports", []))


def _object(event: KubeObject) -> str:
    involved = event.get("involvedObject", {})
    return f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"


COLUMNS: dict[Resource, tuple[Column, ...]] = {
    PODS: (
        Column("READY", _containers_ready),
        Column("STATUS", _pod_status),
        Column("RESTARTS", _restarts),
        Column("IP", lambda pod: pod.get("status", {}).get("podIP"), wide=True),
        Column("NODE", lambda pod: pod["spec"].get("nodeName"), wide=True),
    ),
    DEPLOYMENTS: (
        Column("READY", _replicas),
        Column("UP-TO-DATE", _status("updatedReplicas")),
        Column("AVAILABLE", _status("availableReplicas")),
    ),
    STATEFUL_SETS: (Column("READY", _replicas),),
    SERVICES: (
        Column("TYPE", lambda service: service["spec"].get("type", "ClusterIP")),
        Column("CLUSTER-IP", lambda service: service["spec"].get("clusterIP")),
        Column("PORTS", _ports),
    ),
    HORIZONTAL_POD_AUTOSCALERS: (
        Column("MIN", lambda item: item["spec"].get("minReplicas", 1)),
        Column("MAX", lambda item: item["spec"]["maxReplicas"]),
        Column("REPLICAS", _status("currentReplicas")),
    ),
    EVENTS: (
        Column("TYPE", lambda event: event.get("type")),
        Column("REASON", lambda event: event.get("reason")),
        Column("OBJECT", _object),
        Column("MESSAGE", lambda event: event.get("message")),
    ),
}


def listing(kind: Resource, items: Iterable[KubeObject], *, now: datetime, namespaces: bool, wide: bool = False) -> str:
    """Return the table of one kind's objects."""
    columns = [column for column in COLUMNS.get(kind, ()) if wide or not column.wide]
    head = [*(["NAMESPACE"] if namespaces else []), "NAME", *(column.head for column in columns), "AGE"]
    return table(
        head,
        [
            [
                *([item["metadata"].get("namespace")] if namespaces else []),
                item["metadata"]["name"],
                *(column.cell(item) for column in columns),
                age(item["metadata"].get("creationTimestamp"), now),
            ]
            for item in items
        ],
    )


def age(created: str | None, now: datetime) -> str:
    """Return how long ago a Kubernetes timestamp was."""
    if created is None:
        return NOTHING
    return duration_cell(max(0.0, (now - datetime.fromisoformat(created).astimezone(UTC)).total_seconds()))


def names(kind: Resource, items: Iterable[KubeObject]) -> list[str]:
    """Return ``pod/NAME`` of each."""
    return [f"{kind.kind.lower()}/{item['metadata']['name']}" for item in items]


def description(item: KubeObject, events: Sequence[KubeObject], *, now: datetime) -> str:
    """Return the main facts of one object, its conditions, and its events."""
    metadata = item["metadata"]
    sections = [
        facts(
            [
                ("Name", metadata["name"]),
                ("Namespace", metadata.get("namespace")),
                ("Kind", item["kind"]),
                ("Age", age(metadata.get("creationTimestamp"), now)),
                ("Labels", ", ".join(f"{key}={value}" for key, value in metadata.get("labels", {}).items())),
            ]
        )
    ]
    if item["kind"] == PODS.kind:
        sections.append(_pod_facts(item))
    conditions = item.get("status", {}).get("conditions", [])
    if conditions:
        rows = [(each["type"], each["status"], each.get("reason"), each.get("message")) for each in conditions]
        sections.append(table(("CONDITION", "STATUS", "REASON", "BECAUSE"), rows))
    if events:
        happened = [(event.get("reason"), event.get("message"), _last_seen(event, now)) for event in events]
        sections.append(table(("EVENT", "MESSAGE", "AGE"), happened))
    else:
        sections.append("no events")
    return "\n\n".join(sections)


def _pod_facts(pod: KubeObject) -> str:
    statuses = {each["name"]: each for each in pod.get("status", {}).get("containerStatuses", [])}
    rows = []
    for container in pod["spec"]["containers"]:
        status: dict[str, Any] = statuses.get(container["name"], {})
        state = next(iter(status.get("state", {})), None)
        command = " ".join([*container.get("command", []), *container.get("args", [])])
        rows.append((container["name"], bool(status.get("ready")), state, status.get("restartCount", 0), command))
    head = facts([("Status", _pod_status(pod)), ("IP", pod.get("status", {}).get("podIP"))])
    return f"{head}\n\n{table(('CONTAINER', 'READY', 'STATE', 'RESTARTS', 'COMMAND'), rows)}"


def _last_seen(event: KubeObject, now: datetime) -> str:
    seen = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    return age(seen, now)
