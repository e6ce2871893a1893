"""Machines by need: on-demand for what must stay, spot for what may be interrupted, and what happens without spot.

Databases, quorum and agents never run on spot: its nodes are tainted; only interruptible pods tolerate that.
"""

import copy
from dataclasses import dataclass

from leeward.compile.kube.objects import KubeObject
from leeward.compile.site import Site, is_service_of
from leeward.spec.application import Application
from leeward.spec.fleet import Provider
from leeward.spec.platform import Capacity, NodePool
from leeward.spec.spec import Spec

SPOT_TAINT = "leeward.dev/interruptible"
POOL = "leeward.dev/pool"
GCP_FAMILY = "n2"
HOURS_PER_MONTH = 730


def node_pools(site: Site) -> list[KubeObject]:
    """Return the cluster's pools in its provider's words; none for a provider without."""
    pools = site.fleet.node_pools
    match site.region.provider:
        case Provider.AWS:
            return [item for pool in pools for item in (_pool(site, pool), _ec2(site, pool))]
        case Provider.AZURE:
            return [item for pool in pools for item in (_pool(site, pool), _aks(site, pool))]
        case Provider.GCP:
            return [_compute_class(site, pool) for pool in pools]
        case Provider.OTHER:
            return []


def interruptible(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with leave for the service's pods to run on spot machines, where it may be interrupted."""
    spot = [pool for pool in site.fleet.node_pools if Capacity.SPOT in pool.capacity]
    if not application.spec.service.interruptible or not spot:
        return items
    return [_tolerant(site, item, spot[0]) if is_service_of(application, item) else item for item in items]


def _tolerant(site: Site, item: KubeObject, pool: NodePool) -> KubeObject:
    result = copy.deepcopy(item)
    pod = result["spec"]["template"]["spec"]
    pod["tolerations"] = [
        *pod.get("tolerations", ()),
        {"key": SPOT_TAINT, "operator": "Exists", "effect": "NoSchedule"},
    ]
    key = "cloud.google.com/compute-class" if site.region.provider is Provider.GCP else POOL
    preference = {"matchExpressions": [{"key": key, "operator": "In", "values": [pool.name]}]}
    preferred = [{"weight": 50, "preference": preference}]
    affinity = pod.setdefault("affinity", {})
    affinity["nodeAffinity"] = {"preferredDuringSchedulingIgnoredDuringExecution": preferred}
    return result


def _requirements(site: Site, pool: NodePool) -> list[KubeObject]:
    rows: list[tuple[str, list[str]]] = [
        ("karpenter.sh/capacity-type", [capacity.value for capacity in pool.capacity]),
        ("kubernetes.io/arch", ["amd64"]),
    ]
    if site.zones:
        rows.append(("topology.kubernetes.io/zone", list(site.zones)))
    if site.region.provider is Provider.AWS:
        key = "karpenter.k8s.aws/instance-family" if pool.families else "karpenter.k8s.aws/instance-category"
        rows.append((key, list(pool.families) or ["c", "m", "r"]))
    else:
        rows.append(("karpenter.azure.com/sku-family", list(pool.families) or ["D", "E"]))
    return [{"key": key, "operator": "In", "values": values} for key, values in rows]


def _pool(site: Site, pool: NodePool) -> KubeObject:
    aws = site.region.provider is Provider.AWS
    reference = {
        "group": "karpenter.k8s.aws" if aws else "karpenter.azure.com",
        "kind": "EC2NodeClass" if aws else "AKSNodeClass",
        "name": pool.name,
    }
    node: KubeObject = {"requirements": _requirements(site, pool), "nodeClassRef": reference}
    spot = Capacity.SPOT in pool.capacity
    # Karpenter drains an expired machine whatever is on it, a primary too.
    node["expireAfter"] = "720h" if spot else "Never"
    if spot:
        node["taints"] = [{"key": SPOT_TAINT, "value": "true", "effect": "NoSchedule"}]
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": pool.name, "labels": site.labels(pool.name, "nodes", "leeward")},
        "spec": {
            "template": {"metadata": {"labels": {POOL: pool.name}}, "spec": node},
            "limits": {"cpu": str(pool.cpu_max)},
            # Databases are moved by a switchover, not by the consolidation of nodes.
            "disruption": {
                "consolidationPolicy": "WhenEmptyOrUnderutilized" if spot else "WhenEmpty",
                "consolidateAfter": "5m",
                "budgets": [{"nodes": "20%" if spot else "1"}],
            },
            "weight": 10 if spot else 50,
        },
    }


def _ec2(site: Site, pool: NodePool) -> KubeObject:
    tags = {"karpenter.sh/discovery": site.cluster.name}
    return {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": pool.name, "labels": site.labels(pool.name, "nodes", "leeward")},
        "spec": {
            "amiSelectorTerms": [{"alias": "al2023@latest"}],
            "role": f"KarpenterNodeRole-{site.cluster.name}",
            "subnetSelectorTerms": [{"tags": tags}],
            "securityGroupSelectorTerms": [{"tags": tags}],
            "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
        },
    }


def _aks(site: Site, pool: NodePool) -> KubeObject:
    return {
        "apiVersion": "karpenter.azure.com/v1beta1",
        "kind": "AKSNodeClass",
        "metadata": {"name": pool.name, "labels": site.labels(pool.name, "nodes", "leeward")},
        "spec": {"imageFamily": "Ubuntu2204", "osDiskSizeGB": 128},
    }


def _compute_class(site: Site, pool: NodePool) -> KubeObject:
    """Return Google's own way to the same end: priorities from first to last."""
    families = pool.families or (GCP_FAMILY,)
    priorities = [
        {"machineFamily": family, "spot": capacity is Capacity.SPOT}
        for capacity in pool.capacity
        for family in families
    ]
    spec: KubeObject = {
        "priorities": priorities,
        "nodePoolAutoCreation": {"enabled": True},
        "whenUnsatisfiable": "DoNotScaleUp",
    }
    if Capacity.SPOT in pool.capacity:
        taint = {"key": SPOT_TAINT, "value": "true", "effect": "NoSchedule"}
        spec["nodePoolConfig"] = {"taints": [taint]}
        spec["activeMigration"] = {"optimizeRulePriority": True}
    return {
        "apiVersion": "cloud.google.com/v1",
        "kind": "ComputeClass",
        "metadata": {"name": pool.name, "labels": site.labels(pool.name, "nodes", "leeward")},
        "spec": spec,
    }


@dataclass(frozen=True, slots=True)
class Saving:
    """What spot saves, estimated, for one application in all its regions."""

    cpus: float
    """Requested by pods that may be interrupted."""
    on_demand_per_month: float
    spot_per_month: float

    def sentence(self) -> str:
        """Return it in words."""
        saved = self.on_demand_per_month - self.spot_per_month
        return (
            f"{self.cpus:g} CPUs may be interrupted: {self.on_demand_per_month:.2f} a month on demand,"
            f" {self.spot_per_month:.2f} on spot, {saved:.2f} saved"
        )


def saving(spec: Spec, application: Application) -> Saving | None:
    """Return what spot saves; None when nothing may be interrupted, or no price is given."""
    pools = [pool for pool in spec.fleet.spec.node_pools if Capacity.SPOT in pool.capacity and pool.price_per_hour]
    cpu, service = application.spec.service.resources.requests.cpu, application.spec.service
    if not service.interruptible or not pools or cpu is None or pools[0].price_per_hour is None:
        return None
    cpus = float(cpu.amount) * service.replicas * len(spec.placement(application))
    month = cpus * pools[0].price_per_hour * HOURS_PER_MONTH
    return Saving(cpus, month, month * (1 - pools[0].spot_discount / 100))
