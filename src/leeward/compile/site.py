"""One cluster, as the concerns see it: who it is, what runs on it, and where its parts find each other."""

from dataclasses import dataclass, replace

from leeward.compile.kube.objects import KubeObject, labels_of, selector_of
from leeward.compile.names import domain_of, host_of
from leeward.compile.target import SYSTEM_NAMESPACE, EngineCommands, Images, Target, gateway_service, kubernetes_target
from leeward.spec.application import Application
from leeward.spec.fleet import Cluster, FleetSpec, Region
from leeward.spec.spec import Spec


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster. The first one of a region is its home: agent, quorum member, gateway and databases are there."""

    spec: Spec
    """The whole spec, with the applications as this cluster runs them."""
    region: Region
    cluster: Cluster
    target: Target
    home: bool

    @property
    def fleet(self) -> FleetSpec:
        """What the fleet's file says."""
        return self.spec.fleet.spec

    @property
    def zones(self) -> tuple[str, ...]:
        """The cluster's zones; empty when they are not given."""
        return self.cluster.zones or self.region.zones

    @property
    def domain(self) -> str:
        """The fleet's domain."""
        return domain_of(self.spec)

    def labels(self, name: str, component: str, part_of: str) -> dict[str, str]:
        """Return an object's labels here."""
        return labels_of(name, component, self.region.name, part_of)

    def host(self, application: Application) -> str:
        """Return an application's public name."""
        return host_of(self.spec, application)

    def siblings(self) -> list[Cluster]:
        """Return the other clusters of the region, in the order of the file."""
        return [each for each in self.spec.clusters(self.region.name) if each.name != self.cluster.name]

    def others(self) -> list[tuple[Region, Cluster]]:
        """Return every other cluster of the fleet, in the order of the file."""
        return [each for each in all_clusters(self.spec) if each[1].name != self.cluster.name]


def all_clusters(spec: Spec) -> list[tuple[Region, Cluster]]:
    """Return every cluster of the fleet with its region, in the order of the file."""
    return [(region, cluster) for region in spec.regions for cluster in spec.clusters(region.name)]


def site_of(spec: Spec, cluster: str, *, engines: EngineCommands, images: Images) -> Site:
    """Return a cluster of the fleet. Raises KeyError for an unknown one."""
    region = spec.region_of(cluster)
    clusters = spec.clusters(region.name)
    (found,) = (each for each in clusters if each.name == cluster)
    home = found is clusters[0] or found == clusters[0]
    # The agents know every application of the fleet, as the environment here calls its namespace.
    here = {each.metadata.name: each for each in spec.on(cluster)}
    applications = tuple(here.get(each.metadata.name, each) for each in spec.applications)
    own = replace(spec, applications=applications)
    target = kubernetes_target(own, region.name, engines=engines, images=images)
    if not home:
        target = replace(
            target,
            gateway_host=lambda app: f"{gateway_service(app)}.{SYSTEM_NAMESPACE}.svc.clusterset.local",
            database_host=lambda app, namespace: f"{app}-postgres.{namespace}.svc.clusterset.local",
            services_domain="svc.clusterset.local",
        )
    return Site(own, region, found, target, home)


def is_service_of(application: Application, item: KubeObject) -> bool:
    """Return whether an object is the workload of the application's service."""
    return bool(item["kind"] == "Deployment" and item["metadata"]["name"] == application.metadata.name)


def pods_of(application: Application) -> dict[str, str]:
    """Return the labels of the service's pods, those of all versions: Flagger's primary bears another name."""
    canary = application.spec.rollout.canary
    selector = selector_of(application.metadata.name, "service")
    if canary is None or canary.by != "flagger":
        return selector
    del selector["app.kubernetes.io/name"]
    return {**selector, "app.kubernetes.io/part-of": application.metadata.name}


def find(items: list[KubeObject], kind: str, name: str) -> KubeObject | None:
    """Return the object of that kind and name, if it is there."""
    for item in items:
        if item["kind"] == kind and item["metadata"]["name"] == name:
            return item
    return None
