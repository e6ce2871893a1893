"""The region's agent and its gateway: one pod, since the agent writes the files Envoy watches.

The agent may see which pods of its applications are ready, and which services are exported; it may change nothing in
the cluster but the status of exports.
"""

import math
from collections.abc import Sequence

from leeward.compile.kube import objects as k8s
from leeward.compile.kube.objects import KubeObject, labels_of, selector_of
from leeward.compile.region.exported import ports as exported_ports
from leeward.compile.region.exported import rights as exported_rights
from leeward.compile.region.exported import services as exported_services
from leeward.compile.region.gateway_ports import called, gateway_ports
from leeward.compile.region.identity import (
    AGENT_SECRET,
    CLUSTER_TOKEN_KEY,
    CLUSTER_TOKEN_SECRET,
    GATEWAY_SECRET,
    STORE_CLIENT_SECRET,
)
from leeward.compile.region.published import published
from leeward.compile.region.settings import agent_settings
from leeward.compile.target import (
    AGENT_PORT,
    AGENT_SETTINGS_DIR,
    BACKUP_DIR,
    CLUSTER_TOKEN_DIR,
    DNS_PORT,
    GATEWAY_BOOTSTRAP_DIR,
    GATEWAY_DIR,
    GATEWAY_IDENTITY_DIR,
    GATEWAY_METRICS_PORT,
    GATEWAY_VOLUME,
    HTTP_PORT,
    IDENTITY_DIR,
    PEERS_PORT,
    QUORUM_QUOTA_BYTES,
    STORE_IDENTITY_DIR,
    SYSTEM_NAMESPACE,
    USERS_PORT,
    Peer,
    Target,
    gateway_service,
)
from leeward.core import codec
from leeward.core.identities import CA
from leeward.spec.application import Application
from leeward.spec.spec import Spec

NAME = "leeward"
SETTINGS_MAP = "leeward-agent"
SETTINGS_FILE = "agent.json"
GATEWAY_MAP = "leeward-gateway"
BACKUPS_CLAIM = "leeward-backups"
GATEWAY_MEMORY = "512Mi"
"""A third more than the heap at which the gateway begins to refuse (``Limits.heap_bytes`` of the adapter)."""
GATEWAY_STARTS_WITHIN_S = 180
DNS_PORTS = {"dns-udp": "UDP", "dns-tcp": "TCP"}


def agent(spec: Spec, region: str, target: Target, granting: Sequence[Application] = ()) -> list[KubeObject]:
    """Return the agent's pod with everything it needs, and what it may do in these applications' namespaces."""
    labels, selector = labels_of(NAME, "agent", region, NAME), selector_of(NAME, "agent")
    settings = agent_settings(spec, region, target)
    gateway = target.engines.gateway(settings)
    template = k8s.pod_template(
        labels,
        [_agent(target), _gateway(gateway.command, spec, target)],
        account=NAME,
        grace_s=target.grace_s,
        volumes=[
            k8s.config_map_volume("settings", SETTINGS_MAP),
            k8s.config_map_volume("bootstrap", GATEWAY_MAP),
            k8s.secret_volume("identity", AGENT_SECRET),
            k8s.secret_volume("store-identity", STORE_CLIENT_SECRET),
            k8s.secret_volume("gateway-identity", GATEWAY_SECRET),
            _cluster_token(target),
            k8s.empty_volume(GATEWAY_VOLUME),
            k8s.claimed_volume("backups", BACKUPS_CLAIM),
        ],
        annotations=target.pod_annotations(lambda pods: pods.agent),
    )
    return [
        k8s.service_account(NAME, SYSTEM_NAMESPACE, labels),
        *(grant for application in granting for grant in grants(spec, application, region, target)),
        k8s.config_map(SETTINGS_MAP, SYSTEM_NAMESPACE, labels, {SETTINGS_FILE: codec.encode(settings)}),
        k8s.config_map(GATEWAY_MAP, SYSTEM_NAMESPACE, labels, gateway.files),
        *_services(labels, selector, spec, target, region),
        *([_names(labels, selector)] if target.answers_dns else []),
        _backups(labels, spec),
        # Two agents of one region would overrule one another: the old one goes before the new one comes.
        k8s.deployment(NAME, SYSTEM_NAMESPACE, labels, selector, template, replicas=1, strategy={"type": "Recreate"}),
    ]


def _backups(labels: dict[str, str], spec: Spec) -> KubeObject:
    """Return the volume for backups of the quorum store: all that are kept, each as large as the store may become."""
    # One more while it is written, and one that is not removed yet.
    bytes_needed = (spec.fleet.spec.store.backups_kept + 2) * QUORUM_QUOTA_BYTES
    return k8s.persistent_volume_claim(
        BACKUPS_CLAIM, SYSTEM_NAMESPACE, labels, f"{math.ceil(bytes_needed / 1024**3)}Gi"
    )


def _agent(target: Target) -> KubeObject:
    container = k8s.container(
        "agent",
        target.images.leeward,
        ("python", "-m", "leeward.agent", "--config", f"{AGENT_SETTINGS_DIR}/{SETTINGS_FILE}"),
        ports={"agent": AGENT_PORT},
        env=[k8s.pod_ip_env()],
        mounts=[
            k8s.mount("settings", AGENT_SETTINGS_DIR, read_only=True),
            k8s.mount("identity", IDENTITY_DIR, read_only=True),
            k8s.mount("store-identity", STORE_IDENTITY_DIR, read_only=True),
            k8s.mount("cluster-token", CLUSTER_TOKEN_DIR, read_only=True),
            k8s.mount(GATEWAY_VOLUME, GATEWAY_DIR),
            k8s.mount("backups", BACKUP_DIR),
        ],
        resources={"requests": {"cpu": "100m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}},
        readiness=k8s.tcp_probe("agent", period_s=target.probe_period_s, failures=3),
    )
    if target.answers_dns:
        container["ports"] += [
            {"name": name, "containerPort": DNS_PORT, "protocol": protocol} for name, protocol in DNS_PORTS.items()
        ]
    return container


def _gateway(command: tuple[str, ...], spec: Spec, target: Target) -> KubeObject:
    host = target.pods.gateway if target.pods else None
    return k8s.container(
        "gateway",
        target.images.gateway,
        command,
        ports={
            "users": USERS_PORT,
            "peers": PEERS_PORT,
            **_database_ports(spec),
            **exported_ports(spec),
            "metrics": GATEWAY_METRICS_PORT,
        },
        mounts=[
            k8s.mount("bootstrap", GATEWAY_BOOTSTRAP_DIR, read_only=True),
            k8s.mount("gateway-identity", GATEWAY_IDENTITY_DIR, read_only=True),
            k8s.mount(GATEWAY_VOLUME, GATEWAY_DIR),
        ],
        resources={"requests": {"cpu": "200m", "memory": "64Mi"}, "limits": {"memory": GATEWAY_MEMORY}},
        # None asks the users' port, as the agent does: they have none before the agent has written routes, and when
        # they fill it, databases' sessions and the other gateways still come through.
        startup=k8s.http_probe("/ready", "metrics", period_s=1, failures=GATEWAY_STARTS_WITHIN_S, host=host),
        readiness=k8s.http_probe("/ready", "metrics", period_s=target.probe_period_s, failures=3, host=host),
        liveness=k8s.http_probe("/ready", "metrics", period_s=5, failures=3, timeout_s=3, host=host),
    )


def _database_ports(spec: Spec) -> dict[str, int]:
    """Return the ports only this region's pods use: for each application the primary's, and one to each PostgreSQL."""
    return {
        name: port
        for application in spec.applications
        if (ports := gateway_ports(spec, application)) is not None
        for name, port in ports.named(application).items()
    }


def _database_service(
    spec: Spec, application: Application, labels: dict[str, str], selector: dict[str, str], target: Target
) -> list[KubeObject]:
    """Return what leads one application's pods to the gateway's ports for its database."""
    ports, listening = called(spec, application, target), gateway_ports(spec, application)
    if ports is None or listening is None:
        return []
    service = k8s.service(gateway_service(application.metadata.name), SYSTEM_NAMESPACE, labels, selector, {})
    service["spec"]["ports"] = [
        {"name": name, "port": port, "targetPort": pod_port}
        for (name, port), pod_port in zip(
            [("postgres", ports.primary), *((f"egress-{each}", port) for each, port in ports.egress.items())],
            listening.named(application),
            strict=True,
        )
    ]
    return [service]


def _services(
    labels: dict[str, str], selector: dict[str, str], spec: Spec, target: Target, region: str
) -> list[KubeObject]:
    here = target.peers[region]
    return [
        # Also while the gateway beside it is not ready: then more than ever, other regions must hear from the agent.
        k8s.service(
            "leeward-agent",
            SYSTEM_NAMESPACE,
            labels,
            selector,
            {"agent": AGENT_PORT},
            kind="LoadBalancer",
            before_ready=True,
            annotations=published(target, here.agent_url),
        ),
        _entrance(labels, selector, target, here),
        *(item for each in spec.applications for item in _database_service(spec, each, labels, selector, target)),
        *exported_services(spec, labels, selector),
    ]


def _entrance(labels: dict[str, str], selector: dict[str, str], target: Target, here: Peer) -> KubeObject:
    """Return the load balancer of the gateway, for users and for peers: a name leads to one address only.

    Users' requests are plain HTTP here. What ends their TLS stands before it.
    """
    service = k8s.service(
        "leeward-gateway",
        SYSTEM_NAMESPACE,
        labels,
        selector,
        {"users": USERS_PORT, "peers": PEERS_PORT},
        kind="LoadBalancer",
        annotations=published(target, here.gateway_host),
    )
    if target.pods is None:
        service["spec"]["ports"].append({"name": "http", "port": HTTP_PORT, "targetPort": "users"})
    # No hop in between: what one client may take of the gateway is counted by its address.
    service["spec"]["externalTrafficPolicy"] = "Local"
    return service


def _names(labels: dict[str, str], selector: dict[str, str]) -> KubeObject:
    """Return where the world asks the region's agent for names."""
    service = k8s.service("leeward-dns", SYSTEM_NAMESPACE, labels, selector, {}, kind="LoadBalancer", before_ready=True)
    # No hop in between: a resolver that does not pass on its users' networks is known by its own address.
    service["spec"]["externalTrafficPolicy"] = "Local"
    service["spec"]["ports"] = [
        {"name": name, "port": 53, "protocol": protocol, "targetPort": name} for name, protocol in DNS_PORTS.items()
    ]
    return service


def _cluster_token(target: Target) -> KubeObject:
    """Return the volume with what the agent shows the API server, its account's token, and that server's authority."""
    if target.secrets is not None:
        return k8s.secret_volume("cluster-token", CLUSTER_TOKEN_SECRET)
    token = {"serviceAccountToken": {"path": CLUSTER_TOKEN_KEY, "expirationSeconds": 3600}}
    # Kubernetes puts it into every namespace.
    authority = {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": CA, "path": CA}]}}
    return {"name": "cluster-token", "projected": {"sources": [token, authority], "defaultMode": k8s.SECRET_MODE}}


def grants(spec: Spec, application: Application, region: str, target: Target) -> list[KubeObject]:
    """Return what the agent may do in an application's namespace."""
    labels, namespace = labels_of(NAME, "agent", region, application.metadata.name), application.namespace
    # Which pods are ready, and what is exported: all it changes is the gateway's files and the databases' orders.
    rules: list[KubeObject] = [{"apiGroups": [""], "resources": ["endpoints"], "verbs": ["get", "list", "watch"]}]
    rules += exported_rights(spec, target)
    return [
        k8s.role("leeward-agent", namespace, labels, rules),
        k8s.role_binding("leeward-agent", namespace, labels, NAME, SYSTEM_NAMESPACE),
    ]
