"""Certificates for tests: an authority that trustme makes, and what it signs, in the files that Leeward reads."""

import asyncio
import ssl
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import trustme
from cryptography import x509

from leeward.core.identities import CA, CERTIFICATE, KEY


class Authority:
    """Signs certificates, each for a server at 127.0.0.1 and for a client."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def issue(
        self,
        name: str,
        directory: Path,
        *,
        organization: str | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Path:
        """Write ca.crt, tls.crt and tls.key for ``name`` into a new directory; return it.

        To Kubernetes, the organization is the group of the user of this name.
        """
        directory.mkdir(parents=True)
        issued = self._ca.issue_cert(
            name,
            "127.0.0.1",
            common_name=name,
            organization_name=organization,
            not_before=not_before,
            not_after=not_after,
        )
        self._ca.cert_pem.write_to_path(directory / CA)
        issued.cert_chain_pems[0].write_to_path(directory / CERTIFICATE)
        issued.private_key_pem.write_to_path(directory / KEY)
        return directory


def issue_each(directory: Path, names: Iterable[str]) -> None:
    """Write DIRECTORY/NAME/{ca.crt,tls.crt,tls.key} for each name, all of one authority."""
    authority = Authority()
    for name in names:
        authority.issue(name, directory / name)


def serial(path: Path) -> int:
    """Return the serial number of the certificate in a file."""
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


async def shown(host: str, port: int, context: ssl.SSLContext, *, server_hostname: str | None = None) -> int:
    """Return the serial number of what a server shows in a new handshake."""
    _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=server_hostname)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(found).serial_number
