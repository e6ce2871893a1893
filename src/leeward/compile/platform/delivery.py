"""Argo CD, one in every region: each follows the tree for its own clusters, and none of them can reach the others'.

A change goes region by region: within a region's Argo CD by sync waves (namespaces, policies and settings, networks,
the store, agents, databases, services, routes: nothing waits for what comes later), from cluster to cluster by a
rolling sync, between regions by a branch for each region when ``promote`` is on: ``git push origin
main:main-us-east-1`` lets one region have it. Without ``promote`` all regions follow at once, and ``validate`` warns:
it is off unless you ask for it because these branches are yours to push. With it on, and none of them there, Argo CD
finds no revision and no region gets anything at all.
"""

from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.platform.waves import WAVE
from leeward.compile.site import Site

NAMESPACE = "argocd"
GROUP = "argoproj.io/v1alpha1"
REGION = "topology.kubernetes.io/region"


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
