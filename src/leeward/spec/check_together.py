"""What applications of one fleet may not have in common, and how many there may be."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

from leeward.base.problem import Problem
from leeward.spec.application import Application, Engine
from leeward.spec.check_names import check_public_names
from leeward.spec.fleet import Fleet
from leeward.spec.loaded import Loaded
from leeward.spec.source import Place
from leeward.spec.spec import DATABASES_MAX
from leeward.spec.variants import environment_of

K = TypeVar("K", bound=Hashable)


def check_together(applications: Sequence[Loaded[Application]], fleet: Fleet) -> list[Problem]:
    """Return where applications are in each other's way. Those of one name are reported elsewhere."""
    by_name = {each.model.metadata.name: each for each in reversed(applications)}
    unique = [each for each in applications if by_name[each.model.metadata.name] is each]
    return [*_namespaces(unique, fleet), *check_public_names(unique, fleet), *_databases(unique)]


def _namespaces(applications: Sequence[Loaded[Application]], fleet: Fleet) -> Iterator[Problem]:
    clusters = [cluster.environment for region in fleet.spec.regions for cluster in region.clusters]

    def found(application: Loaded[Application]) -> Iterator[tuple[tuple[str | None, str], Place]]:
        model = application.model
        for environment in dict.fromkeys(clusters or [None]):
            chosen = environment_of(model, environment)
            if chosen is not None and chosen.namespace is not None:
                place: Place = ("spec", "environments", model.spec.environments.index(chosen), "namespace")
                yield (environment, chosen.namespace), place
            else:
                stated = model.spec.namespace is not None
                yield (environment, model.namespace), ("spec", "namespace") if stated else ("metadata", "name")

    for application, other, (_, namespace), place in _shared(applications, found):
        yield application.problem(
            "shared-namespace",
            *place,
            what=f"{application.model.metadata.name} and {other.model.metadata.name} are both in namespace {namespace}",
            why="what is in a namespace is for all of it: secrets, roles, network policies",
            fix="leave namespace out, or give one of them another",
        )


def _databases(applications: Sequence[Loaded[Application]]) -> Iterator[Problem]:
    with_database = [each for each in applications if each.model.spec.database.engine is Engine.POSTGRES]
    for application in with_database[DATABASES_MAX : DATABASES_MAX + 1]:
        yield application.problem(
            "too-many-databases",
            "metadata",
            "name",
            what=f"the fleet's applications have {len(with_database)} databases, and it can have {DATABASES_MAX}",
            why="each has ports of its own on every gateway",
            fix="put some of the applications into another fleet",
        )


def _shared(
    applications: Iterable[Loaded[Application]], found: Callable[[Loaded[Application]], Iterator[tuple[K, Place]]]
) -> Iterator[tuple[Loaded[Application], Loaded[Application], K, Place]]:
    """Yield each application that has something an earlier one has: both, what it is, and where it says so; once."""
    first: dict[K, Loaded[Application]] = {}
    for application in applications:
        for value, place in found(application):
            other = first.setdefault(value, application)
            if other is not application:
                yield application, other, value, place
                break
