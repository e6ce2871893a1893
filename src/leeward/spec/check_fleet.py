"""What no single field of a fleet shows: too few regions, duplicates, references to nothing, overlaps."""

from collections.abc import Callable, Iterator
from ipaddress import ip_network

from leeward.base.problem import Problem
from leeward.base.suggestions import suggestion
from leeward.spec.check_names import check_region_names
from leeward.spec.fleet import Fleet, Provider
from leeward.spec.loaded import Loaded
from leeward.spec.platform import Capacity, Join, MeshKind
from leeward.spec.source import Place

REGIONS_MIN = 3


def check_fleet(fleet: Loaded[Fleet]) -> list[Problem]:
    """Return what is wrong with a fleet as a whole."""
    return [problem for check in FLEET_CHECKS for problem in check(fleet)]


def _region_count(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    regions = fleet.model.spec.regions
    if len(regions) >= REGIONS_MIN:
        return
    witnesses = sum(region.witness for region in regions)
    if len(regions) == REGIONS_MIN - 1 and not witnesses:
        yield fleet.problem(
            "two-regions-no-witness",
            "spec",
            "regions",
            key=True,
            what="the fleet has two regions and no witness",
            why="when they lose contact, neither can know whether the other is down: one of two is not"
            " a majority, so no failover could be safe",
            fix="add a third region; with witness: true it runs a quorum member and an agent, no workloads",
        )
        return
    yield fleet.problem(
        "too-few-regions",
        "spec",
        "regions",
        key=True,
        what=f"the fleet has {len(regions)} region{'s' if len(regions) > 1 else ''}, and needs {REGIONS_MIN}",
        why="the regions that remain must be a majority, or the loss of one cannot be agreed on",
        fix="add regions until there are three; one of them may be a witness",
    )


def _data_regions(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    regions = fleet.model.spec.regions
    workable = [region.name for region in regions if not region.witness]
    if len(regions) >= REGIONS_MIN and len(workable) < 2:
        yield fleet.problem(
            "too-many-witnesses",
            "spec",
            "regions",
            key=True,
            what=f"only {len(workable)} of {len(regions)} regions can run workloads",
            why="a witness has no data, so there is nowhere to fail over to",
            fix="remove witness: true from all but one region",
        )


def _duplicate_regions(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    places: list[tuple[str, Place]] = [
        (region.name, ("spec", "regions", index, "name")) for index, region in enumerate(fleet.model.spec.regions)
    ]
    yield from _duplicates(fleet, "regions", places)


def _duplicate_clusters(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    places: list[tuple[str, Place]] = [
        (cluster.name, ("spec", "regions", i, "clusters", j, "name"))
        for i, region in enumerate(fleet.model.spec.regions)
        for j, cluster in enumerate(region.clusters)
    ]
    yield from _duplicates(fleet, "clusters", places)


def _duplicates(fleet: Loaded[Fleet], nouns: str, names: list[tuple[str, Place]]) -> Iterator[Problem]:
    seen: dict[str, Place] = {}
    for name, place in names:
        if name in seen:
            yield fleet.problem(
                "duplicate-name",
                *place,
                what=f"there are two {nouns} called {name}",
                why=f"the other one is in {fleet.document.where(seen[name])}",
                fix="give one of them another name",
            )
        seen.setdefault(name, place)


def _links(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    names = [region.name for region in fleet.model.spec.regions]
    seen: dict[frozenset[str], int] = {}
    for index, link in enumerate(fleet.model.spec.links):
        place = ("spec", "links", index, "between")
        for end, name in enumerate(link.between):
            if name not in names:
                yield fleet.problem(
                    "unknown-region",
                    *place,
                    end,
                    what=f"the fleet has no region {name}",
                    why="a link joins two of the fleet's regions",
                    fix=suggestion(name, names),
                )
        pair = frozenset(link.between)
        if len(pair) == 1:
            yield fleet.problem(
                "bad-link",
                *place,
                what=f"this link joins {link.between[0]} to itself",
                why="a round trip is between two regions",
                fix="name two different regions",
            )
        elif pair in seen:
            where = fleet.document.where(("spec", "links", seen[pair], "between"))
            yield fleet.problem(
                "duplicate-link",
                *place,
                what=f"the link between {' and '.join(link.between)} is given twice",
                why=f"the other one is in {where}, and a link counts in both directions",
                fix="keep one of them",
            )
        seen.setdefault(pair, index)


def _overlapping_ranges(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    seen: list[tuple[str, str]] = []
    for i, region in enumerate(fleet.model.spec.regions):
        for j, cluster in enumerate(region.clusters):
            ranges = (
                ("podCIDR", cluster.pod_cidr),
                ("serviceCIDR", cluster.service_cidr),
                ("vpcCIDR", cluster.vpc_cidr),
            )
            for key, cidr in ranges:
                if cidr is None:
                    continue
                for other_where, other in seen:
                    mine, theirs = ip_network(cidr), ip_network(other)
                    if mine.version == theirs.version and mine.overlaps(theirs):
                        yield fleet.problem(
                            "overlapping-cidrs",
                            *("spec", "regions", i, "clusters", j, key),
                            what=f"{cidr} overlaps {other}",
                            why=f"that is in {other_where}; joined networks cannot route an address two have",
                            fix="give every cluster ranges of its own",
                        )
                seen.append((fleet.document.where(("spec", "regions", i, "clusters", j, key)), cidr))
    tunnels = fleet.model.spec.network
    for where, other in seen if tunnels.join is Join.WIREGUARD else ():
        if ip_network(tunnels.tunnel_cidr).overlaps(ip_network(other)):
            yield fleet.problem(
                "overlapping-cidrs",
                *("spec", "network", "tunnelCIDR"),
                what=f"the tunnels' {tunnels.tunnel_cidr} overlaps {other}",
                why=f"that is in {where}; joined networks cannot route an address two have",
                fix="give the tunnels a range of their own",
            )


def _joined(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    """Yield what the clusters lack to be joined the way that is asked for."""
    network = fleet.model.spec.network
    if network.join is Join.NONE and not network.names:
        return
    providers = {region.provider for region in fleet.model.spec.regions if not region.witness}
    if network.join is Join.PEERING and len(providers) > 1:
        yield fleet.problem(
            "peering-across-providers",
            *("spec", "network", "join"),
            what=f"networks of {' and '.join(sorted(providers))} cannot be peered",
            why="peering joins two networks of the same provider",
            fix="set network.join to wireguard",
        )
    for i, region in enumerate(fleet.model.spec.regions):
        for j, cluster in enumerate(region.clusters):
            needs = {
                "podCIDR": network.join is not Join.NONE and cluster.pod_cidr is None,
                "tunnel": network.join is Join.WIREGUARD and cluster.tunnel is None,
                "network": network.join is Join.PEERING and cluster.network is None,
                "dnsAddress": network.names and cluster.dns_address is None,
            }
            for key in (key for key, missing in needs.items() if missing):
                yield fleet.problem(
                    "not-joinable",
                    *("spec", "regions", i, "clusters", j),
                    what=f"cluster {cluster.name} has no {key}",
                    why=f"network.join is {network.join}, cross-cluster names are {'on' if network.names else 'off'}",
                    fix=f"add {key} here",
                )


def _names(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    """Yield a warning for clusters whose CoreDNS does not import what names across clusters are written into."""
    spec = fleet.model.spec
    strangers = (Provider.AWS, Provider.GCP)
    lacking = [region.name for region in spec.regions if region.provider in strangers and not region.witness]
    if spec.network.names and lacking:
        yield fleet.warning(
            "names-to-import",
            *("spec", "network", "names"),
            what=f"CoreDNS of {', '.join(lacking)} does not read ConfigMap kube-system/coredns-custom by itself",
            why="AKS and k3s import it; EKS and kubeadm do not, and GKE answers by kube-dns",
            fix="mount it into CoreDNS there and add `import custom/*.server` to the Corefile",
        )


def _gateways(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    mesh = fleet.model.spec.mesh
    if mesh.kind is MeshKind.GATEWAY_API and mesh.gateway_class != "istio" and mesh.gateway_namespace is None:
        yield fleet.problem(
            "gateways-anywhere",
            *("spec", "mesh", "gatewayClass"),
            what=f"where gateways of class {mesh.gateway_class} run is not known",
            why="what is not declared is denied, and their pods have to be let in to the services",
            fix="add mesh.gatewayNamespace: the namespace of the gateways' pods",
        )


def _several_clusters(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    """Yield each cluster that shares its region, and that the other clusters' network policies cannot name."""
    for i, region in enumerate(fleet.model.spec.regions):
        if region.witness or len(region.clusters) < 2:
            continue
        for j, cluster in enumerate(region.clusters):
            if cluster.pod_cidr is None:
                yield fleet.problem(
                    "cluster-without-addresses",
                    *("spec", "regions", i, "clusters", j),
                    what=f"cluster {cluster.name} has no podCIDR, and region {region.name} has several clusters",
                    why="the databases of a region are in its first cluster; pods of the others are let through by"
                    " address",
                    fix="add podCIDR here",
                )


def _machines(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    spec = fleet.model.spec
    if spec.node_pools and all(Capacity.SPOT in pool.capacity for pool in spec.node_pools):
        yield fleet.problem(
            "spot-for-primary",
            *("spec", "nodePools"),
            key=True,
            what="every node pool may be spot, so a database's primary would run on machines that can be taken away",
            why="each interruption would be a failover, and a wave of them takes primary and standby together",
            fix="add a pool with capacity: [on-demand]; services with interruptible: true use the spot one",
        )
    names: list[tuple[str, Place]] = [
        (pool.name, ("spec", "nodePools", index, "name")) for index, pool in enumerate(spec.node_pools)
    ]
    yield from _duplicates(fleet, "node pools", names)
    yield from _machines_of_one_provider(fleet)
    for i, region in enumerate(spec.regions):
        for j, cluster in enumerate(region.clusters):
            if spec.cluster_api is not None and region.provider is Provider.GCP and cluster.project is None:
                yield fleet.problem(
                    "cluster-without-project",
                    *("spec", "regions", i, "clusters", j),
                    what=f"cluster {cluster.name} has no project",
                    why="Cluster API makes its machines in a project of Google Cloud",
                    fix="add project here",
                )
            if spec.cluster_api is not None and cluster.control_plane_replicas % 2 == 0:
                yield fleet.problem(
                    "even-control-plane",
                    *("spec", "regions", i, "clusters", j, "controlPlaneReplicas"),
                    what=f"{cluster.control_plane_replicas} API servers, each with an etcd member",
                    why="an even number tolerates no more losses than one member fewer",
                    fix=f"set it to {cluster.control_plane_replicas + 1}",
                )


def _machines_of_one_provider(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    """Yield types of machines in a fleet of several providers: each provider has its own."""
    spec = fleet.model.spec
    providers = sorted({region.provider for region in spec.regions} - {Provider.OTHER})
    if len(providers) < 2:
        return
    named: list[tuple[Place, str]] = []
    if spec.cluster_api is not None and spec.cluster_api.machines is not None:
        named.append((("spec", "clusterAPI", "machines"), spec.cluster_api.machines))
    for index, pool in enumerate(spec.node_pools):
        if pool.families:
            named.append((("spec", "nodePools", index, "families"), ", ".join(pool.families)))
    for place, name in named:
        yield fleet.problem(
            "machines-of-one-provider",
            *place,
            what=f"{name} would be asked of {' and '.join(providers)}",
            why="each provider calls its machines otherwise, and refuses another's types",
            fix="leave it out: each provider's general purpose machines are taken",
        )


def _entry(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    spec = fleet.model.spec
    if spec.entry is not None and all(region.provider is not Provider.GCP for region in spec.regions):
        yield fleet.problem(
            "entry-without-gcp",
            *("spec", "entry"),
            key=True,
            what="a global entry needs a cluster on Google Cloud",
            why="MultiClusterIngress is an API of GKE",
            fix="remove entry, or add a region with provider: gcp; Leeward's gateways are entries anyway",
        )


def _delivery(fleet: Loaded[Fleet]) -> Iterator[Problem]:
    gitops = fleet.model.spec.gitops
    if gitops is not None and not gitops.promote:
        yield fleet.warning(
            "every-region-at-once",
            *("spec", "gitops"),
            key=True,
            what=f"a change reaches every region as soon as it is on branch {gitops.revision}",
            why="each region's Argo CD follows that branch by itself, so a bad change takes all of them together",
            fix="set gitops.promote: true; then a region has what its own branch has",
        )


FLEET_CHECKS: tuple[Callable[[Loaded[Fleet]], Iterator[Problem]], ...] = (
    _region_count,
    _data_regions,
    _duplicate_regions,
    _duplicate_clusters,
    check_region_names,
    _links,
    _overlapping_ranges,
    _joined,
    _names,
    _gateways,
    _several_clusters,
    _machines,
    _entry,
    _delivery,
)
