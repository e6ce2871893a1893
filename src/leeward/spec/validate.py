"""Check one document against its kind's model, and report each problem with its fix."""

import json
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from leeward.base.problem import Problem
from leeward.base.suggestions import suggestion
from leeward.spec.source import Document, Place
from leeward.spec.values import Model, shown

TYPE_WORDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "finite_number": "a finite number",
}


def validate(document: Document, model: type[Model]) -> tuple[Any, list[Problem]]:
    """Return the document as an instance of the model, or None and everything that is wrong with it."""
    try:
        # Strict JSON mode: lists may become tuples and text enums; nothing else is converted.
        return model.model_validate_json(json.dumps(document.data)), []
    except ValidationError as error:
        return None, [_problem(document, model, detail) for detail in error.errors(include_url=False)]


def _problem(document: Document, model: type[Model], detail: ErrorDetails) -> Problem:
    location = tuple(detail["loc"])
    is_key = location[-1:] == ("[key]",)
    place = location[:-1] if is_key else location
    name = _written(place) or "the document"
    given = detail["input"]
    context: Mapping[str, Any] = detail.get("ctx", {})
    match detail["type"]:
        case "leeward":
            return Problem(
                code=context["code"],
                where=document.where(place, key=is_key),
                what=f"{name}: {context['what']}",
                why=context["why"],
                fix=context["fix"],
            )
        case "extra_forbidden":
            return Problem(
                code="unknown-key",
                where=document.where(place, key=True),
                what=f"{name} is not a key Leeward knows",
                why="a misspelt key would otherwise be ignored silently",
                fix=suggestion(str(place[-1]), _keys(model, place[:-1])),
            )
        case "missing":
            return Problem(
                code="missing-key",
                where=document.where(place[:-1]),
                what=f"{name} is missing",
                why=_purpose(model, place),
                fix=f"add the key {place[-1]} here",
            )
        case "enum" | "literal_error":
            expected = str(context["expected"])
            return Problem(
                code="bad-value",
                where=document.where(place),
                what=f"{name}: {shown(given)} is not a valid value",
                why=f"expected {expected}",
                fix=suggestion(str(given), (word.strip("' ") for word in expected.replace(" or ", ",").split(","))),
            )
        case kind if kind in TYPE_WORDS:
            wanted = TYPE_WORDS[kind]
            return Problem(
                code="wrong-type",
                where=document.where(place),
                what=f"{name} must be {wanted}, not {_described(given)}",
                why=_purpose(model, place),
                fix=_type_fix(wanted, given),
            )
        case _:
            return Problem(
                code="bad-value",
                where=document.where(place),
                what=f"{name}: {_described(given)} is not valid",
                why=_purpose(model, place),
                fix=detail["msg"].replace("Input", "the value").replace("Tuple", "the list").replace("Value", "it"),
            )


def _written(place: Place) -> str:
    """Return a place as people write it: spec.regions[0].name."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return "".join(steps).removeprefix(".")


def _type_fix(wanted: str, given: Any) -> str:
    if wanted == "text" and isinstance(given, bool | int | float):
        return f"put it in quotes: {json.dumps(json.dumps(given))}"
    if given is None:
        return f"write {wanted} after the colon, or leave the key out"
    return f"write {wanted} here"


def _described(given: Any) -> str:
    if isinstance(given, dict):
        return "a mapping"
    if isinstance(given, list):
        return "a list"
    return "empty" if given is None else shown(given)


def _purpose(model: type[Model], place: Place) -> str:
    """Return what a key is for, from the models' own documentation."""
    owner = _model_at(model, place[:-1])
    for field_name, field in owner.model_fields.items() if owner else ():
        if place and place[-1] in (field.alias, field_name) and field.description:
            return field.description.splitlines()[0].replace("``", "")
    return "Leeward cannot work without it"


def _keys(model: type[Model], place: Place) -> list[str]:
    owner = _model_at(model, place)
    return [field.alias or name for name, field in owner.model_fields.items()] if owner else []


def _model_at(model: type[Model], place: Place) -> type[Model] | None:
    """Return the model that describes the mapping at a place, following aliases and lists."""
    current: type[Model] | None = model
    for step in place:
        if isinstance(step, int):
            continue
        fields = current.model_fields.values() if current else ()
        annotation = next((field.annotation for field in fields if field.alias == step), None)
        current = next(iter(models_in(annotation)), None)
    return current


def models_in(annotation: Any) -> list[type[Model]]:
    """Return the models that a field may hold, itself or in a list."""
    if typing.get_origin(annotation) is None:
        return [annotation] if isinstance(annotation, type) and issubclass(annotation, Model) else []
    return [model for argument in typing.get_args(annotation) for model in models_in(argument)]
