"""Whatever the files hold, they load or every problem is told; what loads can be rendered.

Hypothesis is led by coverage: it prefers files that reach more lines of ``leeward.spec``.
"""

import copy
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings, target
from hypothesis import strategies as st

from leeward.compile.tree.tree import tree
from leeward.spec import Problem, ProblemsError, Spec
from leeward.spec.load import resolve
from leeward.spec.source import read
from leeward.world.objects import engine_commands
from tests.guided import lines_of

EXAMPLES = Path(__file__).parents[2] / "examples"
TEXTS = {
    f"{path.parent.name}/{path.name}": path.read_text("utf-8")
    for path in sorted(EXAMPLES.glob("*/*.yaml"))
    if path.name in ("fleet.yaml", "application.yaml")
}
EXAMPLES_EACH = int(os.environ.get("LEEWARD_NONSENSE_EXAMPLES", "20"))
"""Coverage is slow to count. More: LEEWARD_NONSENSE_EXAMPLES=1000."""
FOLDERS = sorted({name.partition("/")[0] for name in TEXTS})
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["", "0", "-1", "1e999", "5 s", "10s\n", "../..", "a.b", "*", "xn--", "²", "9" * 400, "{}", "$(X)"]
    ),
    st.sampled_from([[], {}, [None], [[]], {"": None}, {"a": {"b": []}}, {None: 1}, {1: 2}]),
)


def loaded(*texts: str) -> Spec | None:
    """Return what the files say; None: every problem of theirs was told, with all that a user needs."""
    documents, problems = [], []
    for number, text in enumerate(texts):
        found, broken = read(f"{number}.yaml", text)
        documents += found
        problems += broken
    told: tuple[Problem, ...] = ()
    try:
        return resolve(".", documents, problems)
    except ProblemsError as error:
        told = error.problems
    assert told
    for problem in told:
        assert all((problem.code, problem.where, problem.what, problem.why, problem.fix)), problem
    return None


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything inside a document."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def put(document: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


@settings(max_examples=EXAMPLES_EACH)
@pytest.mark.parametrize("folder", FOLDERS)
@given(data=st.data())
def test_a_value_that_is_something_else(folder: str, data: st.DataObject) -> None:
    documents = {name: list(yaml.safe_load_all(text)) for name, text in TEXTS.items() if name.startswith(f"{folder}/")}
    for _ in range(data.draw(st.integers(1, 3))):
        document = data.draw(st.sampled_from([each for all_ in documents.values() for each in all_]))
        path = data.draw(st.sampled_from(list(places(document))))
        # Or what stands elsewhere: of a right shape, in a wrong place.
        others = list(document.values())
        put(document, path, copy.deepcopy(data.draw(st.one_of(JUNK, st.sampled_from(others)))))
    texts = [yaml.safe_dump_all(all_, allow_unicode=True) for all_ in documents.values()]
    with lines_of("leeward/spec") as lines:
        spec = loaded(*texts)
    target(float(len(lines)), label="lines of leeward.spec")
    if spec is not None:
        with suppress(ProblemsError):  # what only the compiler can tell
            assert tree(spec, engines=engine_commands())


@settings(max_examples=EXAMPLES_EACH)
@pytest.mark.parametrize("name", TEXTS)
@given(data=st.data())
def test_a_file_with_other_characters(name: str, data: st.DataObject) -> None:
    text = TEXTS[name]
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 40)))
        text = text[:start] + data.draw(st.text(max_size=6)) + text[end:]
    others = [other for at, other in TEXTS.items() if at != name and at.partition("/")[0] == name.partition("/")[0]]
    with lines_of("leeward/spec") as lines:
        loaded(text, *others)
    target(float(len(lines)), label="lines of leeward.spec")


@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    assert loaded(text) is None
