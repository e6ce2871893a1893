"""Each field of what an agent remembers of an application is written by one module of the machine."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from leeward.agent.machine.application import Application

AGENT = Path(__file__).parents[3] / "src" / "leeward" / "agent"
FIELDS = {each.name for each in fields(Application)}
CHANGING = {"append", "appendleft", "clear", "extend", "pop", "popitem", "popleft", "remove", "setdefault", "update"}
CONSTANT = {"settings"}
"""Set when it is made, and never changed."""


def changed(node: ast.AST) -> Iterator[ast.expr]:
    """Yield what a statement or a call changes: what it assigns to, or whose method changes it."""
    match node:
        case ast.Assign(targets=targets):
            for target in targets:
                yield from target.elts if isinstance(target, ast.Tuple) else (target,)
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            yield target
        case ast.Delete(targets=targets):
            yield from targets
        case ast.Call(func=ast.Attribute(value=value, attr=method)) if method in CHANGING:
            yield value


def field_of(target: ast.expr, *, own: bool) -> str | None:
    """Return which field of an application it is; ``own``: in the class itself, whose ``self`` is one."""
    while isinstance(target, ast.Subscript):
        target = target.value
    if not isinstance(target, ast.Attribute) or target.attr not in FIELDS:
        return None
    of = target.value
    application = isinstance(of, ast.Subscript) or (isinstance(of, ast.Name) and (of.id == "self") is own)
    return target.attr if application else None


def writers() -> dict[str, set[str]]:
    found = defaultdict(set)
    for path in AGENT.rglob("*.py"):
        own = path.name == "application.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            for target in changed(node):
                if (name := field_of(target, own=own)) is not None:
                    found[name].add(path.stem)
    return found


def groups() -> dict[str, str]:
    """Return the module that the class names for each field."""
    source = (AGENT / "machine" / "application.py").read_text("utf-8").splitlines()
    found, owner = {}, None
    for line in source:
        if line.startswith("    # Written "):
            owner = line.removeprefix("    # Written ").removeprefix("by ").removeprefix("the ").rstrip(".")
        elif owner is not None and line.startswith("    def "):
            break
        elif owner is not None and (name := line.strip().partition(":")[0]) in FIELDS:
            found[name] = "application" if owner == "here" else owner
    return found


def test_each_field_is_written_by_the_module_that_its_group_names() -> None:
    assert {name: {owner} for name, owner in groups().items()} == writers()
    assert groups().keys() == FIELDS - CONSTANT
