"""Where volumes are made: in the zone of the pod that asks first, and in the region's zones only."""

import copy

from leeward.compile.kube.objects import KubeObject
from leeward.compile.site import Site
from leeward.spec.application import Application
from leeward.spec.fleet import Provider

NAME = "leeward-regional"
ZONE = "topology.kubernetes.io/zone"
PROVISIONERS: dict[Provider, tuple[str, dict[str, str], str]] = {
    Provider.AWS: ("ebs.csi.aws.com", {"type": "gp3", "encrypted": "true"}, ZONE),
    Provider.GCP: ("pd.csi.storage.gke.io", {"type": "pd-ssd"}, "topology.gke.io/zone"),
    Provider.AZURE: ("disk.csi.azure.com", {"skuName": "Premium_LRS"}, "topology.disk.csi.azure.com/zone"),
}
"""By provider: the driver, its parameters (disks are encrypted), and what it calls a zone."""


def has_class(site: Site) -> bool:
    """Return whether the cluster gets a storage class: its provider and its zones are known."""
    return site.region.provider in PROVISIONERS and bool(site.zones)


def storage_class(site: Site) -> list[KubeObject]:
    """Return the class."""
    if not has_class(site):
        return []
    provisioner, parameters, key = PROVISIONERS[site.region.provider]
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": NAME, "labels": site.labels(NAME, "storage", "leeward")},
            "provisioner": provisioner,
            "parameters": dict(parameters),
            "reclaimPolicy": "Retain",
            "allowVolumeExpansion": True,
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowedTopologies": [{"matchLabelExpressions": [{"key": key, "values": list(site.zones)}]}],
        }
    ]


def storage(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with the class named in every claim."""
    name = application.spec.database.storage_class or (NAME if has_class(site) else None)
    return items if name is None else [_classed(item, name) for item in items]


def with_class(site: Site, items: list[KubeObject]) -> list[KubeObject]:
    """Return Leeward's own objects with the class named in their claims."""
    return [_classed(item, NAME) for item in items] if has_class(site) else items


def _classed(item: KubeObject, name: str) -> KubeObject:
    if item["kind"] == "Cluster":
        return {**item, "spec": {**item["spec"], "storage": {**item["spec"]["storage"], "storageClass": name}}}
    if item["kind"] == "PersistentVolumeClaim":
        return {**item, "spec": {**item["spec"], "storageClassName": name}}
    if item["kind"] != "StatefulSet":
        return item
    result = copy.deepcopy(item)
    for claim in result["spec"].get("volumeClaimTemplates", ()):
        claim["spec"]["storageClassName"] = name
    return result
