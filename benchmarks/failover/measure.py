"""What was measured, and how it is shown. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from leeward.core.codec import DecodeError, decode
from leeward.drill.summary import Percentiles, percentiles


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One write a client was told is committed."""

    at_boot_s: float
    region: str
    """Whose PostgreSQL said so."""
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One region loss: seconds from the kill to the first write acknowledged elsewhere, or why there is none."""

    rto_write_s: float | None
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """All runs of one system."""

    name: str
    version: str
    settings: str
    runs: tuple[Run, ...] = ()
    rto_write_s: Percentiles = field(default_factory=Percentiles)
    min_s: float | None = None
    failed: int = 0
    """Runs that could not be measured; the percentiles are over the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Both sides of the benchmark, as it is printed in JSON."""

    benchmark: str
    region: str
    replication: str
    rtt_ms: dict[str, float]
    machine: str
    engines: str
    patroni: Side
    leeward: Side
    ratio_p50: float | None
    """How many times longer Patroni takes; None when a side was not measured."""
    ratio_p99: float | None


def side(name: str, version: str, settings: str, runs: Sequence[Run]) -> Side:
    """Return a side with its distribution."""
    measured = [run.rto_write_s for run in runs if run.rto_write_s is not None]
    return Side(
        name=name,
        version=version,
        settings=settings,
        runs=tuple(runs),
        rto_write_s=percentiles(measured),
        min_s=min(measured, default=None),
        failed=len(runs) - len(measured),
    )


def ratio(peer: float | None, ours: float | None) -> float | None:
    """Return peer / ours, when both were measured."""
    return None if peer is None or not ours else round(peer / ours, 2)


def acknowledged(lines: Iterable[bytes]) -> list[Acknowledged]:
    """Return what a client's file holds; a last line that a kill cut short is left out."""
    writes: list[Acknowledged] = []
    for line in lines:
        try:
            writes.append(decode(Acknowledged, line))
        except DecodeError:
            continue
    return writes


def first_elsewhere(writes: Iterable[Acknowledged], lost_region: str, killed_at_s: float) -> float | None:
    """Return seconds from the kill to the first write another region's PostgreSQL acknowledged."""
    after = [w.at_boot_s for w in writes if w.region != lost_region and w.at_boot_s > killed_at_s]
    return min(after) - killed_at_s if after else None


def table(comparison: Comparison) -> str:
    """Return both distributions, side by side, for people."""
    rows = [("", "Patroni", "Leeward", "ratio")]
    peer, ours = comparison.patroni, comparison.leeward
    lines: list[tuple[str, float | None, float | None]] = [
        ("min", peer.min_s, ours.min_s),
        ("p50", peer.rto_write_s.p50, ours.rto_write_s.p50),
        ("p99", peer.rto_write_s.p99, ours.rto_write_s.p99),
        ("max", peer.rto_write_s.max, ours.rto_write_s.max),
    ]
    rows += [(name, _seconds(a), _seconds(b), _times(ratio(a, b))) for name, a, b in lines]
    rows.append(("runs", str(len(peer.runs)), str(len(ours.runs)), ""))
    rows.append(("not measured", str(peer.failed), str(ours.failed), ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    body = "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in range(1, len(row)))]) for row in rows
    )
    return (
        f"Loss of {comparison.region} -> first write acknowledged elsewhere "
        f"({comparison.replication} replication)\n{body}\n"
        f"Patroni {peer.version}: {peer.settings}\nLeeward {ours.version}: {ours.settings}"
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} x"
