"""Kubernetes objects as text, as golden text."""

from datetime import UTC, datetime
from typing import Any

from leeward.cli import objects
from leeward.ports.cluster import PODS

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def pod(name: str, status: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": "2026-01-01T11:58:30Z"},
        "spec": {"containers": [{"name": "web", "command": ["serve", "it"]}], "nodeName": "east"},
        "status": {"podIP": "127.10.1.10", **status},
    }


READY = {"phase": "Running", "containerStatuses": [{"name": "web", "ready": True, "state": {"running": {}}}]}
FAILING = {
    "phase": "Running",
    "containerStatuses": [
        {"name": "web", "ready": False, "restartCount": 7, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    ],
}


def test_pods_as_a_table() -> None:
    items = [pod("web-1", READY), pod("web-2", FAILING), pod("web-3", {"phase": "Pending"})]
    assert objects.listing(PODS, items, now=NOW, namespaces=True).splitlines() == [
        "NAMESPACE   NAME    READY   STATUS             RESTARTS   AGE",
        "shop        web-1   1/1     Running            0          1m30s",
        "shop        web-2   0/1     CrashLoopBackOff   7          1m30s",
        "shop        web-3   0/1     Pending            0          1m30s",
    ]


def test_wide_columns_and_none() -> None:
    (_, row) = objects.listing(PODS, [pod("web-1", READY)], now=NOW, namespaces=False, wide=True).splitlines()
    assert row.split() == ["web-1", "1/1", "Running", "0", "127.10.1.10", "east", "1m30s"]


def test_a_description_has_containers_and_events() -> None:
    event = {
        "metadata": {"creationTimestamp": "2026-01-01T11:59:00Z"},
        "reason": "BackOff",
        "message": "Back-off restarting failed container web",
    }
    text = objects.description(pod("web-2", FAILING), [event], now=NOW)
    assert "web         False   waiting   7          serve it" in text
    assert "BackOff   Back-off restarting failed container web   1m0s" in text
