"""Clusters as objects: control plane, network, machines in every zone. Changing the version upgrades the cluster.

The control plane's machines and the workers get new templates by name when what they are changes, since templates
may not be changed in place: the name carries the version.
"""

from ipaddress import ip_network

from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.site import Site
from leeward.spec.fleet import Provider

CORE, INFRASTRUCTURE = "cluster.x-k8s.io", "infrastructure.cluster.x-k8s.io"
CONTROL_PLANE, BOOTSTRAP = "controlplane.cluster.x-k8s.io", "bootstrap.cluster.x-k8s.io"
V2 = "v1beta2"
MACHINES = {Provider.AWS: "m6i.large", Provider.GCP: "n2-standard-2", Provider.AZURE: "Standard_D2s_v5"}
VERSIONS = {Provider.AWS: "v1beta2", Provider.GCP: "v1beta1", Provider.AZURE: "v1beta1"}
KINDS = {Provider.AWS: "AWS", Provider.GCP: "GCP", Provider.AZURE: "Azure"}
ENCRYPTION_FILE = "/etc/kubernetes/encryption.yaml"
DEFAULT_POD_CIDR, DEFAULT_SERVICE_CIDR = "10.244.0.0/16", "10.96.0.0/12"


def cluster_api(site: Site) -> list[KubeObject]:
    """Return the cluster's objects, for the management cluster; none where the provider is unknown."""
    wanted, provider = site.fleet.cluster_api, site.region.provider
    if wanted is None or provider is Provider.OTHER:
        return []
    name, namespace, kind = site.cluster.name, wanted.namespace, KINDS[provider]
    labels = {**site.labels(name, "cluster", "leeward"), "cluster.x-k8s.io/cluster-name": name}
    version = f"v{site.cluster.version}"
    slug = site.cluster.version.replace(".", "-")
    infrastructure = f"{INFRASTRUCTURE}/{VERSIONS[provider]}"
    machines = wanted.machines or MACHINES[provider]

    def made(api_version: str, what: str, called: str, spec: KubeObject) -> KubeObject:
        return object_of(api_version, what, called, namespace, labels, spec=spec)

    def template(role: str) -> KubeObject:
        spec = {"template": {"spec": _machine(site, machines, role)}}
        return made(infrastructure, f"{kind}MachineTemplate", f"{name}-{role}-{slug}", spec)

    def reference(group: str, what: str, called: str) -> KubeObject:
        return {"apiGroup": group, "kind": what, "name": called}

    pods = site.cluster.pod_cidr or DEFAULT_POD_CIDR
    services = site.cluster.service_cidr or DEFAULT_SERVICE_CIDR
    result = [
        made(
            f"{CORE}/{V2}",
            "Cluster",
            name,
            {
                "clusterNetwork": {"pods": {"cidrBlocks": [pods]}, "services": {"cidrBlocks": [services]}},
                "controlPlaneRef": reference(CONTROL_PLANE, "KubeadmControlPlane", name),
                "infrastructureRef": reference(INFRASTRUCTURE, f"{kind}Cluster", name),
            },
        ),
        made(infrastructure, f"{kind}Cluster", name, _network(site)),
        template("control-plane"),
        made(
            f"{CONTROL_PLANE}/{V2}",
            "KubeadmControlPlane",
            name,
            {
                "replicas": site.cluster.control_plane_replicas,
                "version": version,
                "machineTemplate": {
                    "spec": {
                        "infrastructureRef": reference(
                            INFRASTRUCTURE, f"{kind}MachineTemplate", f"{name}-control-plane-{slug}"
                        )
                    }
                },
                "rollout": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}},
                "kubeadmConfigSpec": _kubeadm(name),
            },
        ),
        template("workers"),
        made(
            f"{BOOTSTRAP}/{V2}",
            "KubeadmConfigTemplate",
            f"{name}-workers",
            {"template": {"spec": {"joinConfiguration": _joining()}}},
        ),
    ]
    zones = site.zones or (None,)
    for index, zone in enumerate(zones):
        workers = f"{name}-workers" if zone is None else f"{name}-workers-{zone}"
        replicas = site.cluster.workers // len(zones) + (index < site.cluster.workers % len(zones))
        machine: KubeObject = {
            "clusterName": name,
            "version": version,
            **({"failureDomain": _failure_domain(site, zone)} if zone is not None else {}),
            "bootstrap": {"configRef": reference(BOOTSTRAP, "KubeadmConfigTemplate", f"{name}-workers")},
            "infrastructureRef": reference(INFRASTRUCTURE, f"{kind}MachineTemplate", f"{name}-workers-{slug}"),
        }
        selector = {"cluster.x-k8s.io/cluster-name": name, "cluster.x-k8s.io/deployment-name": workers}
        result.append(
            made(
                f"{CORE}/{V2}",
                "MachineDeployment",
                workers,
                {
                    "clusterName": name,
                    "replicas": replicas,
                    "selector": {"matchLabels": selector},
                    "template": {"metadata": {"labels": selector}, "spec": machine},
                },
            )
        )
    return result


def _failure_domain(site: Site, zone: str) -> str:
    """Return a zone as the provider's machines are told: Azure's by number, without the region that labels have."""
    return zone.removeprefix(f"{site.region.name}-") if site.region.provider is Provider.AZURE else zone


def _subnets(name: str, cidr: str) -> list[KubeObject]:
    """Return the two halves of a range as Azure's subnets: what is not said is taken from 10.0.0.0/8."""
    halves = ip_network(cidr).subnets(prefixlen_diff=1)
    return [
        {"name": f"{name}-{role}", "role": role, "cidrBlocks": [str(half)]}
        for role, half in zip(("control-plane", "node"), halves, strict=True)
    ]


def _network(site: Site) -> KubeObject:
    cidr = site.cluster.vpc_cidr
    match site.region.provider:
        case Provider.AWS:
            vpc = {"vpc": {"cidrBlock": cidr, "availabilityZoneUsageLimit": max(1, len(site.zones))}} if cidr else {}
            return {"region": site.region.name, **({"network": vpc} if vpc else {})}
        case Provider.GCP:
            project = site.cluster.project
            subnet = {"name": f"{site.cluster.name}-nodes", "cidrBlock": cidr, "region": site.region.name}
            network = {"name": site.cluster.name, **({"subnets": [subnet]} if cidr else {})}
            return {"project": project, "region": site.region.name, "network": network}
        case _:
            name = site.cluster.name
            vnet = {"vnet": {"name": name, "cidrBlocks": [cidr]}, "subnets": _subnets(name, cidr)} if cidr else {}
            return {
                "location": site.region.name,
                "resourceGroup": site.cluster.name,
                "identityRef": {
                    "apiVersion": f"{INFRASTRUCTURE}/v1beta1",
                    "kind": "AzureClusterIdentity",
                    "name": "leeward",
                },
                **({"networkSpec": vnet} if vnet else {}),
            }


def _machine(site: Site, machines: str, role: str) -> KubeObject:
    match site.region.provider:
        case Provider.AWS:
            profile = "control-plane" if role == "control-plane" else "nodes"
            return {
                "instanceType": machines,
                "iamInstanceProfile": f"{profile}.cluster-api-provider-aws.sigs.k8s.io",
                "rootVolume": {"size": 50, "encrypted": True},
            }
        case Provider.GCP:
            return {"instanceType": machines, "rootDeviceSize": 50, "rootDeviceType": "pd-ssd"}
        case _:
            disk = {"osType": "Linux", "diskSizeGB": 128, "managedDisk": {"storageAccountType": "Premium_LRS"}}
            return {"vmSize": machines, "osDisk": disk, "sshPublicKey": ""}


def _joining() -> KubeObject:
    return {"nodeRegistration": {"kubeletExtraArgs": [{"name": "cloud-provider", "value": "external"}]}}


def _kubeadm(name: str) -> KubeObject:
    """Return kubeadm's settings. Secrets are encrypted in etcd: the key comes from a secret, not from here."""
    mounted = {"name": "encryption", "hostPath": ENCRYPTION_FILE, "mountPath": ENCRYPTION_FILE, "readOnly": True}
    return {
        "clusterConfiguration": {
            "apiServer": {
                "extraArgs": [{"name": "encryption-provider-config", "value": ENCRYPTION_FILE}],
                "extraVolumes": [{**mounted, "pathType": "File"}],
            },
            "controllerManager": {"extraArgs": [{"name": "cloud-provider", "value": "external"}]},
        },
        "files": [
            {
                "path": ENCRYPTION_FILE,
                "owner": "root:root",
                "permissions": "0600",
                "contentFrom": {"secret": {"name": f"{name}-encryption", "key": "encryption.yaml"}},
            }
        ],
        "initConfiguration": _joining(),
        "joinConfiguration": _joining(),
    }
