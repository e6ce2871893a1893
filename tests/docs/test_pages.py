"""Pages that are generated from the code: runbooks, invariants, the list of decisions."""

import inspect
from pathlib import Path

from leeward.compile.observe.runbooks import runbooks
from leeward.core.invariants import INVARIANTS
from leeward.spec.load import load
from tests.conftest import Golden

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_the_runbooks_are_those_that_leeward_renders_for_the_example(golden: Golden) -> None:
    spec = load(ROOT / "examples" / "payments")
    (application,) = spec.applications
    pages = runbooks(spec, application)
    for name, text in pages.items():
        golden(DOCS / "runbooks" / name, text)
    assert {path.name for path in (DOCS / "runbooks").iterdir()} == {"README.md", *pages}


def test_the_page_of_invariants_has_each_of_them(golden: Golden) -> None:
    rows = []
    for invariant in INVARIANTS:
        name = invariant.__name__.replace("_", " ").capitalize()
        meaning = " ".join((inspect.getdoc(invariant) or "").replace("``", "`").split())
        rows.append(f"| {name} | {meaning} |\n")
    golden(DOCS / "rules" / "invariants.md", INVARIANTS_HEAD + "".join(rows))


INVARIANTS_HEAD = """\
# What is always true of a topology

An agent refuses to propose a step that breaks one of these, and the simulator checks every topology that is committed.
The code is `core/invariants.py`. What must be true of instances and of acknowledged writes is checked in simulations
and drills: [simulation](../concepts/simulation.md), [drills](../concepts/drills.md).

| Invariant | Meaning |
|---|---|
"""


def test_the_list_of_decisions_is_complete(golden: Golden) -> None:
    rows = []
    for path in sorted((DOCS / "decisions").glob("0*.md")):
        title = path.read_text("utf-8").partition("\n")[0].removeprefix("# ")
        rows.append(f"- [{title}]({path.name})\n")
    golden(DOCS / "decisions" / "README.md", DECISIONS_HEAD + "".join(rows))


DECISIONS_HEAD = """\
# Decisions

One page each: what was decided, why, what was rejected, what it costs. A later decision that replaces an earlier one
links to it.

"""
