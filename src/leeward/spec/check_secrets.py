"""No value of a secret in the files: not in variables, commands or patches."""

import re
from collections.abc import Iterator
from typing import Any

from leeward.base.problem import Problem
from leeward.spec.application import Application
from leeward.spec.loaded import Loaded
from leeward.spec.source import Place
from leeward.spec.variants import written

SECRET_NAME = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIAL)", re.IGNORECASE)
SECRET_VALUE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|://[^/\s:@]+:[^/\s@$]+@")


def check_secrets(application: Loaded[Application]) -> Iterator[Problem]:
    """Yield every value in the application's document that looks like a secret, its varieties and patches included."""
    places: list[tuple[Place, dict[str, Any]]] = [(("spec",), written(application.model)["spec"])]
    spec = application.model.spec
    places += [(("spec", "environments", i, "spec"), each.spec) for i, each in enumerate(spec.environments)]
    places += [(("spec", "overrides", i, "spec"), each.spec) for i, each in enumerate(spec.overrides)]
    for place, plain in places:
        service = plain.get("service") or {}
        for section in ("env", "config"):
            for name, value in (service.get(section) or {}).items():
                if _secret(name, str(value)):
                    yield _inline(application, (*place, "service", section, name), name)
        for index, word in enumerate(service.get("command") or ()):
            name, _, value = str(word).partition("=")
            if _secret(name if name.startswith("-") else "", value) or SECRET_VALUE.search(str(word)):
                yield _inline(application, (*place, "service", "command", index), name, key=False)
    for i, override in enumerate(spec.overrides):
        for j, patch in enumerate(override.patches):
            put = [patch.merge, *(operation.value for operation in patch.json_patch)]
            for name in sorted({name for part in put for name, text in _variables(part) if _secret(name, text)}):
                yield _inline(application, ("spec", "overrides", i, "patches", j), name, key=False)


def _variables(part: object) -> Iterator[tuple[str, str]]:
    """Yield the variables that a patch would put into an object, with their values."""
    if isinstance(part, list):
        for each in part:
            yield from _variables(each)
    elif isinstance(part, dict):
        if isinstance(part.get("name"), str) and isinstance(part.get("value"), str):
            yield part["name"], part["value"]
        for value in part.values():
            yield from _variables(value)


def _secret(name: str, text: str) -> bool:
    return bool(text and (SECRET_VALUE.search(text) or (SECRET_NAME.search(name) and not _harmless(text))))


def _inline(application: Loaded[Application], place: Place, name: str, *, key: bool = True) -> Problem:
    return application.problem(
        "inline-secret",
        *place,
        key=key,
        what=f"{name} looks like a secret, and its value is in the file",
        why="these files and what is rendered from them are kept in Git, readable by many, forever",
        fix="move it to service.secrets: {env, secret, key}, and the value to the secret store",
    )


def _harmless(text: str) -> bool:
    """Return whether a value is a path, an address or a reference: where a secret is, not what it is."""
    return text.startswith(("/", "$(", "http://", "https://")) or text in ("true", "false") or text.isdecimal()
