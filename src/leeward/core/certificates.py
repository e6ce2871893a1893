"""When certificates expire, and whether their renewal is overdue. Pure.

Their issuer renews them long before: the world's supervisor when half of their life is left, cert-manager when a
third is.
"""

from collections.abc import Iterable
from dataclasses import dataclass

LATE_SHARE = 0.25
"""When less of its life is left, a certificate should have been renewed."""
LATE_MAX_S = 30 * 86400.0
"""An authority's life is long: it is late when less than this is left, and no sooner."""
LOOK_EVERY_S = 60.0
LOOK_MIN_S = 0.5
LOOKS_PER_LIFE = 30


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate that a region shows or trusts."""

    name: str
    """Whose it is: ``agent``, ``store-client``, ``gateway``, ``instance-APP`` ..., and ``...-authority``."""
    not_before_unix_s: float
    not_after_unix_s: float

    @property
    def life_s(self) -> float:
        """Return for how long it is valid."""
        return self.not_after_unix_s - self.not_before_unix_s

    @property
    def late_s(self) -> float:
        """Return how much of its life is left when it is late."""
        return min(self.life_s * LATE_SHARE, LATE_MAX_S)


@dataclass(frozen=True, slots=True)
class RegionCertificates:
    """The certificates that an agent reports for its region."""

    certificates: tuple[Certificate, ...] = ()


def look_every_s(certificates: Iterable[Certificate]) -> float:
    """Return how often to look at them: often enough for the one with the shortest life."""
    return min([LOOK_EVERY_S, *(max(each.life_s / LOOKS_PER_LIFE, LOOK_MIN_S) for each in certificates)])
