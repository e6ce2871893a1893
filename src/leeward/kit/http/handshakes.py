"""Why a TLS handshake was refused, and which certificate the client presented: for a server that requires one.

Python shows a server no certificate that it did not accept. So the client's is taken from the handshake's own message,
which OpenSSL passes on as it reads it. Nothing may be decided by it: it is what an unknown client says of itself.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

_HANDSHAKE, _CERTIFICATE = 22, 11
_HEADER = 4
"""Bytes of a handshake message before its content: the type and the length."""


class Reason(StrEnum):
    """Why a client was refused. Values of a metric's label, so there are few."""

    NO_CERTIFICATE = "no-certificate"
    WRONG_AUTHORITY = "wrong-authority"
    """Another authority issued it than the one of this port's clients: often a certificate of another purpose."""
    WRONG_USAGE = "wrong-usage"
    """A certificate for servers only."""
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    INVALID_CERTIFICATE = "invalid-certificate"
    NOT_TLS = "not-tls"
    OLD_TLS = "old-tls"
    DISTRUSTS_US = "distrusts-us"
    """The client ended the handshake: it does not accept the server's certificate."""
    TOO_SLOW = "too-slow"
    OTHER_TLS = "other-tls"
    NOT_PERMITTED = "not-permitted"
    """TLS accepted the certificate; its names do not permit what was asked for."""


_VERIFY = {
    2: Reason.WRONG_AUTHORITY,  # unable to get issuer certificate
    7: Reason.WRONG_AUTHORITY,  # certificate signature failure: an authority of the same name
    9: Reason.NOT_YET_VALID,
    10: Reason.EXPIRED,
    18: Reason.WRONG_AUTHORITY,  # self-signed certificate
    19: Reason.WRONG_AUTHORITY,  # self-signed certificate in certificate chain
    20: Reason.WRONG_AUTHORITY,  # unable to get local issuer certificate
    21: Reason.WRONG_AUTHORITY,  # unable to verify the first certificate
    26: Reason.WRONG_USAGE,
}
_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "RECORD_LAYER_FAILURE", "BAD_RECORD_TYPE")
_DISTRUST = (
    "BAD_CERTIFICATE",
    "UNKNOWN_CA",
    "CERTIFICATE_UNKNOWN",
    "CERTIFICATE_EXPIRED",
    "UNSUPPORTED_CERTIFICATE",
)


@dataclass(frozen=True, slots=True)
class Refused:
    """One refused handshake."""

    reason: Reason
    because: str
    presented: bytes | None = None
    """The client's certificate (DER), as far as it came; not verified."""


class RefusedHandshakeError(ssl.SSLError):
    """A handshake was refused."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.because)
        self.refused = refused


class _Watched(ssl.SSLObject):
    """The server's end of one connection."""

    presented: bytes | None = None

    def do_handshake(self) -> None:
        """Go on with the handshake. Raises RefusedHandshakeError, and SSLWantReadError until more has come."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLSyscallError, ssl.SSLEOFError):
            raise
        except ssl.SSLError as error:
            raise RefusedHandshakeError(Refused(_reason(error), _because(error), self.presented)) from error


class WatchedContext(ssl.SSLContext):
    """A server's context whose refused handshakes raise RefusedHandshakeError. For TLS 1.3 only."""

    # Not of ssl's documented interface: where a Python lacks it, refusals do not show who was refused.
    _msg_callback: Callable[[object, str, object, int, object, bytes], None]

    def watch(self) -> None:
        """Begin: connections that are wrapped from now on are watched."""
        self.sslobject_class = _Watched
        self._msg_callback = _note


def _note(connection: object, direction: str, _version: object, kind: int, message: object, data: bytes) -> None:
    if direction == "read" and kind == _HANDSHAKE and message == _CERTIFICATE and isinstance(connection, _Watched):
        connection.presented = _first(data)


def _first(message: bytes) -> bytes | None:
    """Return the first certificate of a Certificate message of TLS 1.3 (RFC 8446, 4.4.2); None when it has none."""
    at = _HEADER
    at += 1 + int.from_bytes(message[at : at + 1])  # the request's context
    at += 3  # the length of the list
    size = int.from_bytes(message[at : at + 3])
    return message[at + 3 : at + 3 + size] or None


def _reason(error: ssl.SSLError) -> Reason:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY.get(error.verify_code, Reason.INVALID_CERTIFICATE)
    name = error.reason or ""
    if name == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return Reason.NO_CERTIFICATE
    if name in _NOT_TLS:
        return Reason.NOT_TLS
    if name == "UNSUPPORTED_PROTOCOL":
        return Reason.OLD_TLS
    if "ALERT" in name and name.endswith(_DISTRUST):
        return Reason.DISTRUSTS_US
    return Reason.OTHER_TLS


def _because(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or str(error) or type(error).__name__).replace("_", " ").lower()
