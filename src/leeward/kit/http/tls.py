"""TLS with certificates that are renewed while a process runs, for clients and servers of ours."""

import ssl
from pathlib import Path

from leeward.core.identities import CA, CERTIFICATE, KEY
from leeward.kit.http.client_tls import OLDEST, client_context
from leeward.kit.http.handshakes import WatchedContext
from leeward.kit.http.tls_files import TlsFiles


def client(directory: Path, authority: str = CA, oldest: ssl.TLSVersion = OLDEST) -> TlsFiles:
    """Return the TLS context of ``client_context`` for a process that goes on. Raises OSError."""

    return TlsFiles(lambda: client_context(directory, authority, oldest), directory, (authority, CERTIFICATE, KEY))


def server(directory: Path) -> TlsFiles:
    """Return a server's TLS context that requires client certificates of a directory's authority. Raises OSError."""

    def make() -> ssl.SSLContext:
        context = WatchedContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_verify_locations(directory / CA)
        context.minimum_version = OLDEST
        context.load_cert_chain(directory / CERTIFICATE, directory / KEY)
        context.verify_mode = ssl.CERT_REQUIRED
        context.watch()
        return context

    return TlsFiles(make, directory, (CA, CERTIFICATE, KEY))
