"""Durations, sizes, quantities and LSNs: how each is parsed and printed, once. Pure."""

import re
from decimal import Decimal

SECONDS_PER_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION_PATTERN = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$"
FACTOR_PER_SUFFIX = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:[eE]([+-]?[0-9]{1,3})|(n|u|m|k|[MGTPE]|[KMGTPE]i))?")


def parse_duration_s(text: str) -> float:
    """Return the seconds of ``500ms``, ``5s``, ``2m`` or ``1.5h``. Raises ValueError without a number and a unit."""
    match = re.fullmatch(DURATION_PATTERN, text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration: a number and one of {', '.join(SECONDS_PER_UNIT)}")
    unit = match.group(2)
    return float(text.removesuffix(unit)) * SECONDS_PER_UNIT[unit]


def duration_text(seconds: float) -> str:
    """Return a duration as people write it in files, and Istio and Prometheus read it: ``500ms``, ``90s``."""
    return f"{seconds * 1000:g}ms" if seconds < 1 else f"{seconds:g}s"


def duration_cell(seconds: float) -> str:
    """Return a duration for a table, in one or two units: ``340ms``, ``3.2s``, ``12m5s``, ``4h2m``, ``3d``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60}s"
    if whole < 48 * 3600:
        return f"{whole // 3600}h{whole % 3600 // 60}m"
    return f"{whole // 86400}d"


def size_text(size_bytes: float) -> str:
    """Return a size in binary units: ``0B``, ``4.0KiB``, ``1.2GiB``."""
    if size_bytes < 1024:
        return f"{size_bytes:.0f}B"
    for unit in ("KiB", "MiB", "GiB"):
        size_bytes /= 1024
        if size_bytes < 1024:
            return f"{size_bytes:.1f}{unit}"
    return f"{size_bytes / 1024:.1f}TiB"


def parse_quantity(text: str) -> Decimal:
    """Return a Kubernetes quantity in CPUs or bytes: ``250m``, ``1e3``, ``512Mi``. Raises ValueError."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity: a number, and a suffix for its scale")
    number, exponent, suffix = match.groups()
    scale = FACTOR_PER_SUFFIX[suffix or ""] if exponent is None else Decimal(10) ** int(exponent)
    return Decimal(number) * scale


def parse_lsn(text: str) -> int:
    """Return PostgreSQL's ``X/Y`` as an integer. Raises ValueError for other texts."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def lsn_text(lsn: int) -> str:
    """Return an LSN as PostgreSQL 18 prints it: ``0/4027700``, without leading zeros."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
