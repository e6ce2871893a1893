"""Return whether certificates are renewed in time, from what agents report to each other. Pure."""

from collections.abc import Mapping

from leeward.core.certificates import Certificate
from leeward.core.conditions.catalogue import condition
from leeward.core.conditions.values import Condition, Type
from leeward.core.values import Region

Known = Mapping[Region, tuple[Certificate, ...]]
DAY_S, HOUR_S = 86400.0, 3600.0


def judge(known: Known, now_unix_s: float) -> Condition:
    """Return the condition ``CertificatesValid``."""
    of = Type.CERTIFICATES_VALID
    every = [(each.not_after_unix_s - now_unix_s, region, each) for region, found in known.items() for each in found]
    left = sorted(every, key=lambda row: (row[0], row[1], row[2].name))
    if not left:
        return condition(of, "NotYetKnown", "no certificate has been checked yet")
    expired = [(left_s, region, each) for left_s, region, each in left if left_s <= 0]
    late = [(left_s, region, each) for left_s, region, each in left if left_s < each.late_s]
    if expired:
        return condition(of, "Expired", "; ".join(f"{region}: {each.name} has expired" for _, region, each in expired))
    if late:
        detail = "; ".join(f"{region}: {each.name} expires in {_span(left_s)}" for left_s, region, each in late)
        return condition(of, "RenewalOverdue", detail)
    left_s, region, first = left[0]
    return condition(of, "InTime", f"the first to expire is {first.name} of {region}, in {_span(left_s)}")


def _span(seconds: float) -> str:
    if seconds >= 2 * DAY_S:
        return f"{seconds / DAY_S:.0f} days"
    return f"{seconds / HOUR_S:.0f} h" if seconds >= 2 * HOUR_S else f"{seconds:.0f} s"
