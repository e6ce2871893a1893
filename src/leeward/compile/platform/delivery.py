"""Argo CD, one in every region: each follows the tree for its own clusters, and none of them can reach the others'.

A change goes region by region: within a region's Argo CD by sync waves (namespaces and policies, then data, then the
service), from cluster to cluster by a rolling sync, between regions by a branch for each region when ``promote`` is
on: ``git push origin main:main-us-east-1`` lets one region have it. Without ``promote`` all regions follow at once,
and ``validate`` warns: it is off unless you ask for it because these branches are yours to push. With it on, and none
of them there, Argo CD finds no revision and no region gets anything at all.
"""

from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.region.identity import DATABASE_INIT
from leeward.compile.site import Site

NAMESPACE = "argocd"
GROUP = "argoproj.io/v1alpha1"
WAVE = "argocd.argoproj.io/sync-wave"
REGION = "topology.kubernetes.io/region"

WAVES = {
    "Namespace": -10,
    "StorageClass": -9,
    "NetworkPolicy": -8,
    "ResourceQuota": -8,
    "LimitRange": -8,
    "ServiceAccount": -7,
    "Role": -7,
    "RoleBinding": -7,
    "ExternalSecret": -6,
    "SealedSecret": -6,
    "ConfigMap": -5,
    "StatefulSet": -3,
    "Cluster": -3,
    "Deployment": 0,
    "HorizontalPodAutoscaler": 1,
    "PodDisruptionBudget": 1,
    "Canary": 1,
    "VirtualService": 2,
    "HTTPRoute": 2,
    "HealthCheck": 3,
    "DNSEndpoint": 3,
    "RecordSet": 3,
    "MultiClusterIngress": 3,
}


def waved(item: KubeObject) -> KubeObject:
    """Return the object with the wave in which Argo CD applies it."""
    wave = WAVES["StatefulSet"] if _with_the_members(item) else WAVES.get(item["kind"], 0)
    if wave == 0:
        return item
    metadata = item["metadata"]
    annotations = {**metadata.get("annotations", {}), WAVE: str(wave)}
    return {**item, "metadata": {**metadata, "annotations": annotations}}


def _with_the_members(item: KubeObject) -> bool:
    """Return whether a database's members cannot be ready without an object.

    A wave waits until the one before is healthy: a wave later the members' names, and what starts them, never came.
    """
    if item["kind"] == "Job":
        return bool(item["metadata"]["labels"].get("app.kubernetes.io/component") == DATABASE_INIT)
    return bool(item["kind"] == "Service" and item.get("spec", {}).get("clusterIP") == "None")


def argo_cd(site: Site) -> list[KubeObject]:
    """Return the region's project and application set; they belong to the Argo CD in the region's first cluster."""
    wanted = site.fleet.gitops
    if wanted is None or not site.home:
        return []
    region, fleet = site.region.name, site.spec.fleet.metadata.name
    labels = site.labels("leeward", "delivery", "leeward")
    revision = f"{wanted.revision}-{region}" if wanted.promote else wanted.revision
    path = "" if wanted.path == "." else f"{wanted.path.strip('/')}/"
    generator = {
        "matrix": {
            "generators": [
                {"clusters": {"selector": {"matchLabels": {REGION: region}}}},
                {
                    "git": {
                        "repoURL": wanted.repository,
                        "revision": revision,
                        "directories": [{"path": f"{path}clusters/{{{{.nameNormalized}}}}"}],
                    }
                },
            ]
        }
    }
    template = {
        "metadata": {
            "name": "{{.nameNormalized}}",
            "labels": {REGION: region, "app.kubernetes.io/part-of": fleet},
            "annotations": {WAVE: str(_position(site))},
        },
        "spec": {
            "project": fleet,
            "source": {"repoURL": wanted.repository, "targetRevision": revision, "path": "{{.path.path}}"},
            "destination": {"server": "{{.server}}"},
            "syncPolicy": {
                "automated": {"prune": True, "selfHeal": True},
                "syncOptions": ["ServerSideApply=true", "ApplyOutOfSyncOnly=true"],
                "retry": {"limit": 5, "backoff": {"duration": "10s", "factor": 2, "maxDuration": "3m"}},
            },
        },
    }
    # The clusters that this Argo CD knows are its region's: one after the other.
    steps = [{"matchExpressions": [{"key": REGION, "operator": "In", "values": [region]}], "maxUpdate": 1}]
    clusters = [cluster.name for cluster in site.spec.clusters(region)]
    project = {
        "description": f"What Leeward compiled for {region}",
        "sourceRepos": [wanted.repository],
        # By name alone: Argo CD asks for either, so a server that matches any would let it into every cluster.
        "destinations": [{"name": name, "namespace": "*"} for name in clusters],
        "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
    }
    return [
        object_of(GROUP, "AppProject", fleet, NAMESPACE, labels, spec=project),
        object_of(
            GROUP,
            "ApplicationSet",
            fleet,
            NAMESPACE,
            labels,
            spec={
                "goTemplate": True,
                "goTemplateOptions": ["missingkey=error"],
                "generators": [generator],
                "strategy": {"type": "RollingSync", "rollingSync": {"steps": steps}},
                "template": template,
            },
        ),
    ]


def _position(site: Site) -> int:
    return [region.name for region in site.spec.regions].index(site.region.name)
