"""Differences: what an environment, a region or a cluster has otherwise than the rest."""

from typing import Annotated, Any

from pydantic import Field

from leeward.spec.values import Model, Name


class Target(Model):
    """Which compiled objects a patch is for."""

    kind: Annotated[str, Field(min_length=1)]
    """Their kind, such as Deployment."""
    name: str | None = None
    """Their name. Left out: all of that kind."""


class Operation(Model):
    """One step of a JSON patch (RFC 6902)."""

    op: Annotated[str, Field(pattern="^(add|remove|replace|move|copy|test)$")]
    """What to do."""
    path: Annotated[str, Field(pattern="^(/.*)?$")]
    """Where, as a JSON pointer."""
    source: Annotated[str | None, Field(alias="from", pattern="^(/.*)?$")] = None
    """From where, for move and copy."""
    value: Any = None
    """What to add, replace with, or expect."""


class Patch(Model):
    """A change of compiled objects: a strategic merge, as ``kubectl patch`` does it, or a JSON patch."""

    target: Target
    """Which objects."""
    merge: dict[str, Any] | None = None
    """A part of the object; lists with names merge by name, null removes."""
    json_patch: Annotated[tuple[Operation, ...], Field(alias="json")] = ()
    """Steps in order."""


class Environment(Model):
    """A named variety of the application, such as production. A cluster runs one."""

    name: Name
    """Unique in the application."""
    namespace: Name | None = None
    """Its own namespace. Left out: the application's."""
    spec: Annotated[dict[str, Any], Field(default_factory=dict)]
    """What differs there: keys of the application's spec, merged into it; lists are replaced, null removes."""


class Override(Model):
    """What differs in some regions or clusters."""

    regions: tuple[Name, ...] = ()
    """Where. With no clusters and no regions: everywhere."""
    clusters: tuple[Name, ...] = ()
    """Where, more exactly."""
    spec: Annotated[dict[str, Any], Field(default_factory=dict)]
    """Keys of the application's spec, merged into it. Not objectives, placement, database: those hold everywhere."""
    patches: tuple[Patch, ...] = ()
    """Changes of compiled objects, for what the spec does not cover."""
