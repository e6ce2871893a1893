"""What a group of concerns exports, and the order in which an application's concerns are applied.

A concern of an application takes its objects so far and returns them with more. Most do not look at others'; one that
does states what it comes after. Pure.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from leeward.compile.kube.objects import KubeObject
from leeward.compile.site import Site
from leeward.spec.application import Application

ALL_OTHERS = "*"
"""In ``after``: every concern that does not come after this one itself."""

ApplyConcern = Callable[[Site, Application, list[KubeObject]], list[KubeObject]]
FleetConcerns = Mapping[str, Callable[[Site], list[KubeObject]]]
"""What a cluster gets whatever runs on it, by the name of its part. None sees the others: any order will do."""


@dataclass(frozen=True, slots=True)
class Concern:
    """One concern of an application."""

    name: str
    apply: ApplyConcern
    after: tuple[str, ...] = ()
    """Names of concerns whose objects it looks at or changes, or ``ALL_OTHERS``."""


def ordered(concerns: Iterable[Concern]) -> tuple[Concern, ...]:
    """Return the concerns in an order that each accepts; the same concerns always give the same order.

    Raises ValueError for a name that is used twice or that is unknown, and for concerns that wait for each other.
    """
    by_name: dict[str, Concern] = {}
    for concern in concerns:
        if concern.name in by_name:
            raise ValueError(f"two concerns are called {concern.name}")
        by_name[concern.name] = concern
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for concern in by_name.values():
        sorter.add(concern.name, *_before(concern, by_name))
    try:
        return tuple(by_name[name] for name in sorter.static_order())
    except CycleError as error:
        raise ValueError(f"these concerns depend on each other: {', '.join(error.args[1])}") from error


def _before(concern: Concern, by_name: Mapping[str, Concern]) -> list[str]:
    named = [name for name in concern.after if name != ALL_OTHERS]
    unknown = sorted(set(named) - by_name.keys())
    if unknown:
        raise ValueError(f"concern {concern.name} comes after unknown concerns: {', '.join(unknown)}")
    if ALL_OTHERS in concern.after:
        named += [other.name for other in by_name.values() if other is not concern and concern.name not in other.after]
    return named
