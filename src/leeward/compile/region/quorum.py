"""The region's member of the quorum store: one etcd with its own volume."""

from leeward.compile.kube import objects as k8s
from leeward.compile.kube.objects import KubeObject, labels_of, selector_of
from leeward.compile.region.identity import STORE_MEMBER_SECRET
from leeward.compile.region.published import published
from leeward.compile.target import (
    IDENTITY_DIR,
    QUORUM_CLIENT_PORT,
    QUORUM_DATA_DIR,
    QUORUM_METRICS_PORT,
    QUORUM_PEER_PORT,
    SYSTEM_NAMESPACE,
    QuorumMember,
    Target,
)
from leeward.spec.spec import Spec

NAME = "etcd"
STORAGE = "2Gi"
DATA_VOLUME = "data"
PORTS = {"client": QUORUM_CLIENT_PORT, "peer": QUORUM_PEER_PORT, "metrics": QUORUM_METRICS_PORT}


def quorum(spec: Spec, region: str, target: Target) -> list[KubeObject]:
    """Return etcd and the services by which its region and its peers find it."""
    labels, selector = labels_of(NAME, "quorum", region, "leeward"), selector_of(NAME, "quorum")
    member = QuorumMember(
        region=region,
        fleet=spec.fleet.metadata.name,
        data_dir=f"{QUORUM_DATA_DIR}/member",
        identity_dir=IDENTITY_DIR,
        listen_host=target.quorum_listen_host,
        client_url=target.quorum_url,
        peer_urls={name: peer.quorum_peer_url for name, peer in target.peers.items()},
        rtt_max_s=spec.rtt_max_s,
    )
    etcd = k8s.container(
        NAME,
        target.images.quorum,
        target.engines.quorum(member),
        ports=PORTS,
        mounts=[k8s.mount(DATA_VOLUME, QUORUM_DATA_DIR), k8s.mount("identity", IDENTITY_DIR, read_only=True)],
        resources={"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        # A bare connection to the TLS ports would be logged as an error each time.
        readiness=k8s.tcp_probe("metrics", period_s=target.probe_period_s, failures=3),
    )
    template = k8s.pod_template(
        labels,
        [etcd],
        account=NAME,
        grace_s=target.grace_s,
        volumes=[k8s.secret_volume("identity", STORE_MEMBER_SECRET)],
        annotations=target.pod_annotations(lambda pods: pods.quorum),
    )
    return [
        k8s.service_account(NAME, SYSTEM_NAMESPACE, labels),
        k8s.service(NAME, SYSTEM_NAMESPACE, labels, selector, PORTS, headless=True),
        k8s.service(
            f"{NAME}-peer",
            SYSTEM_NAMESPACE,
            labels,
            selector,
            {"peer": QUORUM_PEER_PORT},
            kind="LoadBalancer",
            annotations=published(target, target.peers[region].quorum_peer_url),
        ),
        k8s.stateful_set(
            NAME,
            SYSTEM_NAMESPACE,
            labels,
            selector,
            template,
            service=NAME,
            claims=[k8s.volume_claim(DATA_VOLUME, STORAGE)],
        ),
    ]
