"""How clusters' networks become one: WireGuard tunnels, peered networks, names across clusters, exported services.

With ``exports: true`` every application's service is exported, and Leeward's gateways lead
``NAME.NAMESPACE.svc.clusterset.local`` to whoever exports it: the region's own pods first, then the nearest region
that exports it and has a pod that is ready, never one that does not. Pods ask in plain HTTP, by Host: ``curl -H
'Host: shop.shop.svc.clusterset.local' http://leeward-services.leeward-system/``, and are let out to ask when their
application names what it uses under ``network.imports``. An agent honours the ServiceExports, also your own, in the
namespaces of the fleet's applications, in the first cluster of its region; their status shows what became of them, and
that of a ServiceImport which regions export it. What is led is HTTP, to a Service's first port, whatever the method:
a request that writes goes to the nearest pod, too. Users cannot ask: it is a port of its own, let in from the
applications' namespaces only. Other protocols, and the name in DNS, are for an implementation of the multi-cluster
services API beside Leeward; the definitions of its kinds have to be installed.

With ``join: peering`` Google's and Azure's networks are peered by an object at each end. Amazon's peering is requested
by the first cluster of a pair in the Fleet; accepting it, and the routes to the other network in both VPCs' tables,
are yours: they need the ids that Amazon gives.

With ``names: true`` the zones of the other regions are in ConfigMap ``kube-system/coredns-custom``. AKS and k3s import
it. On EKS, kubeadm and others mount it into CoreDNS and add ``import custom/*.server`` to the Corefile; GKE needs
CoreDNS in place of kube-dns. CockroachDB's members find each other by these names.
"""

from leeward.compile.app.secrets import external_secret
from leeward.compile.app.service import read_service
from leeward.compile.kube import objects as k8s
from leeward.compile.kube.objects import KubeObject, object_of, selector_of
from leeward.compile.region import exported
from leeward.compile.region.gateway_ports import has_gateway_ports
from leeward.compile.site import Site, all_clusters, find
from leeward.compile.target import gateway_service
from leeward.spec.application import Application
from leeward.spec.fleet import Cluster, Provider
from leeward.spec.platform import Join, SecretsBy

TUNNELS = "leeward-wireguard"
KEY_FILE = "/etc/wireguard/key/private.key"
TUNNEL_IMAGE = "docker.io/linuxserver/wireguard:1.0.20250521"
SETTINGS_FILE = "/etc/wireguard/settings/wg0.conf"
TUNNEL_SCRIPT = f"""\
ip link delete wg0 2>/dev/null || true
trap 'wg-quick down {SETTINGS_FILE}; exit 0' TERM INT
wg-quick up {SETTINGS_FILE}
sleep infinity &
wait $!
"""
"""The interface is the node's and outlives a container that was killed: it is made again each time."""
KEEPALIVE_S = 25
# A WireGuard packet costs 80 bytes of the usual 1500.
MTU = 1420


def wireguard(site: Site) -> list[KubeObject]:
    """Return the cluster's end of the tunnels: a pod on a node's network, and its settings without the key."""
    network = site.fleet.network
    if network.join is not Join.WIREGUARD or site.cluster.tunnel is None:
        return []
    name = "wireguard"
    labels, selector = site.labels(name, "network", "leeward"), selector_of(name, "network")
    container: KubeObject = {
        "name": name,
        "image": TUNNEL_IMAGE,
        "command": ["/bin/sh", "-ec", TUNNEL_SCRIPT],
        "ports": [{"name": "tunnel", "containerPort": network.tunnel_port, "protocol": "UDP"}],
        "resources": {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "readinessProbe": {"exec": {"command": ["wg", "show", "wg0"]}, "periodSeconds": 10, "failureThreshold": 3},
        "volumeMounts": [
            k8s.mount("settings", "/etc/wireguard/settings", read_only=True),
            k8s.mount("key", "/etc/wireguard/key", read_only=True),
        ],
        # It makes an interface and routes, and nothing else.
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}},
    }
    pod = {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "hostNetwork": True,
        "dnsPolicy": "ClusterFirstWithHostNet",
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "nodeSelector": {"leeward.dev/tunnel": "true"},
        "containers": [container],
        "volumes": [k8s.config_map_volume("settings", name), k8s.secret_volume("key", "wireguard-key")],
    }
    privileged = k8s.namespace(TUNNELS, site.labels(TUNNELS, "network", "leeward"))
    for mode in ("enforce", "audit", "warn"):
        privileged["metadata"]["labels"][f"pod-security.kubernetes.io/{mode}"] = "privileged"
    result = [
        privileged,
        k8s.service_account(name, TUNNELS, labels),
        k8s.config_map(name, TUNNELS, labels, {"wg0.conf": tunnel_settings(site)}),
        object_of(
            "apps/v1",
            "DaemonSet",
            name,
            TUNNELS,
            labels,
            spec={
                "selector": {"matchLabels": selector},
                "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
            },
        ),
    ]
    if site.fleet.secrets.by is not SecretsBy.ELSEWHERE:
        keys = {"private.key": (f"wireguard/{site.cluster.name}", "private.key")}
        result.append(external_secret(site, "wireguard-key", TUNNELS, "leeward", keys))
    return result


def tunnel_settings(site: Site) -> str:
    """Return wg-quick's settings: this end's address, and every other cluster as a peer with its routes."""
    network = site.fleet.network
    prefix = network.tunnel_cidr.partition("/")[2]
    addresses = _tunnel_addresses(site)
    lines = [
        "[Interface]",
        f"Address = {addresses[site.cluster.name]}/{prefix}",
        f"ListenPort = {network.tunnel_port}",
        f"MTU = {MTU}",
        f"PostUp = wg set %i private-key {KEY_FILE}",
    ]
    for region, cluster in site.others():
        if cluster.tunnel is None:
            continue
        routes = [f"{addresses[cluster.name]}/32", *_ranges(cluster)]
        lines += [
            "",
            f"# {cluster.name}, {region.name}",
            "[Peer]",
            f"PublicKey = {cluster.tunnel.public_key}",
            f"Endpoint = {cluster.tunnel.endpoint}:{network.tunnel_port}",
            f"AllowedIPs = {', '.join(routes)}",
            f"PersistentKeepalive = {KEEPALIVE_S}",
        ]
    return "\n".join(lines) + "\n"


def _tunnel_addresses(site: Site) -> dict[str, str]:
    """Return every cluster's address in the tunnels' range, by its place in the fleet's file."""
    network = site.fleet.network.tunnel_cidr.partition("/")[0]
    first, _, last = network.rpartition(".")
    return {
        cluster.name: f"{first}.{int(last) + index}"
        for index, (_, cluster) in enumerate(all_clusters(site.spec), start=1)
    }


def _ranges(cluster: Cluster) -> list[str]:
    return [each for each in (cluster.pod_cidr, cluster.service_cidr, cluster.vpc_cidr) if each]


def peering(site: Site) -> list[KubeObject]:
    """Return this cluster's side of the peerings with clusters of the same provider."""
    if site.fleet.network.join is not Join.PEERING or site.cluster.network is None:
        return []
    result = []
    order = [cluster.name for _, cluster in all_clusters(site.spec)]
    for region, cluster in site.others():
        # Amazon takes one request for a pair of networks; the other two ask for an object at each end.
        asked = site.region.provider is Provider.AWS and order.index(cluster.name) < order.index(site.cluster.name)
        if region.provider is site.region.provider and cluster.network is not None and not asked:
            result += _peering(site, cluster, region.name)
    return result


def _peering(site: Site, other: Cluster, region: str) -> list[KubeObject]:
    name, namespace = f"{site.cluster.name}-{other.name}", "leeward-system"
    labels = site.labels(name, "network", "leeward")
    match site.region.provider:
        case Provider.AWS:
            spec: KubeObject = {"vpcID": site.cluster.network, "peerVPCID": other.network, "peerRegion": region}
            return [
                object_of("ec2.services.k8s.aws/v1alpha1", "VPCPeeringConnection", name, namespace, labels, spec=spec)
            ]
        case Provider.GCP:
            spec = {
                "networkRef": {"external": site.cluster.network},
                "peerNetworkRef": {"external": other.network},
                "exportCustomRoutes": True,
                "importCustomRoutes": True,
            }
            group = "compute.cnrm.cloud.google.com/v1beta1"
            return [object_of(group, "ComputeNetworkPeering", name, namespace, labels, spec=spec)]
        case Provider.AZURE:
            spec = {
                "azureName": name,
                "owner": {"name": site.cluster.network},
                "allowVirtualNetworkAccess": True,
                "allowForwardedTraffic": True,
                "remoteVirtualNetwork": {"reference": {"armId": other.network}},
            }
            group = "network.azure.com/v1api20240301"
            return [object_of(group, "VirtualNetworksVirtualNetworkPeering", name, namespace, labels, spec=spec)]
        case Provider.OTHER:
            return []


def names(site: Site) -> list[KubeObject]:
    """Return CoreDNS's further zones: service.namespace.svc.cluster.REGION is asked of that region's CoreDNS."""
    if not site.fleet.network.names:
        return []
    labels = site.labels("coredns", "names", "leeward")
    return [k8s.config_map("coredns-custom", "kube-system", labels, {"leeward.server": zones(site)})]


def zones(site: Site) -> str:
    """Return the server blocks. A region's own name is answered here, under the name Kubernetes knows."""
    own = [
        f"cluster.{site.region.name}:53 {{",
        "    errors",
        f"    rewrite name suffix .cluster.{site.region.name} .cluster.local answer auto",
        "    kubernetes cluster.local",
        "    cache 5",
        "}",
    ]
    blocks = [own]
    for region in site.spec.regions:
        addresses = [
            cluster.dns_address for cluster in site.spec.clusters(region.name)[:1] if cluster.dns_address is not None
        ]
        if region.name != site.region.name and addresses:
            blocks.append(
                [
                    f"cluster.{region.name}:53 {{",
                    "    errors",
                    "    cache 5",
                    f"    forward . {' '.join(addresses)} {{",
                    "        max_fails 2",
                    "        health_check 1s",
                    "    }",
                    "}",
                ]
            )
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def exports(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with the service exported to, and others imported from, the other clusters."""
    deployed = find(items, "Deployment", application.metadata.name) is not None
    own = exported.export(site.spec, application, site.region.name) if deployed else []
    return [*items, *own, *_database_export(site, application), *exported.imports(application, site.region.name)]


def _database_export(site: Site, application: Application) -> list[KubeObject]:
    """Return the export of the service by which the region's further clusters read."""
    if not site.home or not site.siblings():
        return []
    app = application.metadata.name
    labels = site.labels(app, "names", app)
    return [object_of(exported.VERSION, "ServiceExport", read_service(application), application.namespace, labels)]


def system_exports(site: Site) -> list[KubeObject]:
    """Return the exports of the gateway's services for databases, where further clusters of the region need them."""
    if not site.home or not site.siblings():
        return []
    labels = site.labels("leeward", "names", "leeward")
    return [
        object_of(exported.VERSION, "ServiceExport", gateway_service(each.metadata.name), "leeward-system", labels)
        for each in filter(has_gateway_ports, site.spec.applications)
    ]
