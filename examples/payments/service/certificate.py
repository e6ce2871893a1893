"""Whether this pod's certificate may be used now."""

from dataclasses import dataclass
from pathlib import Path

# Less of its life left: whoever renews it should have done so.
LATE_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Certificate:
    """When it ends (seconds from now, None when unreadable), and what is wrong with it."""

    expires_in_s: float | None
    reasons: tuple[str, ...]


def inspect(identity_dir: Path, now_unix_s: float) -> Certificate:
    """Read ``tls.crt`` of the directory as it is now: it may be renewed while we run."""
    # Imported here: 8 MB that only who asks for this pays.
    from cryptography import x509

    path = identity_dir / "tls.crt"
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        return Certificate(None, (f"certificate {path}: {error}",))
    begins_in_s = certificate.not_valid_before_utc.timestamp() - now_unix_s
    expires_in_s = certificate.not_valid_after_utc.timestamp() - now_unix_s
    reasons = list[str]()
    if begins_in_s > 0:
        reasons.append(f"certificate {path} is not valid for another {begins_in_s:.0f} s")
    if expires_in_s <= 0:
        reasons.append(f"certificate {path} expired {-expires_in_s:.0f} s ago")
    elif expires_in_s <= LATE_SHARE * (expires_in_s - begins_in_s):
        reasons.append(f"certificate {path} expires in {expires_in_s / 3600:.1f} h: renew it")
    return Certificate(expires_in_s, tuple(reasons))
