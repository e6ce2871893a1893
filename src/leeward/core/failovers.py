"""The last failover of an application and where its time went, out of the decision log. Pure.

The stages lie between records of several machines: they are as exact as those machines' clocks agree.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from leeward.core.values import App, Record, Region

DETECTED, ELECTED, PROMOTED, ROUTED = "detected", "elected", "promoted", "routed"
STAGES = (DETECTED, ELECTED, PROMOTED, ROUTED)


@dataclass(frozen=True, slots=True)
class Failover:
    """One failover; a stage that has not ended, or was not measured, is missing."""

    epoch: int
    at_unix_s: float
    """When the primary was given up."""
    to: Region | None
    """The region that accepts writes since then; None while no region does."""
    because: str
    """Why the primary was given up."""
    stages_s: Mapping[str, float]
    """detected: since the old primary's last sign of life. elected, promoted: since the stage before. routed: from the
    promotion until the gateway of the reporting region sent writes there."""


def last(records: Iterable[Record], app: App, me: Region) -> Failover | None:
    """Return an application's last failover as seen by region ``me``; None when none is on record."""
    by_epoch: dict[int, list[Record]] = {}
    for record in records:
        if record.app == app:
            by_epoch.setdefault(record.epoch, []).append(record)
    return next(_latest_first(by_epoch, me), None)


def gap_s(records: Iterable[Record], app: App, epoch: int, me: Region) -> float | None:
    """Return how long the failover under an epoch kept writes from being accepted; None when that is not on record.

    From the last sign of life of the old primary until the new one accepted writes.
    """
    of_epoch = {epoch: [record for record in records if record.app == app and record.epoch == epoch]}
    found = next(_latest_first(of_epoch, me), None)
    if found is None or found.to is None:
        return None
    return sum(took_s for stage, took_s in found.stages_s.items() if stage != ROUTED)


def _latest_first(by_epoch: Mapping[int, list[Record]], me: Region) -> Iterator[Failover]:
    """Yield every failover, the last one first."""
    for epoch in sorted(by_epoch, reverse=True):
        kinds = {record.kind: record for record in by_epoch[epoch] if record.kind != "PrimaryRouted"}
        lost = kinds.get("PrimaryLost")
        if lost is None:
            continue
        elected, promoted = kinds.get("PrimaryElected"), kinds.get("PrimaryPromoted")
        own = (record for record in by_epoch[epoch] if record.kind == "PrimaryRouted" and record.region == me)
        routed = next(own, None)
        stages = {DETECTED: lost.took_s} if lost.took_s is not None else {}
        for stage, begun, ended in (
            (ELECTED, lost, elected),
            (PROMOTED, elected, promoted),
            (ROUTED, promoted, routed),
        ):
            if begun is not None and ended is not None:
                stages[stage] = max(0.0, ended.at_unix_s - begun.at_unix_s)
        yield Failover(epoch, lost.at_unix_s, promoted.region if promoted else None, lost.because, stages)
