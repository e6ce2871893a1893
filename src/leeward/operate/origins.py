"""Where values come from: default, application, environment, override, patch; by cluster."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leeward.base.suggestions import suggestion
from leeward.compile.app.overrides import overrides
from leeward.compile.cluster import APPLICATION_CONCERNS, compile_parts
from leeward.compile.regional import compile_application
from leeward.compile.site import all_clusters, site_of
from leeward.compile.target import Images
from leeward.operate.outcome import OperationError
from leeward.operate.problems import which_application
from leeward.operate.trees import Files, check_cluster
from leeward.spec import Problem, Spec
from leeward.spec.application import Application
from leeward.spec.load import documents_of
from leeward.spec.source import Document, Place
from leeward.spec.variants import layers, variant, written
from leeward.world.objects import engine_commands

MISSING = object()
NOWHERE = "not on this cluster"
STEP = re.compile(r"([^.\[\]]+)|\[([^\]]+)\]")


@dataclass(frozen=True, slots=True)
class Origin:
    """A field's value on one cluster, and what set it."""

    cluster: str
    value: str
    set_by: str


def explain(files: Files, directory: Path, field: str, app: str | None, cluster: str | None) -> list[Origin]:
    """Return a field's value on every cluster of the application, or on one. Raises OperationError."""
    spec, others = files.spec, files.foreign
    if cluster is not None:
        check_cluster(spec, cluster)
    chosen = _chosen(spec, app)
    (document,) = (
        each
        for each in documents_of(directory)[0]
        if each.data.get("kind") == "Application" and each.data["metadata"]["name"] == chosen.metadata.name
    )
    kind, slash, rest = field.partition("/")
    found = []
    for region, each in all_clusters(spec):
        if cluster not in (None, each.name) or region.name not in spec.placement(chosen):
            continue
        if slash:
            name, _, path = rest.partition(".")
            value, origin = _of_object(spec, chosen, each.name, kind, name, path, others)
        else:
            value, origin = _of_spec(chosen, document, each.environment, region.name, each.name, field)
        found.append(Origin(each.name, value, origin))
    if found and all(each.set_by is NOWHERE for each in found):
        raise OperationError(_no_object(spec, others, field))
    return found


def _chosen(spec: Spec, app: str | None) -> Application:
    names = [each.metadata.name for each in spec.applications]
    if app is None and len(names) == 1:
        return spec.applications[0]
    if app in names:
        return spec.application(app)
    raise which_application(app, names, where="--app", why="a field belongs to one application", usage="--app ")


def _of_spec(
    application: Application, document: Document, environment: str | None, region: str, cluster: str, field: str
) -> tuple[str, str]:
    """Return a field's value on a cluster, and the last that set it. Raises OperationError for an unknown field."""
    steps = [one or other for one, other in STEP.findall(field)]
    whole = variant(application, environment=environment, region=region, cluster=cluster)
    value = _found(whole.model_dump(mode="json", by_alias=True), steps)
    if value is MISSING:
        raise OperationError(_unknown(field, "see docs/reference/spec.md, or leeward schema application"))
    origin = "default"
    if _found(written(application), steps) is not MISSING:
        origin = f"application, {document.where(_place(steps))}"
    for layer in layers(application, environment=environment, region=region, cluster=cluster):
        inner = _found({"spec": dict(layer.spec)}, steps)
        if inner is not MISSING and inner is not None:
            origin = f"{layer.origin}, {document.where((*layer.place, *_place(steps)[1:]))}"
        elif inner is None:
            origin = f"default, restored by {layer.origin}"
    return _shown(value), origin


def _of_object(
    spec: Spec,
    application: Application,
    cluster: str,
    kind: str,
    name: str,
    path: str,
    others: Sequence[Mapping[str, Any]],
) -> tuple[str, str]:
    """Return a field of a compiled object on a cluster, and whether a patch set it."""
    steps = [one or other for one, other in STEP.findall(path)]
    for part in compile_parts(spec, cluster, engines=engine_commands(), foreign=others):
        for item in part.objects:
            if (item["kind"], item["metadata"]["name"]) != (kind, name):
                continue
            value = _found(item, steps)
            before = _found(_unpatched(spec, application, cluster, kind, name), steps)
            patched = value is not before and value != before
            origin = "patch in overrides" if patched else f"compiled ({part.kind}/{part.name})"
            if value is MISSING:
                return "-", f"left out ({part.kind}/{part.name})" if not patched else origin
            return _shown(value), origin
    return "-", NOWHERE


def _unpatched(spec: Spec, application: Application, cluster: str, kind: str, name: str) -> dict[str, Any]:
    """Return an application's object without the overrides' patches; empty for any other object."""
    site = site_of(spec, cluster, engines=engine_commands(), images=Images())
    here = site.spec.application(application.metadata.name)
    items = compile_application(site.spec, here, site.region.name, site.target, home=site.home)
    for concern in APPLICATION_CONCERNS:
        if concern.apply is not overrides:
            items = concern.apply(site, here, items)
    return next((each for each in items if (each["kind"], each["metadata"]["name"]) == (kind, name)), {})


def _found(data: Any, steps: list[str]) -> Any:
    for step in steps:
        if isinstance(data, dict) and step in data:
            data = data[step]
        elif isinstance(data, list) and step.isdecimal() and int(step) < len(data):
            data = data[int(step)]
        elif isinstance(data, list):
            data = next((each for each in data if isinstance(each, dict) and each.get("name") == step), MISSING)
        else:
            return MISSING
    return data


def _place(steps: list[str]) -> Place:
    return tuple(int(step) if step.isdecimal() else step for step in steps)


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "-" if value is None else str(value)


def _no_object(spec: Spec, others: Sequence[Mapping[str, Any]], field: str) -> Problem:
    names = {
        f"{item['kind']}/{item['metadata']['name']}"
        for _, cluster in all_clusters(spec)
        for part in compile_parts(spec, cluster.name, engines=engine_commands(), foreign=others)
        for item in part.objects
    }
    kind, _, rest = field.partition("/")
    wanted = f"{kind}/{rest.partition('.')[0]}"
    same = sorted(name for name in names if name.startswith(f"{kind}/"))
    kinds = sorted({name.partition("/")[0] for name in names})
    return Problem(
        code="unknown-object",
        where=field,
        what=f"no cluster has a {wanted}",
        why=f"known objects: {', '.join(same)}" if same else f"unknown kind {kind}; known kinds: {', '.join(kinds)}",
        fix=suggestion(wanted, sorted(names)) if same else suggestion(kind, kinds),
    )


def _unknown(field: str, fix: str) -> Problem:
    return Problem(
        code="unknown-field",
        where=field,
        what=f"an application has no field {field}",
        why="fields are written with dots, from spec on: spec.service.replicas",
        fix=fix,
    )
