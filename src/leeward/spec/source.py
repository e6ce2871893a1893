"""Read YAML documents and remember where everything stood, so that any problem can name line and column.

Booleans and numbers are those of YAML 1.2's core schema (``no`` is text, not false); dates stay text.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from leeward.base.problem import Problem

Step = str | int
Place = tuple[Step, ...]
"""Where in a document: keys and indexes from its root."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file, counted from one, as editors do."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: plain data, and the position of each key and value in it."""

    file: str
    data: Any
    keys: Mapping[Place, Position]
    values: Mapping[Place, Position]

    def where(self, place: Place, *, key: bool = False) -> str:
        """Return the position of a value (or of its key), or of the nearest thing around it that exists."""
        positions = self.keys if key else self.values
        for length in range(len(place), -1, -1):
            found = positions.get(place[:length]) or self.values.get(place[:length])
            if found is not None:
                return f"{self.file}, line {found.line}, column {found.column}"
        return self.file


def read(file: str, text: str) -> tuple[list[Document], list[Problem]]:
    """Return the documents of a file that could be read, and what is wrong with the others."""
    documents: list[Document] = []
    problems: list[Problem] = []
    try:
        for node in _nodes(text):
            reader = _Reader(file)
            data = reader.plain(node, ())
            problems += reader.problems
            if data is not None:
                documents.append(Document(file, data, reader.keys, reader.values))
    except yaml.MarkedYAMLError as error:
        problems.append(_syntax_problem(file, error))
    except yaml.YAMLError as error:
        problems.append(
            Problem(
                code="yaml-syntax",
                where=file,
                what="this is not YAML",
                why=str(error),
                fix="save the file as UTF-8 text",
            )
        )
    except RecursionError:
        problems.append(
            Problem(
                code="yaml-syntax",
                where=file,
                what="this is nested too deeply",
                why="no document of Leeward's has more than a few levels",
                fix="remove the brackets, braces or dashes that only contain one another",
            )
        )
    return documents, problems


def paths(directory_or_file: Path) -> Iterator[Path]:
    """Yield the YAML files in a directory, by name, or the one file."""
    if directory_or_file.is_dir():
        yield from sorted(
            file for file in directory_or_file.iterdir() if file.suffix in (".yaml", ".yml") and file.is_file()
        )
    else:
        yield directory_or_file


class _Loader(yaml.SafeLoader):
    """PyYAML with the scalars of YAML 1.2: its own reads ``no`` as false and 1:30 as 90."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, Any]]] = {}  # noqa: RUF012 (PyYAML's own protocol)


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_resolve("bool", r"^(?:true|True|TRUE|false|False|FALSE)\Z", "tTfF")
_resolve("int", r"^[-+]?[0-9]+\Z", "-+0123456789")
_resolve("float", r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?\Z", "-+.0123456789")
_resolve("null", r"^(?:~|null|Null|NULL|)\Z", "~nN\0")
_Loader.yaml_implicit_resolvers[""] = _Loader.yaml_implicit_resolvers["\0"]


def _nodes(text: str) -> Iterator[yaml.Node]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield node
    finally:
        loader.dispose()


class _Reader:
    """Turns the nodes of one document into plain data."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.keys: dict[Place, Position] = {}
        self.values: dict[Place, Position] = {}
        self.problems: list[Problem] = []
        self._around: list[yaml.Node] = []

    def plain(self, node: yaml.Node, place: Place) -> Any:
        self.values[place] = _position(node)
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if any(outer is node for outer in self._around):
            self._add("yaml-cycle", node, "this contains itself", "an alias refers back to this place", "write it out")
            return None
        self._around.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, place)
            return [self.plain(item, (*place, index)) for index, item in enumerate(node.value)]
        finally:
            self._around.pop()

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                self._add(
                    "yaml-key", key_node, "a key must be text", "Leeward has no such keys", "write a plain word here"
                )
                continue
            if key in result:
                first = self.keys[(*place, key)]
                self._add(
                    "duplicate-key",
                    key_node,
                    f"{key} is given twice",
                    f"it already stands in line {first.line}, and only one of the two could count",
                    "keep one of them",
                )
                continue
            self.keys[(*place, key)] = _position(key_node)
            result[key] = self.plain(value_node, (*place, key))
        return result

    def _add(self, code: str, node: yaml.Node, what: str, why: str, fix: str) -> None:
        position = _position(node)
        where = f"{self.file}, line {position.line}, column {position.column}"
        self.problems.append(Problem(code=code, where=where, what=what, why=why, fix=fix))


def _scalar(node: yaml.ScalarNode) -> Any:
    # By the text, not the tag alone: an explicit !!int may stand before text that is not a number.
    try:
        match node.tag.rpartition(":")[2]:
            case "bool":
                return node.value.lower() == "true"
            case "int":
                return int(node.value)
            case "float":
                return float(node.value)
            case "null":
                return None
            case _:
                return node.value
    except ValueError:
        return node.value


def _position(node: yaml.Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def _syntax_problem(file: str, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    where = file if mark is None else f"{file}, line {mark.line + 1}, column {mark.column + 1}"
    reasons = [part for part in (error.context, error.problem) if part]
    return Problem(
        code="yaml-syntax",
        where=where,
        what="this is not YAML",
        why=" ".join(reasons) or str(error),
        fix="check indentation (spaces, no tabs), colons and quotes at this place and just before it",
    )
