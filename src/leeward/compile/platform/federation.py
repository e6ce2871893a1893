"""Objects federated with KubeFed, read in: template, placement and overrides become each cluster's own object.

KubeFed is no longer developed; Leeward takes its objects as they are. As with KubeFed, what is in a namespace goes to
those clusters of its placement that also have the namespace's FederatedNamespace, where there is one. Its other kinds,
such as ReplicaSchedulingPreference, are not read, and ``leeward render`` says so.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from leeward.base.problem import Problem, ProblemsError
from leeward.compile.kube.objects import KubeObject
from leeward.compile.kube.patching import PatchError, json_patch
from leeward.compile.site import Site

GROUP = "types.kubefed.io/"
PREFIX = "Federated"
NAMESPACES = f"{PREFIX}Namespace"
API_VERSIONS = {
    "Namespace": "v1",
    "ConfigMap": "v1",
    "Secret": "v1",
    "Service": "v1",
    "ServiceAccount": "v1",
    "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    "Ingress": "networking.k8s.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "ClusterRole": "rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
}


def is_federated(document: Any) -> bool:
    """Return whether a document is one of KubeFed's."""
    return isinstance(document, dict) and str(document.get("apiVersion", "")).startswith(GROUP)


def is_unread(document: Any) -> bool:
    """Return whether a document is one of KubeFed's that Leeward does nothing with."""
    group = str(document.get("apiVersion", "")).partition("/")[0] if isinstance(document, dict) else ""
    return group.endswith(".kubefed.io") and not is_federated(document)


def propagated(site: Site, documents: Iterable[Mapping[str, Any]]) -> list[KubeObject]:
    """Return what the federated objects among documents are in this cluster, namespaces first.

    Raises ProblemsError for a value of a secret, a kind of unknown version, and what cannot be understood.
    """
    federated = [document for document in documents if is_federated(document)]
    absent = {_name_of(each) for each in federated if each["kind"] == NAMESPACES and propagate(site, each) is None}
    here = [each for each in federated if each["kind"] == NAMESPACES or _namespace_of(each) not in absent]
    items = [item for each in here if (item := propagate(site, each)) is not None]
    return sorted(items, key=lambda item: item["kind"] != "Namespace")


def _name_of(document: Mapping[str, Any]) -> str:
    return str(document["metadata"]["name"])


def _namespace_of(document: Mapping[str, Any]) -> str | None:
    return (document.get("metadata") or {}).get("namespace")


def propagate(site: Site, document: Mapping[str, Any]) -> KubeObject | None:
    """Return what a federated object is in this cluster, namespaces apart; None where it is not placed.

    Raises as ``propagated``.
    """
    try:
        return _propagated(site, document)
    except (AttributeError, KeyError, PatchError, TypeError) as error:
        raise _refused(
            document,
            "federated-unreadable",
            "it cannot be propagated",
            f"{type(error).__name__}: {error}",
            "compare it with KubeFed's documentation; custom resources need apiVersion in the template",
        ) from None


def _propagated(site: Site, document: Mapping[str, Any]) -> KubeObject | None:
    spec = document["spec"]
    if document["kind"] == f"{PREFIX}Secret" and (_values(spec.get("template")) or _values(spec.get("overrides"))):
        raise _refused(
            document,
            "inline-secret",
            "the values of a secret are in the file",
            "what is rendered is kept in Git, readable by many, forever; base64 does not encrypt",
            "seal it (secrets: {by: sealed}) or keep it in a secret store (secrets: {by: external-secrets})",
        )
    if not placed(site, spec.get("placement") or {}):
        return None
    kind = document["kind"].removeprefix(PREFIX)
    template = copy.deepcopy(spec.get("template") or {})
    # A FederatedNamespace is in the namespace that it is for; a Namespace is in none.
    namespaced = "namespace" in document["metadata"] and document["kind"] != NAMESPACES
    metadata = {
        "name": document["metadata"]["name"],
        **({"namespace": document["metadata"]["namespace"]} if namespaced else {}),
        **template.pop("metadata", {}),
    }
    item: KubeObject = {
        "apiVersion": template.pop("apiVersion", None) or API_VERSIONS[kind],
        "kind": kind,
        "metadata": metadata,
        **template,
    }
    item["metadata"]["labels"] = {**metadata.get("labels", {}), "app.kubernetes.io/managed-by": "leeward"}
    for override in spec.get("overrides", ()):
        if override["clusterName"] == site.cluster.name:
            operations = [{"op": "replace", **each} for each in override.get("clusterOverrides", ())]
            for operation in operations:
                # KubeFed's replace also adds what is not there yet.
                item = json_patch(item, [{**operation, "op": _forgiving(operation["op"])}])
    return item


def placed(site: Site, placement: Mapping[str, Any]) -> bool:
    """Return whether an object is for this cluster: by name, else by the labels of clusters, else nowhere."""
    if "clusters" in placement:
        return any(each["name"] == site.cluster.name for each in placement["clusters"])
    if "clusterSelector" not in placement:
        return False
    selector, labels = placement["clusterSelector"] or {}, cluster_labels(site)
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or ()
    return wanted.items() <= labels.items() and all(_matches(each, labels) for each in expressions)


def _matches(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether labels meet one requirement of a label selector. Raises KeyError for an unknown operator."""
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or ()
    return {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }[operator]


def strangers(document: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    """Return the clusters that a federated object is placed on and the fleet does not have."""
    clusters = (document["spec"].get("placement") or {}).get("clusters") or ()
    names = (each.get("name") for each in clusters if isinstance(each, dict))
    return [str(name) for name in names if name not in set(known)]


def cluster_labels(site: Site) -> dict[str, str]:
    """Return the labels by which clusters are chosen."""
    labels = {
        "topology.kubernetes.io/region": site.region.name,
        "leeward.dev/provider": site.region.provider.value,
        "leeward.dev/cluster": site.cluster.name,
    }
    return labels | ({"leeward.dev/environment": site.cluster.environment} if site.cluster.environment else {})


def _values(part: Any) -> bool:
    """Return whether there are values of a secret in a part of a FederatedSecret."""
    if isinstance(part, dict):
        return any(part.get(key) for key in ("data", "stringData"))
    return any("value" in each for one in part or () for each in one.get("clusterOverrides") or ())


def _refused(document: Mapping[str, Any], code: str, what: str, why: str, fix: str) -> ProblemsError:
    name = (document.get("metadata") or {}).get("name", "without a name")
    where = f"{document.get('kind')} {name}"
    return ProblemsError([Problem(code=code, where=where, what=what, why=why, fix=fix)])


def _forgiving(operation: str) -> str:
    return "add" if operation == "replace" else operation
