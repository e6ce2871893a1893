"""Who asked: an operator signs a request with its own key, and the agent that executes it verifies the signature.

A region's certificate proves which agent passed a request on, never that an operator wanted it. So the operator's
authorization travels with the request, and covers what is asked for: method, path, body, time, and a nonce.

Always true: one authorization takes effect at most once. An agent refuses a nonce it knows; what changes an
application also compares the store's list of those taken (``Accepted``), so no second agent executes it either.
"""

import base64
import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509 import verification
from cryptography.x509.oid import NameOID

from leeward.core.asked import MAX_AGE_S
from leeward.core.codec import DecodeError, decode, encode
from leeward.core.identities import CERTIFICATE, KEY, Grant, grants
from leeward.core.values import Asked
from leeward.kit.http.questions import shown

log = structlog.get_logger()

HEADER = "X-Leeward-Authorization"
NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
"""Of an operator: it stands in the decision log."""
NONCE_MAX = 64
HEADER_MAX = 6000
"""Characters; an HTTP header must not exceed 8190."""


class RefusedError(Exception):
    """The request does not prove that an operator asked for it."""


class NotAllowedError(RefusedError):
    """An operator asked for it who may ask for other things."""


@dataclass(frozen=True, slots=True)
class _Authorization:
    """What the header holds, as base64 of JSON."""

    certificates: str
    """The operator's certificate, and those between it and the fleet's CA, as PEM text."""
    at_unix_s: float
    nonce: str
    signature: str
    """Base64, of ``_signed``."""


class Signer:
    """An operator's key and certificate."""

    def __init__(self, identity_dir: Path) -> None:
        """Read tls.crt and tls.key."""
        self._certificates = (identity_dir / CERTIFICATE).read_text()
        self._key = serialization.load_pem_private_key((identity_dir / KEY).read_bytes(), password=None)

    def authorize(self, method: str, path: str, body: bytes, *, at_unix_s: float, nonce: str) -> dict[str, str]:
        """Return a request's headers; one proves that this operator asks for exactly this, now and once."""
        text = _signed(method, path, body, at_unix_s, nonce)
        match self._key:
            case ec.EllipticCurvePrivateKey():
                signature = self._key.sign(text, ec.ECDSA(hashes.SHA256()))
            case rsa.RSAPrivateKey():
                signature = self._key.sign(text, padding.PKCS1v15(), hashes.SHA256())
            case ed25519.Ed25519PrivateKey():
                signature = self._key.sign(text)
            case _:
                raise ValueError(f"cannot sign with a {type(self._key).__name__}: use an EC, RSA or Ed25519 key")
        made = _Authorization(self._certificates, at_unix_s, nonce, base64.b64encode(signature).decode())
        return {"Content-Type": "application/json", HEADER: base64.b64encode(encode(made).encode()).decode()}


class Verifier:
    """Verifies what operators signed, as one agent. Remembers the nonces it has accepted."""

    def __init__(self, fleet: str, authority: Path) -> None:
        """``authority``: the file with the fleet's CA; two while it is exchanged. Raises OSError, ValueError."""
        self._fleet = fleet
        self._authority = authority
        self._pem = authority.read_bytes()
        self._store = verification.Store(x509.load_pem_x509_certificates(self._pem))
        self._taken: dict[str, float] = {}

    def verify(
        self, header: str | None, method: str, path: str, body: bytes, *, needs: Grant, now_unix_s: float
    ) -> Asked:
        """Return who asked, and accept it once. ``needs``: what it takes. Raises RefusedError."""
        if header is None:
            raise RefusedError("an operator must sign it: a region's certificate alone may not change the fleet")
        if len(header) > HEADER_MAX:
            raise RefusedError(f"its authorization is longer than {HEADER_MAX} characters")
        try:
            made = decode(_Authorization, base64.b64decode(header, validate=True))
            signature = base64.b64decode(made.signature, validate=True)
            leaf, *between = x509.load_pem_x509_certificates(made.certificates.encode())
        except (DecodeError, ValueError) as error:
            raise RefusedError(f"its authorization cannot be read: {error}") from error
        if not made.nonce or len(made.nonce) > NONCE_MAX:
            raise RefusedError(f"its nonce must have 1 to {NONCE_MAX} characters")
        try:
            name, allowed = self._operator(leaf, between, now_unix_s)
            _check(leaf, signature, _signed(method, path, body, made.at_unix_s, made.nonce))
        except (UnsupportedAlgorithm, ValueError) as error:
            raise RefusedError(f"its certificate cannot be read: {error}") from error
        # Written so that a time that is not a number is refused, too.
        if not abs(now_unix_s - made.at_unix_s) <= MAX_AGE_S:
            raise RefusedError(
                f"it was signed {now_unix_s - made.at_unix_s:.0f} s ago; at most {MAX_AGE_S:g} s are accepted"
            )
        if not any(grant.allows(needs) for grant in allowed):
            raise NotAllowedError(f"{name} may not do that: it needs the right to {needs}, and may {_listed(allowed)}")
        self._take(made.nonce, made.at_unix_s, now_unix_s)
        return Asked(name, made.at_unix_s, made.nonce)

    def _operator(
        self, leaf: x509.Certificate, between: list[x509.Certificate], now_unix_s: float
    ) -> tuple[str, frozenset[Grant]]:
        """Return who a certificate that the fleet's CA issued to an operator stands for, and what it allows.

        Who: its common name and fingerprint. A region may be called like an operator; its certificate's URI differs.
        """
        now = datetime.fromtimestamp(now_unix_s, UTC)
        verifier = verification.PolicyBuilder().store(self._current()).time(now).build_client_verifier()
        try:
            names = verifier.verify(leaf, between).subjects or []
        except verification.VerificationError as error:
            raise RefusedError(f"its certificate is not valid for a client of this fleet: {error}") from error
        common = [str(each.value) for each in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        allowed = grants(
            self._fleet, [each.value for each in names if isinstance(each, x509.UniformResourceIdentifier)]
        )
        if not allowed:
            name = ", ".join(map(shown, common)) or "missing"
            raise RefusedError(f"its certificate is not an operator's; its common name is {name}")
        if len(common) != 1:
            raise RefusedError("its certificate must have one common name")
        if not NAME.fullmatch(common[0]):
            raise RefusedError(
                f"its certificate's common name {shown(common[0])} is not one of at most 64 letters, digits or . _ @ -"
            )
        return f"{common[0]}:{leaf.fingerprint(hashes.SHA256()).hex()[:12]}", allowed

    def _current(self) -> verification.Store:
        """Return the authorities that count now; those before, while the file cannot be read."""
        try:
            pem = self._authority.read_bytes()
            if pem != self._pem:
                self._store = verification.Store(x509.load_pem_x509_certificates(pem))
                self._pem = pem
        except (OSError, ValueError) as error:
            log.warning("failed to load the fleet's authority", file=str(self._authority), because=str(error))
        return self._store

    def _take(self, nonce: str, at_unix_s: float, now_unix_s: float) -> None:
        self._taken = {each: at_s for each, at_s in self._taken.items() if now_unix_s - at_s <= 2 * MAX_AGE_S}
        if nonce in self._taken:
            raise RefusedError("it has already been used: sign each request separately")
        self._taken[nonce] = at_unix_s


def new_nonce() -> str:
    """Return what makes one request differ from every other one."""
    return secrets.token_urlsafe(16)


def _listed(allowed: frozenset[Grant]) -> str:
    return ", ".join(sorted(map(str, allowed)))


def _signed(method: str, path: str, body: bytes, at_unix_s: float, nonce: str) -> bytes:
    """Return what is signed: one JSON list, so that no field can pass for a part of another one."""
    digest = hashlib.sha256(body).hexdigest()
    return json.dumps(["leeward-request-v1", method, path, digest, at_unix_s, nonce]).encode()


def _check(leaf: x509.Certificate, signature: bytes, text: bytes) -> None:
    key = leaf.public_key()
    try:
        match key:
            case ec.EllipticCurvePublicKey():
                key.verify(signature, text, ec.ECDSA(hashes.SHA256()))
            case rsa.RSAPublicKey():
                key.verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
            case ed25519.Ed25519PublicKey():
                key.verify(signature, text)
            case _:
                raise RefusedError(f"signatures with a {type(key).__name__} are not accepted")
    except InvalidSignature as error:
        raise RefusedError("its signature does not match this request and this certificate") from error
