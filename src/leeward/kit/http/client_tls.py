"""The TLS contexts of clients that end before their certificates do. Imports little: commands wait for it."""

import ssl
from pathlib import Path

from leeward.core.identities import CA, CERTIFICATE, KEY

OLDEST = ssl.TLSVersion.TLSv1_3
"""Both ends are ours."""


def client_context(directory: Path, authority: str = CA, oldest: ssl.TLSVersion = OLDEST) -> ssl.SSLContext:
    """Return a client's TLS context: a directory's certificate, and the only authority trusted, in one of its files.

    ``oldest``: for servers that are not ours. Raises OSError (ssl.SSLError is one).
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(directory / authority))
    context.minimum_version = oldest
    context.load_cert_chain(directory / CERTIFICATE, directory / KEY)
    return context


def inspector(directory: Path | None) -> ssl.SSLContext:
    """Return the TLS context of a client that only looks at a server's certificate: it accepts any, and sends nothing.

    ``directory``: holds the certificate to show, where the server asks for one. Raises OSError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    if directory is not None:
        context.load_cert_chain(directory / CERTIFICATE, directory / KEY)
    return context
