"""The two kinds as JSON Schema, for editors and for ``leeward schema``."""

from typing import Any

from leeward.spec.application import Application
from leeward.spec.fleet import Fleet
from leeward.spec.values import Model

KINDS: dict[str, type[Model]] = {"Fleet": Fleet, "Application": Application}


def json_schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a kind. Raises KeyError for an unknown kind."""
    schema = KINDS[kind].model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://leeward.dev/schema/v1alpha1/{kind.lower()}.json",
        **schema,
    }
