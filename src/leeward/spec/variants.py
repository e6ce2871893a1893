"""An application as one place runs it: its environment's keys merged in, then the overrides of region and cluster.

Merging: mappings key by key, lists and everything else replaced, null removes a key, so that the default counts.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from leeward.spec.application import Application
from leeward.spec.overrides import Environment, Override

Plain = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Layer:
    """One source of values, the later the stronger."""

    origin: str
    """In words: ``environment production``, ``override of japaneast``."""
    place: tuple[str | int, ...]
    """Where in the application's document its keys stand."""
    spec: Mapping[str, Any]


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> Plain:
    """Return base with the change in it."""
    result = dict(base)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            inner = result.get(key)
            result[key] = merged(inner if isinstance(inner, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def environment_of(application: Application, wanted: str | None) -> Environment | None:
    """Return the environment a cluster runs: the one it names, else the first; None where there is none."""
    environments = application.spec.environments
    for environment in environments:
        if environment.name == wanted:
            return environment
    return environments[0] if environments and wanted is None else None


def applies(override: Override, region: str | None, cluster: str | None) -> bool:
    """Return whether an override is for this place."""
    if not override.regions and not override.clusters:
        return True
    return region in override.regions or cluster in override.clusters


def layers(
    application: Application, *, environment: str | None, region: str | None, cluster: str | None
) -> Iterator[Layer]:
    """Yield what is merged into the application there, in order."""
    chosen = environment_of(application, environment)
    if chosen is not None:
        index = application.spec.environments.index(chosen)
        spec = {**chosen.spec, **({"namespace": chosen.namespace} if chosen.namespace else {})}
        yield Layer(f"environment {chosen.name}", ("spec", "environments", index, "spec"), spec)
    for index, override in enumerate(application.spec.overrides):
        if override.spec and applies(override, region, cluster):
            who = ", ".join((*override.regions, *override.clusters)) or "every region"
            yield Layer(f"override of {who}", ("spec", "overrides", index, "spec"), override.spec)


def variant(
    application: Application, *, environment: str | None = None, region: str | None = None, cluster: str | None = None
) -> Application:
    """Return the application as that place runs it. Raises pydantic's ValidationError for values that cannot be."""
    changes = list(layers(application, environment=environment, region=region, cluster=cluster))
    if not changes:
        return application
    plain = written(application)
    for layer in changes:
        plain["spec"] = merged(plain["spec"], layer.spec)
    return Application.model_validate_json(json.dumps(plain))


def written(application: Application) -> Plain:
    """Return the application as its file has it, without defaults."""
    plain: Plain = application.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return plain
