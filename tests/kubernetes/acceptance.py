"""Hold objects against a real API server: strictly, without effect, and with an ear for its warnings."""

from collections.abc import Iterable

from leeward.ports.cluster import KubeObject
from tests.kubernetes.api import Api


def complaints(api: Api, items: Iterable[KubeObject]) -> list[str]:
    """Return everything the server says against objects; each line names the object.

    Namespaces are made for real, ours with their labels, so that pod security speaks up about the workloads in them.
    """
    items = list(items)
    ours = {item["metadata"]["name"]: item for item in items if item["kind"] == "Namespace"}
    needed = {item["metadata"]["namespace"] for item in items if "namespace" in item["metadata"]}
    others = {name: {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in needed}
    said = [
        f"{_name(item)}: {complaint}"
        for item in {**others, **ours}.values()
        for complaint in api.apply(item).complaints
    ]
    return said + [
        f"{_name(item)}: {complaint}"
        for item in items
        if item["kind"] != "Namespace"
        for complaint in api.apply(item, dry_run=True).complaints
    ]


def _name(item: KubeObject) -> str:
    metadata = item["metadata"]
    where = f"{metadata['namespace']}/" if "namespace" in metadata else ""
    return f"{item['apiVersion']} {item['kind']} {where}{metadata['name']}"
