"""Istio's gateways of a cluster: one for users, one for the other clusters; and the root that all clusters trust."""

from leeward.compile.app.disruption import one_at_a_time
from leeward.compile.app.secrets import external_secret
from leeward.compile.kube import objects as k8s
from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.site import Site
from leeward.spec.platform import MeshKind, SecretsBy

SYSTEM, INGRESS, EASTWEST = "istio-system", "istio-ingress", "istio-eastwest"
NETWORK = "topology.istio.io/network"
CROSS_PORT = 15443
ROOT_KEYS = ("ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem")


def istio_gateways(site: Site) -> list[KubeObject]:
    """Return namespaces, gateways and the intermediate certificate that the fleet's root has signed."""
    if site.fleet.mesh.kind is not MeshKind.ISTIO:
        return []
    network = {NETWORK: site.cluster.name}
    labels = site.labels("istio", "mesh", "istio")
    hosts = [f"*.{site.domain}", site.domain]
    servers = [
        {
            "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
            "hosts": hosts,
            "tls": {"mode": "SIMPLE", "credentialName": "leeward-tls"},
        },
        {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": hosts, "tls": {"httpsRedirect": True}},
    ]
    cross = {
        "port": {"number": CROSS_PORT, "name": "tls", "protocol": "TLS"},
        "hosts": ["*.local"],
        "tls": {"mode": "AUTO_PASSTHROUGH"},
    }
    result = [
        k8s.namespace(SYSTEM, {**labels, **network}),
        *_gateway(site, "ingress", INGRESS, {"http": 80, "https": 443}, {}),
        object_of("networking.istio.io/v1", "Gateway", "leeward", INGRESS, labels, spec=_spec("ingress", servers)),
        *_gateway(site, "eastwest", EASTWEST, {"status-port": 15021, "tls": CROSS_PORT}, network),
        object_of(
            "networking.istio.io/v1", "Gateway", "cross-network", EASTWEST, labels, spec=_spec("eastwest", [cross])
        ),
    ]
    if site.fleet.secrets.by is not SecretsBy.ELSEWHERE:
        remote = f"istio/{site.cluster.name}"
        result += [
            external_secret(site, "cacerts", SYSTEM, "istio", {key: (remote, key) for key in ROOT_KEYS}),
            external_secret(
                site, "leeward-tls", INGRESS, "istio", {key: ("ingress/tls", key) for key in ("tls.crt", "tls.key")}
            ),
        ]
    return result


def _spec(name: str, servers: list[KubeObject]) -> KubeObject:
    return {"selector": {"istio": name}, "servers": servers}


def _gateway(site: Site, name: str, namespace: str, ports: dict[str, int], extra: dict[str, str]) -> list[KubeObject]:
    """Return a gateway's workload; Istio injects what it runs."""
    labels = site.labels(f"istio-{name}", "gateway", "istio")
    selector = {"istio": name}
    pod = {**labels, **selector, **extra, "sidecar.istio.io/inject": "true"}
    template = k8s.pod_template(
        pod,
        [
            {
                "name": "istio-proxy",
                "image": "auto",
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
        account=f"istio-{name}",
        grace_s=30,
        annotations={"inject.istio.io/templates": "gateway"},
    )
    service = k8s.service(f"istio-{name}", namespace, {**labels, **extra}, selector, ports, kind="LoadBalancer")
    for port in service["spec"]["ports"]:
        port["targetPort"] = port["port"]
    return [
        k8s.namespace(namespace, {**site.labels(namespace, "mesh", "istio"), "istio-injection": "enabled"}),
        k8s.service_account(f"istio-{name}", namespace, labels),
        service,
        k8s.deployment(
            f"istio-{name}",
            namespace,
            labels,
            selector,
            template,
            replicas=2,
            strategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        ),
        one_at_a_time(f"istio-{name}", namespace, labels, selector),
    ]
