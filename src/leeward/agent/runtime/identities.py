"""What the agent proves itself with: one identity towards the fleet, another one towards the quorum store."""

from pathlib import Path

from cryptography import x509

from leeward.core.identities import CA


class SharedAuthorityError(Exception):
    """Two purposes have one authority: then each certificate of the one is accepted for the other."""


def check(fleet: Path, store: Path) -> None:
    """Raise SharedAuthorityError unless the fleet and the store have authorities of their own. Raises OSError."""
    if _keys(fleet) & _keys(store):
        raise SharedAuthorityError(
            f"{fleet / CA} and {store / CA} are the same authority: then every certificate of the fleet opens the"
            " quorum store. Issue certificates by purpose, as docs/decisions/0024-identities-by-purpose.md lists them"
        )


def _keys(directory: Path) -> set[bytes]:
    """Return a digest of each authority's key: one key may have several certificates."""
    found = x509.load_pem_x509_certificates((directory / CA).read_bytes())
    return {x509.SubjectKeyIdentifier.from_public_key(each.public_key()).digest for each in found}
