"""mTLS from an identity directory: ``ca.crt``, ``tls.crt``, ``tls.key``."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OPERATOR = "operator"


def server_context(directory: Path) -> ssl.SSLContext:
    """Return a context that serves only holders of a certificate of the fleet's CA. Raises OSError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(directory / "ca.crt"))
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(directory: Path) -> ssl.SSLContext:
    """Return a context that shows our certificate and trusts the fleet's CA only. Raises OSError."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(directory / "ca.crt"))
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    return context


def common_name(certificate: Mapping[str, Any] | None) -> str | None:
    """Return the CN of a peer's certificate, as ``SSLSocket.getpeercert`` gives it; None without one."""
    if not certificate:
        return None
    for relative_name in certificate.get("subject", ()):
        for key, value in relative_name:
            if key == "commonName":
                return str(value)
    return None
