"""Hold objects against a real API server: strictly, without effect, and with an ear for its warnings."""

from collections.abc import Iterable

from leeward.ports.cluster import KubeObject
from tests.kubernetes.api import Api
from tests.kubernetes.definitions import unchecked

WORKLOADS = ("DaemonSet", "Deployment", "Job", "StatefulSet")


def complaints(api: Api, items: Iterable[KubeObject]) -> list[str]:
    """Return everything the server says against objects; each line names the object.

    Namespaces and limit ranges are made for real: so pod security speaks up about the workloads, and every workload's
    pod is asked about as well, as a controller would make it. Kinds whose definition cannot be had are left out.
    """
    left_out = unchecked()
    items = [item for item in items if (item["apiVersion"], item["kind"]) not in left_out]
    ours = {item["metadata"]["name"]: item for item in items if item["kind"] == "Namespace"}
    needed = {item["metadata"]["namespace"] for item in items if "namespace" in item["metadata"]}
    others = {name: {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in needed}
    said = [
        f"{_name(item)}: {complaint}"
        for item in [*{**others, **ours}.values(), *(item for item in items if item["kind"] == "LimitRange")]
        for complaint in api.apply(item).complaints
    ]
    return said + [
        f"{_name(item)}: {complaint}"
        for item in [*items, *(_pod(item) for item in items if item["kind"] in WORKLOADS)]
        if item["kind"] not in ("Namespace", "LimitRange")
        for complaint in api.apply(item, dry_run=True).complaints
    ]


def _pod(workload: KubeObject) -> KubeObject:
    """Return a pod of a workload."""
    metadata, spec = workload["metadata"], workload["spec"]
    claimed = [
        {"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}
        for claim in spec.get("volumeClaimTemplates", ())
    ]
    template = spec["template"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": f"{metadata['name']}-0", "namespace": metadata["namespace"]},
        "spec": {**template["spec"], "volumes": [*template["spec"].get("volumes", ()), *claimed]},
    }


def _name(item: KubeObject) -> str:
    metadata = item["metadata"]
    where = f"{metadata['namespace']}/" if "namespace" in metadata else ""
    return f"{item['apiVersion']} {item['kind']} {where}{metadata['name']}"
