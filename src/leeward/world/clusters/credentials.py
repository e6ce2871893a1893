"""Who is who in a real cluster: its authority, a certificate for each program, and kubeconfig files.

A cluster's authority is its own: nothing of the fleet's identities opens its API server.
"""

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from leeward.world.authority import BOTH, CLIENT, Authority, KeyPair
from leeward.world.clusters import addresses

VALID = datetime.timedelta(days=365)
"""A cluster lives as long as its world, which no test or demonstration keeps for longer."""
ADMINISTRATOR = "admin"
SERVICE_ACCOUNT_KEY_BITS = 2048


@dataclass(frozen=True, slots=True)
class _Role:
    """Who a certificate is for."""

    name: str
    common: str
    organization: str | None = None


CLIENTS = (
    _Role(ADMINISTRATOR, "admin", "system:masters"),
    _Role("kube-controller-manager", "system:kube-controller-manager"),
    _Role("kube-scheduler", "system:kube-scheduler"),
    _Role("kube-proxy", "system:kube-proxy"),
)


def node_name(index: int) -> str:
    """Return the name of region ``index``'s node."""
    return f"node-{index}"


def write(directory: Path, index: int, now: datetime.datetime) -> None:
    """Write pki/ with every key and certificate, and NAME.kubeconfig for each client. Raises OSError."""
    pki = directory / "pki"
    pki.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = Authority.create("cluster-ca", now, VALID)
    _keep(pki / "ca.crt", authority.certificate)
    server = [*map(_ip, ("127.0.0.1", addresses.KUBERNETES_SERVICE, addresses.node(index))), *map(x509.DNSName, _DNS)]
    _pair(pki, "kube-apiserver", authority.issue("kube-apiserver", server, BOTH))
    node = _Role("kubelet", f"system:node:{node_name(index)}", "system:nodes")
    names = [x509.DNSName(node_name(index)), _ip(addresses.node(index))]
    _pair(pki, node.name, authority.issue(node.common, names, BOTH, node.organization))
    for role in CLIENTS:
        names = [x509.DNSName(role.name)]
        _pair(pki, role.name, authority.issue(role.common, names, CLIENT, role.organization))
    for role in (*CLIENTS, node):
        _keep(directory / f"{role.name}.kubeconfig", kubeconfig(pki, role.name, f"https://{addresses.node(index)}"))
    _service_account_key(pki)


_DNS = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


def kubeconfig(pki: Path, name: str, host: str) -> str:
    """Return the kubeconfig of one client; the certificates are in it."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": "cluster", "user": name}}],
        "clusters": [
            {
                "name": "cluster",
                "cluster": {"server": f"{host}:{addresses.API_PORT}", "certificate-authority": str(pki / "ca.crt")},
            }
        ],
        "users": [
            {
                "name": name,
                "user": {"client-certificate": str(pki / f"{name}.crt"), "client-key": str(pki / f"{name}.key")},
            }
        ],
    }
    return yaml.safe_dump(document, sort_keys=False)


def _pair(pki: Path, name: str, pair: KeyPair) -> None:
    _keep(pki / f"{name}.crt", pair.certificate)
    _keep(pki / f"{name}.key", pair.key)


def _service_account_key(pki: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=SERVICE_ACCOUNT_KEY_BITS)
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    _keep(pki / "service-accounts.key", private.decode())
    _keep(pki / "service-accounts.pub", public.decode())


def _keep(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(text)


def _ip(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(text))
