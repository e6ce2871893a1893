"""Who is who in a world: the fleet's CA, a certificate per region and one for the operator, secrets.

The CA's key is never written: it signs what a world needs when it is made, and is forgotten.
"""

import datetime
import ipaddress
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from leeward.world.model import WorldConfig, address

VALID = datetime.timedelta(days=30)
CLOCK_SKEW = datetime.timedelta(minutes=5)
SECRET_BYTES = 24


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, as PEM text."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class FleetIdentity:
    """All that proves who is who."""

    ca: str
    """The CA's certificate, as PEM text."""
    regions: Mapping[str, KeyPair]
    operator: KeyPair
    token: str
    """Bearer token of the regions' API servers."""


def new_secret() -> str:
    """Return a fresh password or token: 32 letters, digits, hyphens and underscores."""
    return secrets.token_urlsafe(SECRET_BYTES)


def create(fleet: str, regions: Mapping[str, int], now: datetime.datetime | None = None) -> FleetIdentity:
    """Make a fresh identity. ``regions``: name to index. Valid for 30 days from ``now`` (this moment)."""
    start = now or datetime.datetime.now(datetime.UTC)
    authority = _Authority(fleet, start)
    return FleetIdentity(
        ca=authority.pem,
        regions={name: authority.region(name, index) for name, index in regions.items()},
        operator=authority.operator(),
        token=new_secret(),
    )


def write(identity: FleetIdentity, config: WorldConfig) -> None:
    """Write ``operator/`` and each region's ``identity/``, readable by their owner only."""
    folders = {Path(config.directory) / "operator": identity.operator}
    for region in config.regions:
        folders[config.region_directory(region.name) / "identity"] = identity.regions[region.name]
    for folder, pair in folders.items():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = {"ca.crt": identity.ca, "tls.crt": pair.certificate, "tls.key": pair.key}
        for name, text in {**files, "token": identity.token}.items():
            _write(folder / name, text)


def _write(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


class _Authority:
    def __init__(self, fleet: str, start: datetime.datetime) -> None:
        self._fleet = fleet
        self._start = start
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"{fleet} fleet CA")
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode()

    def region(self, name: str, index: int) -> KeyPair:
        hosts = ["127.0.0.1", *(address(index, last) for last in range(1, 6))]
        return self._issue(
            name,
            [
                x509.DNSName(name),
                x509.DNSName("localhost"),
                *(x509.IPAddress(ipaddress.ip_address(host)) for host in hosts),
                x509.UniformResourceIdentifier(f"spiffe://{self._fleet}/region/{name}"),
            ],
        )

    def operator(self) -> KeyPair:
        return self._issue("operator", [x509.UniformResourceIdentifier(f"spiffe://{self._fleet}/operator")])

    def _issue(self, name: str, names: list[x509.GeneralName]) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            self._builder(_name(name), key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return KeyPair(
            certificate.public_bytes(serialization.Encoding.PEM).decode(),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode(),
        )

    def _builder(self, subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._start - CLOCK_SKEW)
            .not_valid_after(self._start + VALID)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(issuer, critical=False)
        )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
