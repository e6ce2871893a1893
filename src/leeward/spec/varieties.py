"""Everything an application becomes somewhere: each environment, and each cluster's with its overrides on top.

Each variety stands in a document whose positions are those of the layer that set the value last: a problem is
shown where it was written.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from leeward.base.problem import Problem
from leeward.spec.application import Application
from leeward.spec.fleet import Fleet
from leeward.spec.loaded import Loaded
from leeward.spec.source import Document, Place, Position
from leeward.spec.spec import placement
from leeward.spec.validate import validate
from leeward.spec.variants import Layer, layers, merged, written


@dataclass(frozen=True, slots=True)
class Variety:
    """One of them."""

    origin: str
    """Which, in words: ``environment production and override of japaneast``."""
    loaded: Loaded[Application] | None
    """None where its layers together make no application."""
    problems: Sequence[Problem]
    """Why not."""


def varieties(application: Loaded[Application], fleet: Fleet) -> Iterator[Variety]:
    """Yield every variety once; none where nothing differs anywhere."""
    model, seen = application.model, set[tuple[Place, ...]]()
    environments = [each.name for each in model.spec.environments]
    found = [list(layers(model, environment=name, region=None, cluster=None))[:1] for name in environments]
    placed = placement(fleet, model)
    for region in (region for region in fleet.spec.regions if region.name in placed):
        named = [(cluster.name, cluster.environment) for cluster in region.clusters] or [(region.name, None)]
        found += [
            list(layers(model, environment=environment, region=region.name, cluster=cluster))
            for cluster, environment in named
        ]
    for changes in found:
        key = tuple(layer.place for layer in changes)
        if key and key not in seen:
            seen.add(key)
            yield _variety(application, changes)


def _variety(application: Loaded[Application], changes: Sequence[Layer]) -> Variety:
    document = application.document
    plain, keys, values = written(application.model), dict(document.keys), dict(document.values)
    for layer in changes:
        plain["spec"] = merged(plain["spec"], layer.spec)
        keys.update(_moved(document.keys, layer.place))
        values.update(_moved(document.values, layer.place))
    shifted = Document(document.file, plain, keys, values)
    model, problems = validate(shifted, Application)
    origin = " and ".join(layer.origin for layer in changes)
    return Variety(origin, None if model is None else Loaded(model, shifted), problems)


def _moved(positions: Mapping[Place, Position], place: Place) -> Iterator[tuple[Place, Position]]:
    """Yield the positions inside a layer as if they stood in the application's own spec."""
    for key, position in positions.items():
        if len(key) > len(place) and key[: len(place)] == place:
            yield ("spec", *key[len(place) :]), position
