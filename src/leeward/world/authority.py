"""A certificate authority: it issues certificates, each for its usages only, and renews them."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from leeward.world.model import CERTIFICATES_S

SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
BOTH = SERVER + CLIENT
VALID = datetime.timedelta(seconds=CERTIFICATES_S)
"""How long a certificate is valid, unless it is asked for otherwise."""
AUTHORITY_VALID = datetime.timedelta(days=3650)
"""An authority's own certificate is never renewed; it is exchanged (``leeward.world.authorities``)."""
CLOCK_SKEW = datetime.timedelta(minutes=5)
SKEW_SHARE = 20
"""A certificate is valid this part of its life before it is issued, and ``CLOCK_SKEW`` at most."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, as PEM text."""

    certificate: str
    key: str


class Authority:
    """One authority. Its key is lost with this object, unless ``key`` is written somewhere."""

    def __init__(
        self,
        certificate: x509.Certificate,
        key: ec.EllipticCurvePrivateKey,
        start: datetime.datetime,
        valid: datetime.timedelta,
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._start = start
        self._valid = valid

    @classmethod
    def create(cls, name: str, start: datetime.datetime, valid: datetime.timedelta = VALID) -> Self:
        """Make a new one, for ten years from ``start``; what it issues then is valid for ``valid``."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_name(name), key.public_key(), _name(name), key.public_key(), start, AUTHORITY_VALID)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key, start, valid)

    @classmethod
    def load(cls, pair: KeyPair, start: datetime.datetime, valid: datetime.timedelta = VALID) -> Self:
        """Return the authority of a kept key; it issues from ``start`` on, for ``valid``. Raises ValueError."""
        return cls(x509.load_pem_x509_certificate(pair.certificate.encode()), _load_key(pair.key), start, valid)

    @property
    def certificate(self) -> str:
        """Its own certificate, as PEM text."""
        return _pem(self._certificate)

    @property
    def key(self) -> str:
        """Its private key, as PEM text: its holder can issue certificates."""
        return _pem_of_key(self._key)

    def issue(
        self,
        common: str,
        names: Sequence[x509.GeneralName],
        usages: Sequence[x509.ObjectIdentifier],
        organization: str | None = None,
    ) -> KeyPair:
        """Return a new key with its certificate. Kubernetes takes the organization for the client's group."""
        subject = _name(common, organization)
        return self._issue(subject, x509.SubjectAlternativeName(names), x509.ExtendedKeyUsage(usages))

    def renew(self, certificate: str, key: str | None = None) -> KeyPair:
        """Return a certificate for the same names and usages; a new key unless given. Raises ValueError."""
        before = x509.load_pem_x509_certificate(certificate.encode())
        extensions = before.extensions
        return self._issue(
            before.subject,
            extensions.get_extension_for_class(x509.SubjectAlternativeName).value,
            extensions.get_extension_for_class(x509.ExtendedKeyUsage).value,
            None if key is None else _load_key(key),
        )

    def issued(self, certificate: str) -> bool:
        """Return whether this authority issued a certificate. Raises ValueError for an invalid one."""
        return issued_by(certificate, self.certificate)

    def _issue(
        self,
        subject: x509.Name,
        names: x509.SubjectAlternativeName,
        usages: x509.ExtendedKeyUsage,
        kept: ec.EllipticCurvePrivateKey | None = None,
    ) -> KeyPair:
        key = kept or ec.generate_private_key(ec.SECP256R1())
        public, own = key.public_key(), self._key.public_key()
        certificate = (
            _builder(subject, public, self._certificate.subject, own, self._start, self._valid)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(usages, critical=False)
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return KeyPair(_pem(certificate), _pem_of_key(key))


def issued_by(certificate: str, authority: str) -> bool:
    """Return whether an authority, by its certificate, issued another one. Raises ValueError for an invalid one."""
    found = x509.load_pem_x509_certificate(certificate.encode())
    try:
        found.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.encode()))
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def is_due(certificate: str, now: datetime.datetime, valid: datetime.timedelta) -> bool:
    """Return whether half or less is left of the life of a certificate that was issued for ``valid``."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc - now <= valid / 2


def _builder(
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    issuer_public: ec.EllipticCurvePublicKey,
    start: datetime.datetime,
    valid: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - min(CLOCK_SKEW, valid / SKEW_SHARE))
        .not_valid_after(start + valid)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_public), critical=False)
    )


def _name(common: str, organization: str | None = None) -> x509.Name:
    group = [] if organization is None else [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)]
    return x509.Name([*group, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> str:
    encoding, container = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, container, serialization.NoEncryption()).decode()


def _load_key(pem: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"an elliptic curve key is needed, not {type(key).__name__}")
    return key


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
