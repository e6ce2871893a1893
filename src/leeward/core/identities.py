"""Identities: the names in certificates and the files that hold them, by purpose. Pure.

Which authority issues which certificate: docs/decisions/0024-identities-by-purpose.md.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

CA = "ca.crt"
"""In every identity: the authority whose certificates its owner accepts from those it serves and asks."""
CERTIFICATE = "tls.crt"
KEY = "tls.key"
INSTANCE_CA = "instance-ca.crt"
"""In an agent's identity: the authority of the instance managers."""
CLUSTER_CA = "cluster-ca.crt"
"""In the operator's identity of a world: the authority of its API servers."""
PEER_CA = "peer-ca.crt"
"""In a store member's identity: the authority of the members among themselves."""
PEER_CERTIFICATE = "peer.crt"
PEER_KEY = "peer.key"

URI = "URI"
SCHEME = "spiffe://"


def region_uri(fleet: str, region: str) -> str:
    """Return the name of a region's agent."""
    return f"{SCHEME}{fleet}/region/{region}"


class Purpose(StrEnum):
    """What an authority issues certificates for."""

    FLEET = "fleet"
    STORE_CLIENT = "store_client"
    STORE_PEER = "store_peer"
    INSTANCE = "instance"
    GATEWAY = "gateway"
    CLUSTER = "cluster"
    """The API servers of a world."""


class Right(StrEnum):
    """What an operator may do to the applications that its certificate names. Each lets it see them."""

    VIEW = "view"
    """Nothing more: status, conditions, decisions and metrics."""
    STEER = "steer"
    """Switchovers and pauses: what loses no acknowledged write."""
    BREAK = "break"
    """Failovers, which may accept a loss, and modes, which may allow one. A drill takes both rights."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one name in an operator's certificate allows. None: every one."""

    app: str | None = None
    right: Right | None = None

    def allows(self, needed: "Grant") -> bool:
        """Whether it allows all that another one does."""
        return self.app in (None, needed.app) and self.right in (None, needed.right)

    def __str__(self) -> str:
        what = "steer and break" if self.right is None else str(self.right)
        return f"{what} {self.app or 'every application'}"


def operator_uri(fleet: str, grant: Grant = Grant()) -> str:
    """Return the name of an operator with this grant."""
    app = "" if grant.app is None else f"/app/{grant.app}"
    return f"{SCHEME}{fleet}/operator{app}" + ("" if grant.right is None else f"/may/{grant.right}")


def grants(fleet: str, names: Collection[str]) -> frozenset[Grant]:
    """Return what the URIs of a certificate allow; nothing when none of them is an operator's of this fleet."""
    shape = re.compile(
        re.escape(operator_uri(fleet)) + rf"(?:/app/(?P<app>[a-z0-9-]+))?(?:/may/(?P<right>{'|'.join(Right)}))?"
    )
    found = filter(None, map(shape.fullmatch, names))
    return frozenset(Grant(each["app"], Right(each["right"]) if each["right"] else None) for each in found)


def instance_host(app: str, region: str) -> str:
    """Return the host name in the certificate of an application's instance manager in one region."""
    return f"{app}.{region}.instance"


def uris(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the URIs of a peer's certificate, as ``SSLSocket.getpeercert`` gives it; none without a certificate."""
    names = (certificate or {}).get("subjectAltName", ())
    return frozenset(str(value) for kind, value in names if kind == URI)
