"""Every SQL text of the instance manager: sessions from one module, functions and relations named with their schema."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import leeward.instance

PACKAGE = Path(leeward.instance.__file__).parent
# Its sessions in applications' databases are the reader's: no superuser, and nothing but pg_catalog is searched.
OF_THE_READER = "orphans"
STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|GRANT|REVOKE|DO|COPY|SET|CALL|WITH)\b")
LITERAL = re.compile(r"'(?:[^']|'')*'")
CALL = re.compile(r"(?<![\w.])([a-z_][a-z0-9_]*)\s*\(")
RELATION = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE|ONLY)\s+([a-z_{][\w.{}]*)")
NO_FUNCTIONS = {"all", "any", "epoch"}  # keywords in lower case, and a column: INSERT INTO leeward.epoch (epoch, ...


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield every string constant that is a statement, with its line; parts of f-strings are joined by {}."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr | ast.Constant) or node in inside:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        else:
            text = node.value.decode() if isinstance(node.value, bytes) and node.value.isascii() else str(node.value)
        if STATEMENT.match(text):
            yield node.lineno, text


def unqualified(text: str) -> list[str]:
    """Return the functions and relations of a statement that are named without a schema."""
    bare = LITERAL.sub("''", text)
    functions = [name for name in CALL.findall(bare) if name not in NO_FUNCTIONS]
    relations = [name for name in RELATION.findall(bare) if "." not in name and "{}" not in name]
    return functions + [name for name in relations if name not in ("public", "pg_database_owner")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT pg_catalog.max(epoch) FROM leeward.epoch", []),
        ("SELECT max(epoch) FROM leeward.epoch", ["max"]),
        ("SELECT pg_catalog.now() FROM pg_class", ["pg_class"]),
        ("SELECT 'now()' FROM pg_catalog.unnest('{1}') AS word WHERE 1 <> ALL ('{on}')", []),
        ("INSERT INTO leeward.epoch (epoch) VALUES (%s) ON CONFLICT (epoch) DO NOTHING", []),
    ],
)
def test_what_is_unqualified_is_found(text: str, found: list[str]) -> None:
    assert unqualified(text) == found


def test_every_function_and_relation_is_named_with_its_schema() -> None:
    found = []
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if OF_THE_READER not in str(path.relative_to(PACKAGE))]
    count = 0
    for path in files:
        for line, text in texts(path):
            count += 1
            found += [f"{path.name}:{line}: {name}" for name in unqualified(text)]
    assert found == []
    assert count >= 20, "the statements are no longer found where they were"


def test_connections_are_opened_in_one_module() -> None:
    opened = {
        path.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "connect" and "onnection" in ast.unparse(node.value)
    }
    assert opened == {"connection.py"}
