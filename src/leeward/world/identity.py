"""A world's identities: an authority per purpose, the certificates of each process, and secrets.

Each process gets certificates of the purposes it has, and no others (docs/decisions/0024-identities-by-purpose.md). The
authorities' keys stay in a directory of the world that no region sees (``leeward.world.authorities``): the supervisor
renews with them (``leeward.world.renewal``), and ``leeward apply`` issues for applications that it adds.
"""

import datetime
import ipaddress
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from cryptography import x509

from leeward.core.identities import (
    CA,
    CERTIFICATE,
    CLUSTER_CA,
    INSTANCE_CA,
    KEY,
    PEER_CA,
    PEER_CERTIFICATE,
    PEER_KEY,
    Grant,
    instance_host,
    operator_uri,
    region_uri,
)
from leeward.world import authorities
from leeward.world.authorities import PURPOSES
from leeward.world.authority import BOTH, CLIENT, SERVER, VALID, Authority, KeyPair
from leeward.world.model import WorldConfig, address
from leeward.world.problems import of_earlier_version

SECRET_BYTES = 24
TOKEN = "token"
Files = Mapping[str, str]
"""File name to content."""


@dataclass(frozen=True, slots=True)
class RegionIdentity:
    """The identities of one region's processes, each with its own files."""

    agent: Files
    """Towards other agents, operators and instance managers; and the authority of the instance managers."""
    store_client: Files
    """The agent towards the region's member of the quorum store."""
    store_member: Files
    """That member towards clients and towards other members."""
    gateway: Files
    """The gateway towards other regions' gateways."""
    cluster: Files
    """The API server, with the bearer token that it accepts."""


@dataclass(frozen=True, slots=True)
class FleetIdentity:
    """All identities of a fleet."""

    fleet: str
    regions: Mapping[str, RegionIdentity]
    operator: Files
    """Towards agents; the authorities that its tools trust; the bearer token of the regions' API servers."""
    authorities: Files
    """Each purpose's authority, and its key (``leeward.world.authorities``)."""

    @property
    def token(self) -> str:
        """The bearer token of the regions' API servers."""
        return self.operator[TOKEN]

    def instance(
        self, app: str, region: str, now: datetime.datetime | None = None, valid: datetime.timedelta = VALID
    ) -> Files:
        """Return a new identity for an application's instance manager in one region, from ``now`` on."""
        pair = authorities.of_purpose(self.authorities, "instance").issuing
        authority = Authority.load(pair, now or datetime.datetime.now(datetime.UTC), valid)
        names = [
            x509.DNSName(instance_host(app, region)),
            x509.UniformResourceIdentifier(f"spiffe://{self.fleet}/instance/{region}/{app}"),
        ]
        # Its clients are the region's agent and the operator.
        return _files(self.operator[CA], authority.issue(f"instance {region}", names, SERVER))

    def operator_of(
        self,
        name: str,
        grants: Iterable[Grant],
        now: datetime.datetime | None = None,
        valid: datetime.timedelta = VALID,
    ) -> Files:
        """Return a new identity for an operator who may do what is granted, from ``now`` on."""
        pair = authorities.of_purpose(self.authorities, "fleet").issuing
        authority = Authority.load(pair, now or datetime.datetime.now(datetime.UTC), valid)
        names = [_uri(operator_uri(self.fleet, grant)) for grant in grants]
        return _files(self.operator[CA], authority.issue(name, names, CLIENT))


def new_secret() -> str:
    """Return a fresh password or token: 32 letters, digits, hyphens and underscores."""
    return secrets.token_urlsafe(SECRET_BYTES)


def create(
    fleet: str,
    regions: Mapping[str, int],
    now: datetime.datetime | None = None,
    valid: datetime.timedelta = VALID,
) -> FleetIdentity:
    """Make a fresh identity. ``regions``: name to index. Its certificates are valid from ``now`` (this moment) on."""
    start = now or datetime.datetime.now(datetime.UTC)
    made, token = _Authorities.create(fleet, start, valid), new_secret()
    return FleetIdentity(
        fleet=fleet,
        regions={name: made.region(name, index, token) for name, index in regions.items()},
        operator={**made.operator(), TOKEN: token},
        authorities=made.files(),
    )


def write(identity: FleetIdentity, config: WorldConfig) -> None:
    """Write ``operator/``, ``authorities/`` and each region's ``identity/``, readable by their owner only."""
    put(Path(config.directory) / "operator", identity.operator)
    put(Path(config.directory) / authorities.DIRECTORY, identity.authorities)
    for region in config.regions:
        folder = config.region_directory(region.name) / "identity"
        for each in fields(RegionIdentity):
            put(folder / _folder(each.name), getattr(identity.regions[region.name], each.name))


def read(config: WorldConfig) -> FleetIdentity:
    """Return what ``write`` wrote. Raises OSError, and ProblemsError when another version wrote it."""
    folder = Path(config.directory) / authorities.DIRECTORY
    if not folder.is_dir():
        raise of_earlier_version(config.name)
    return FleetIdentity(
        fleet=config.fleet,
        regions={
            each.name: RegionIdentity(
                **{
                    field.name: read_files(config.region_directory(each.name) / "identity" / _folder(field.name))
                    for field in fields(RegionIdentity)
                }
            )
            for each in config.regions
        },
        operator=read_files(Path(config.directory) / "operator"),
        authorities=authorities.read(folder),
    )


def put(folder: Path, files: Files) -> None:
    """Write files into a folder, which is made where it is missing; readable by their owner only."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in files.items():
        with open(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)


def region_folders(config: WorldConfig, region: str) -> tuple[Path, ...]:
    """Return where each identity of a region is."""
    folder = config.region_directory(region) / "identity"
    return tuple(folder / _folder(each.name) for each in fields(RegionIdentity))


def _folder(field: str) -> str:
    """Return where an identity is: that of the API server, whose program reads the folder, at the top."""
    return "" if field == "cluster" else field.replace("_", "-")


def read_files(folder: Path) -> Files:
    """Return the files of a folder. Raises OSError."""
    found = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith("."))
    return {path.name: path.read_text("utf-8") for path in found}


def _files(authority: str, pair: KeyPair) -> dict[str, str]:
    return {CA: authority, CERTIFICATE: pair.certificate, KEY: pair.key}


@dataclass(frozen=True, slots=True)
class _Authorities:
    """One for each purpose."""

    name: str
    # In the order of PURPOSES.
    fleet: Authority
    store_client: Authority
    store_peer: Authority
    instance: Authority
    gateway: Authority
    cluster: Authority

    @classmethod
    def create(cls, fleet: str, start: datetime.datetime, valid: datetime.timedelta) -> "_Authorities":
        return cls(
            fleet,
            *(Authority.create(authorities.authority_name(fleet, name, start), start, valid) for name in PURPOSES),
        )

    def files(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for purpose in PURPOSES:
            authority: Authority = getattr(self, purpose)
            found |= {f"{purpose}.crt": authority.certificate, f"{purpose}.key": authority.key}
        return found

    def region(self, name: str, index: int, token: str) -> RegionIdentity:
        agent = self.fleet.issue(name, [*_hosts(name, index, 4), _uri(region_uri(self.name, name))], BOTH)
        client = self.store_client.issue(f"store client {name}", self._names("store-client", name), CLIENT)
        # etcd's own JSON gateway shows the server's certificate to its member.
        member = self.store_client.issue(
            f"store member {name}", [*_hosts(name, index, 3), *self._names("store-member", name)], BOTH
        )
        peer = self.store_peer.issue(
            f"store peer {name}", [*_hosts(name, index, 3), *self._names("store-peer", name)], BOTH
        )
        gateway = self.gateway.issue(f"gateway {name}", [x509.DNSName(name), *self._names("gateway", name)], BOTH)
        cluster = self.cluster.issue(
            f"cluster {name}", [*_hosts(name, index, 1), *self._names("cluster", name)], SERVER
        )
        return RegionIdentity(
            agent={**_files(self.fleet.certificate, agent), INSTANCE_CA: self.instance.certificate},
            store_client=_files(self.store_client.certificate, client),
            store_member={
                **_files(self.store_client.certificate, member),
                PEER_CA: self.store_peer.certificate,
                PEER_CERTIFICATE: peer.certificate,
                PEER_KEY: peer.key,
            },
            gateway=_files(self.gateway.certificate, gateway),
            cluster={**_files(self.cluster.certificate, cluster), TOKEN: token},
        )

    def operator(self) -> dict[str, str]:
        return {
            **_files(self.fleet.certificate, self.fleet.issue("operator", [_uri(operator_uri(self.name))], CLIENT)),
            CLUSTER_CA: self.cluster.certificate,
            INSTANCE_CA: self.instance.certificate,
        }

    def _names(self, purpose: str, region: str) -> list[x509.GeneralName]:
        return [_uri(f"spiffe://{self.name}/{purpose}/{region}")]


def _uri(uri: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(uri)


def _hosts(region: str, index: int, last: int) -> list[x509.GeneralName]:
    """Return how a server of a region is reached: by the region's name, at its address, at a front door."""
    addresses = ("127.0.0.1", address(index, last))
    return [
        x509.DNSName(region),
        x509.DNSName("localhost"),
        *(x509.IPAddress(ipaddress.ip_address(each)) for each in addresses),
    ]
