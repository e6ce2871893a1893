"""The order in which Argo CD applies a cluster's objects: computed from what needs what to become healthy.

Argo CD begins a wave when everything of the one before is healthy. So nothing may wait for what comes in a later wave,
in its own cluster or in another region's: a member of CockroachDB is ready once it reaches other regions, through the
tunnels; CloudNativePG copies its primary through the gateway; no pod runs before there are machines.
"""

from graphlib import TopologicalSorter

from leeward.compile.kube.objects import KubeObject
from leeward.compile.region.identity import DATABASE_INIT
from leeward.core.identities import CERTIFICATE, KEY

WAVE = "argocd.argoproj.io/sync-wave"

NEEDS: dict[str, tuple[str, ...]] = {
    "namespaces": (),
    "machines": ("namespaces",),
    "policies": ("namespaces",),
    "accounts": ("namespaces",),
    "addresses": ("namespaces",),
    "settings": ("namespaces",),
    "network": ("machines", "policies", "accounts", "settings", "addresses"),
    "store": ("network",),
    "agents": ("store",),
    "databases": ("agents",),
    "services": ("databases",),
    "routes": ("services",),
    "public": ("routes",),
    "delivery": ("public",),
}
"""Stages, and the stages whose objects have to be healthy first, here or in another region."""
UNNUMBERED = "services"
"""The stage of the wave that needs no annotation, and of every kind that is not listed."""

KINDS = {
    "Namespace": "namespaces",
    **dict.fromkeys(("StorageClass", "NodePool", "EC2NodeClass", "AKSNodeClass", "ComputeClass"), "machines"),
    **dict.fromkeys(("NetworkPolicy", "ResourceQuota", "LimitRange", "PodDisruptionBudget"), "policies"),
    **dict.fromkeys(("PeerAuthentication", "DestinationRule"), "policies"),
    **dict.fromkeys(("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"), "accounts"),
    "Service": "addresses",
    **dict.fromkeys(("ConfigMap", "Secret", "ExternalSecret", "SealedSecret"), "settings"),
    **dict.fromkeys(
        ("VPCPeeringConnection", "ComputeNetworkPeering", "VirtualNetworksVirtualNetworkPeering"), "network"
    ),
    "StatefulSet": "databases",
    **dict.fromkeys(("HorizontalPodAutoscaler", "VerticalPodAutoscaler", "MetricTemplate", "Canary"), "routes"),
    **dict.fromkeys(("VirtualService", "HTTPRoute", "Gateway", "ServiceExport", "ServiceImport"), "routes"),
    **dict.fromkeys(("DNSEndpoint", "HealthCheck", "RecordSet", "DNSRecordSet"), "public"),
    **dict.fromkeys(("TrafficManagerProfile", "TrafficManagerProfilesExternalEndpoint"), "public"),
    **dict.fromkeys(("BackendConfig", "MultiClusterService", "MultiClusterIngress"), "public"),
    **dict.fromkeys(("AppProject", "ApplicationSet"), "delivery"),
}
COMPONENTS = {"quorum": "store", "agent": "agents", "network": "network", DATABASE_INIT: "databases"}
"""The stage of pods, and of the volumes that are bound only when their pod is there, by the component they are."""
PODS = ("DaemonSet", "Deployment", "Job", "PersistentVolumeClaim", "StatefulSet")
CLOUDNATIVE_PG = "postgresql.cnpg.io/"
TLS_SUFFIX = "-tls"


def waves() -> dict[str, int]:
    """Return each stage's wave. Raises graphlib.CycleError for stages that wait for each other."""
    depths: dict[str, int] = {}
    for stage in TopologicalSorter(NEEDS).static_order():
        depths[stage] = 1 + max((depths[need] for need in NEEDS[stage]), default=-1)
    return {stage: depth - depths[UNNUMBERED] for stage, depth in depths.items()}


WAVES = waves()


def stage_of(item: KubeObject) -> str:
    """Return the stage of an object."""
    kind = item["kind"]
    if kind in PODS:
        component = item["metadata"].get("labels", {}).get("app.kubernetes.io/component")
        if component in COMPONENTS:
            return COMPONENTS[component]
    if kind == "Cluster" and item["apiVersion"].startswith(CLOUDNATIVE_PG):
        return "databases"
    if _is_users_certificate(item):
        # No pod waits for it, and a store that lacks it must not hold up everything.
        return "routes"
    return KINDS.get(kind, UNNUMBERED)


def _is_users_certificate(item: KubeObject) -> bool:
    match item["kind"]:
        case "ExternalSecret":
            keys = {each["secretKey"] for each in item["spec"]["data"]}
        case "SealedSecret":
            keys = set(item["spec"]["encryptedData"])
        case _:
            return False
    return keys == {CERTIFICATE, KEY} and item["metadata"]["name"].endswith(TLS_SUFFIX)


def waved(item: KubeObject) -> KubeObject:
    """Return the object with the wave in which Argo CD applies it."""
    wave = WAVES[stage_of(item)]
    if wave == 0:
        return item
    metadata = item["metadata"]
    annotations = {**metadata.get("annotations", {}), WAVE: str(wave)}
    return {**item, "metadata": {**metadata, "annotations": annotations}}
