"""What a certificate that a refused client presented says of its owner, for a log. Nothing of it was verified.

Imported with the first refusal: a server that refuses no one, such as a world's API server, needs no X.509 (8 MiB).
"""

from cryptography import x509
from cryptography.x509.oid import NameOID

from leeward.kit.http.questions import shown

_UNREADABLE = (ValueError, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)
NAMES_MAX = 4
"""How many names of a kind are shown."""


def names_of(certificate: bytes | None) -> dict[str, str]:
    """Return what a certificate that was not verified says, for a log: ``subject``, ``uris``, ``issuer``."""
    if certificate is None:
        return {}
    try:
        found = x509.load_der_x509_certificate(certificate)
        uris = ", ".join(map(shown, _uris(found)[:NAMES_MAX]))
        names = {"subject": _common(found.subject), "issuer": _common(found.issuer), "uris": uris}
    except _UNREADABLE:
        return {"subject": "unreadable"}
    return {key: value for key, value in names.items() if value}


def _common(name: x509.Name) -> str:
    return ", ".join(shown(str(each.value)) for each in name.get_attributes_for_oid(NameOID.COMMON_NAME)[:NAMES_MAX])


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)
