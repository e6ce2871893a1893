"""The authorities of a world's purposes on disk, and the stages in which one is exchanged for another. No process here.

An exchange has three stages, so that no process ever shows a certificate that another one does not trust yet:

1. announced: the old authority issues, both are trusted;
2. switched: the new one issues, both are trusted;
3. removed: the new one issues, and is the only one trusted.

Always true: one file says at which stage each purpose is, and is replaced in one step. The keys that a stage issues
with are complete before it begins, so whoever is interrupted repeats the same step.
"""

import datetime
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from leeward.core.identities import Purpose
from leeward.world import manifests
from leeward.world.authority import Authority, KeyPair

DIRECTORY = "authorities"
"""The directory of the authorities' certificates and keys: PURPOSE.crt and PURPOSE.key."""
PURPOSES = tuple(Purpose)
STAGES = "stages.json"
NEXT = "next"
"""PURPOSE.next.crt and PURPOSE.next.key: what takes the place of the authority."""


class Stage(StrEnum):
    """How far the exchange of an authority is."""

    ANNOUNCED = "announced"
    SWITCHED = "switched"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Authorities:
    """The authorities of one purpose at this moment."""

    issuing: KeyPair
    trusted: tuple[str, ...]
    """Certificates of all authorities that its servers and clients accept now, the issuing one first."""
    known: frozenset[str]
    """Also those that they must no longer accept."""

    @property
    def bundle(self) -> str:
        """What files hold that say which authorities to trust."""
        return "".join(self.trusted)


def of_purpose(files: Mapping[str, str], name: str) -> Authorities:
    """Return the authorities of a purpose, from the files of the directory. Raises KeyError, ValueError."""
    old = KeyPair(files[f"{name}.crt"], files[f"{name}.key"])
    stage = stages(files).get(name)
    if stage is None:
        return Authorities(old, (old.certificate,), frozenset({old.certificate}))
    new = KeyPair(files[f"{name}.{NEXT}.crt"], files[f"{name}.{NEXT}.key"])
    known = frozenset({old.certificate, new.certificate})
    match stage:
        case Stage.ANNOUNCED:
            return Authorities(old, (old.certificate, new.certificate), known)
        case Stage.SWITCHED:
            return Authorities(new, (new.certificate, old.certificate), known)
        case Stage.REMOVED:
            return Authorities(new, (new.certificate,), known)


def stages(files: Mapping[str, str]) -> dict[str, Stage]:
    """Return the purposes whose authority is being exchanged. Raises ValueError."""
    return {name: Stage(stage) for name, stage in json.loads(files.get(STAGES, "{}")).items()}


def read(folder: Path) -> dict[str, str]:
    """Return the files of the directory. Raises OSError."""
    found = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith("."))
    return {path.name: path.read_text("utf-8") for path in found}


def announce(folder: Path, fleet: str, names: Iterable[str], now: datetime.datetime) -> None:
    """Make a new authority for each purpose that is not being exchanged, to be trusted beside the old one.

    Raises OSError, ValueError.
    """
    before = stages(read(folder))
    fresh = [name for name in names if name not in before]
    for name in fresh:
        made = Authority.create(authority_name(fleet, name, now), now)
        manifests.replace(folder / f"{name}.{NEXT}.key", made.key)
        manifests.replace(folder / f"{name}.{NEXT}.crt", made.certificate)
    _put(folder, {**before, **dict.fromkeys(fresh, Stage.ANNOUNCED)})


def advance(folder: Path, stage: Stage) -> None:
    """Bring each purpose that is being exchanged to a stage, unless it is beyond. Raises OSError, ValueError."""
    order = list(Stage)
    before = stages(read(folder))
    _put(folder, {name: max(each, stage, key=order.index) for name, each in before.items()})


def finish(folder: Path) -> None:
    """End the exchange of each purpose whose old authority was removed. Raises OSError, ValueError."""
    files = read(folder)
    before = stages(files)
    done = [name for name, stage in before.items() if stage is Stage.REMOVED]
    for name in done:
        for kind in ("key", "crt"):
            manifests.replace(folder / f"{name}.{kind}", files[f"{name}.{NEXT}.{kind}"])
    _put(folder, {name: stage for name, stage in before.items() if name not in done})
    for name in done:
        for kind in ("key", "crt"):
            (folder / f"{name}.{NEXT}.{kind}").unlink(missing_ok=True)


def authority_name(fleet: str, name: str, now: datetime.datetime) -> str:
    """Return the name in an authority's certificate. It has the time: two that are trusted at once differ."""
    return f"{fleet} {name.replace('_', ' ')} CA {now:%Y-%m-%dT%H:%M:%SZ}"


def _put(folder: Path, found: Mapping[str, Stage]) -> None:
    manifests.replace(folder / STAGES, json.dumps(found))
