"""Orphaned writes of deposed primaries, as the fleet reports them after a run, and as their files list them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from leeward.core.values import App, Heartbeat, Orphans, Region


@dataclass(frozen=True, slots=True)
class OrphansFound:
    """The orphaned writes of one run."""

    transactions: int
    keys: frozenset[str] | None
    """The payments among the rows; None when a file cannot be read from here."""


NO_ORPHANS = OrphansFound(0, frozenset())


def reported(heartbeats: Mapping[Region, Heartbeat], app: App, *, from_epoch: int) -> tuple[Orphans, ...]:
    """Return the reports of writes made under this epoch or a later one."""
    reports = (heartbeat.apps.get(app) for heartbeat in heartbeats.values())
    return tuple(
        orphans for report in reports if report is not None for orphans in report.orphans if orphans.epoch >= from_epoch
    )


def found(reports: tuple[Orphans, ...], prefix: str) -> OrphansFound:
    """Combine the reports, with the keys in their files that start with the prefix."""
    transactions = sum(orphans.transactions for orphans in reports)
    try:
        keys = frozenset(key for orphans in reports for key in _keys(Path(orphans.path), prefix))
    except OSError:
        return OrphansFound(transactions, None)
    return OrphansFound(transactions, keys)


def _keys(path: Path, prefix: str) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        row: dict[str, object] = json.loads(line).get("row", {})
        yield from (value for value in row.values() if isinstance(value, str) and value.startswith(prefix))
