"""The last drill of each application of a world, kept in the world's directory for ``leeward status``."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from leeward.core.codec import DecodeError, from_plain

FILE = "drills.json"


@dataclass(frozen=True, slots=True)
class Standing:
    """How the last drill of an application ended."""

    drill: str
    replication: str
    verdict: str
    """passed, failed or inconclusive."""
    at_unix_s: float


def recorded(directory: Path) -> dict[str, Standing]:
    """Return the last drill of each application."""
    try:
        found = json.loads((directory / FILE).read_text())
        return {app: from_plain(Standing, raw) for app, raw in found.items()}
    except (OSError, ValueError, AttributeError, DecodeError):  # none yet, or damaged: it is only for show
        return {}


def record(directory: Path, app: str, standing: Standing) -> None:
    """Keep how a drill ended; a world that has gone meanwhile needs no record."""
    known = {name: asdict(each) for name, each in recorded(directory).items()} | {app: asdict(standing)}
    fresh = directory / f"{FILE}.new"
    try:
        fresh.write_text(json.dumps(known))
        fresh.replace(directory / FILE)
    except OSError:
        return
