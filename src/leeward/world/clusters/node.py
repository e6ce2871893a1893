"""How each program of a cluster of one node is called, and what it reads: arguments and files. No I/O.

Measured pitfalls on machines without every capability: runc must not lower its score for the out-of-memory killer,
AppArmor's profiles cannot be loaded, and the sysctls of connection tracking are read-only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from leeward.world.clusters import addresses
from leeward.world.clusters.credentials import node_name
from leeward.world.clusters.programs import Programs

CONTAINERD_SOCKET = "/run/containerd.sock"
PAUSE_IMAGE = "leeward.local/pause:1"
ETCD_CLIENT, ETCD_PEER = "http://127.0.0.1:2379", "http://127.0.0.1:2380"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One region's cluster."""

    index: int
    """1 to 254."""
    directory: Path
    programs: Programs
    group: str
    """The control group of its pods."""

    @property
    def pki(self) -> Path:
        """Where its keys and certificates are."""
        return self.directory / "pki"

    def kubeconfig(self, client: str) -> Path:
        """Return the kubeconfig of one client."""
        return self.directory / f"{client}.kubeconfig"


def control_plane(node: Node) -> Mapping[str, tuple[str, ...]]:
    """Return the arguments of the control plane's programs, in the order they are started."""
    return {
        "etcd": (
            f"--data-dir={node.directory / 'etcd'}",
            f"--listen-client-urls={ETCD_CLIENT}",
            f"--advertise-client-urls={ETCD_CLIENT}",
            f"--listen-peer-urls={ETCD_PEER}",
            f"--initial-advertise-peer-urls={ETCD_PEER}",
            f"--initial-cluster=default={ETCD_PEER}",
            # The machine's disk is shared by three clusters, and a killed process loses nothing by it.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ),
        "kube-apiserver": _api_server(node),
        "kube-controller-manager": (
            f"--kubeconfig={node.kubeconfig('kube-controller-manager')}",
            f"--service-account-private-key-file={node.pki / 'service-accounts.key'}",
            f"--root-ca-file={node.pki / 'ca.crt'}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ),
        "kube-scheduler": (
            f"--kubeconfig={node.kubeconfig('kube-scheduler')}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ),
    }


def machine(node: Node) -> Mapping[str, tuple[str, ...]]:
    """Return the arguments of the programs of the node itself, in the order they are started."""
    return {
        "containerd": (f"--config={node.directory / 'containerd.toml'}",),
        "kubelet": (
            f"--config={node.directory / 'kubelet.yaml'}",
            f"--kubeconfig={node.kubeconfig('kubelet')}",
            f"--hostname-override={node_name(node.index)}",
            f"--node-ip={addresses.node(node.index)}",
        ),
        "kube-proxy": (
            f"--kubeconfig={node.kubeconfig('kube-proxy')}",
            "--proxy-mode=nftables",
            f"--cluster-cidr={addresses.PODS}",
            f"--hostname-override={node_name(node.index)}",
            "--conntrack-max-per-core=0",
        ),
    }


def files(node: Node) -> Mapping[str, str]:
    """Return the files that the programs read, by their path in the cluster's directory."""
    return {
        "containerd.toml": _containerd(node),
        "cni/10-pods.conflist": _pods_network(node),
        "kubelet.yaml": yaml.safe_dump(_kubelet(node), sort_keys=False),
        "resolv.conf": "",
    }


def _api_server(node: Node) -> tuple[str, ...]:
    own, admin = node.pki / "kube-apiserver", node.pki / "admin"
    accounts = node.pki / "service-accounts"
    return (
        f"--etcd-servers={ETCD_CLIENT}",
        "--bind-address=0.0.0.0",
        f"--secure-port={addresses.API_PORT}",
        f"--advertise-address={addresses.node(node.index)}",
        f"--service-cluster-ip-range={addresses.SERVICES}",
        f"--tls-cert-file={own}.crt",
        f"--tls-private-key-file={own}.key",
        f"--client-ca-file={node.pki / 'ca.crt'}",
        f"--kubelet-client-certificate={admin}.crt",
        f"--kubelet-client-key={admin}.key",
        # Otherwise logs and exec look up the node's name.
        "--kubelet-preferred-address-types=InternalIP",
        "--authorization-mode=Node,RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={accounts}.pub",
        f"--service-account-signing-key-file={accounts}.key",
        "--allow-privileged",
    )


def _containerd(node: Node) -> str:
    return f"""version = 2
root = "{node.directory / "containerd"}"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{node.programs.plugins}"
    conf_dir = "{node.directory / "cni"}"
"""


def _pods_network(node: Node) -> str:
    return f"""{{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {{
      "type": "bridge",
      "bridge": "pods",
      "isGateway": true,
      "hairpinMode": true,
      "ipam": {{
        "type": "host-local",
        "dataDir": "/run/pod-addresses",
        "ranges": [[{{"subnet": "{addresses.pods(node.index)}"}}]],
        "routes": [{{"dst": "0.0.0.0/0"}}]
      }}
    }}
  ]
}}
"""


def _kubelet(node: Node) -> dict[str, object]:
    own = node.pki / "kubelet"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(node.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{own}.crt",
        "tlsPrivateKeyFile": f"{own}.key",
        "readOnlyPort": 0,
        "clusterDNS": [addresses.CLUSTER_DNS],
        "clusterDomain": "cluster.local",
        "resolvConf": str(node.directory / "resolv.conf"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.group}",
        "enforceNodeAllocatable": [],
        # Machines with the first version of control groups are laptops and test machines by now.
        "failCgroupV1": False,
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
    }
