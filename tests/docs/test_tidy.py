"""What prose promises about the repository: what it names exists, and every key of the users' files is read."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from leeward.spec.schema import KINDS
from leeward.spec.validate import models_in
from leeward.spec.values import Model

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "leeward"
PACKAGES = {each.name for each in SOURCE.iterdir() if each.is_dir()}
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")])
MODULES = sorted([*SOURCE.rglob("*.py"), *ROOT.glob("tests/**/*.py")])
# The changelog tells of files as they were.
PAGES.remove(ROOT / "CHANGELOG.md")

FILE = re.compile(r"`+((?:[\w.-]+/)+[\w.-]+\.(?:py|md|sh|toml))(?:[:`]|::\w+)")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
MODULE = re.compile(rf"`+(?:leeward\.)?((?:{'|'.join(sorted(PACKAGES - {'spec'}))})\.(?!json|py\b)[a-z_]+)(?:\.\w+)*`")
HANDED_OVER = {"Operation"}
"""Models of which all is handed to a library."""
UNKNOWN_PAGE = re.compile(r"\b[A-Z]{4,}\.md\b")


KUBERNETES_LINES_MAX = 4_000


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_files_that_are_named_exist() -> None:
    missing = []
    for page in (*PAGES, *MODULES):
        text = page.read_text("utf-8")
        named = [*FILE.findall(text), *UNKNOWN_PAGE.findall(text), *(LINK.findall(text) if page in PAGES else ())]
        bases = (ROOT, SOURCE, ROOT / "docs", page.parent)
        missing += [(name_of(page), name) for name in named if not any((base / name).exists() for base in bases)]
    assert missing == []


def test_modules_that_are_named_exist() -> None:
    """Of a function or a class, its module; packages name their siblings without themselves."""
    missing = []
    for page in (*PAGES, *MODULES):
        for name in MODULE.findall(page.read_text("utf-8")):
            package, first = name.split(".")
            siblings = (SOURCE / package, page.parent / package)
            if not any((base / first).exists() or (base / f"{first}.py").exists() for base in siblings):
                missing.append((name_of(page), name))
    assert missing == []


def keys() -> Iterator[tuple[str, str]]:
    seen: set[type[Model]] = set()
    waiting = list(KINDS.values())
    while waiting:
        model = waiting.pop()
        if model in seen:
            continue
        seen.add(model)
        for name, field in model.model_fields.items():
            if model.__name__ not in HANDED_OVER:
                yield model.__name__, name
            waiting += models_in(field.annotation)


@cache
def attributes_read() -> frozenset[str]:
    """Return every attribute that is read outside of the models: by what acts on the files, or checks them."""
    readers = [path for path in SOURCE.rglob("*.py") if path.parent.name != "spec" or path.name.startswith("check_")]
    return frozenset(
        node.attr
        for path in readers
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
    )


@pytest.mark.parametrize(("model", "key"), sorted(set(keys())))
def test_every_key_of_the_files_is_read_by_some_code(model: str, key: str) -> None:
    assert key in attributes_read(), f"{model}.{key} is accepted and does nothing"


def test_the_embedded_kubernetes_stays_small() -> None:
    """It is for worlds on one machine. What does not fit needs a real cluster, or something removed."""
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in (SOURCE / "world" / "kubernetes").rglob("*.py"))
    assert 0 < lines <= KUBERNETES_LINES_MAX
