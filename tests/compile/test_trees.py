"""The examples' whole trees, file for file as a repository would have them: what a change does is read in review."""

from pathlib import Path

import pytest

from leeward.compile.tree.tree import tree
from leeward.spec import load
from leeward.world.objects import engine_commands
from tests.conftest import Golden

EXAMPLES = Path(__file__).parents[2] / "examples"
TREES = Path(__file__).parent / "trees"


@pytest.mark.parametrize("example", ["hello", "payments", "fnp"])
def test_the_tree_is_the_one_that_was_reviewed(example: str, golden: Golden, request: pytest.FixtureRequest) -> None:
    files = tree(load(EXAMPLES / example), engines=engine_commands())
    root = TREES / example
    left_over = [path for path in root.rglob("*") if path.is_file() and str(path.relative_to(root)) not in files]
    if request.config.getoption("--rewrite"):
        for path in left_over:
            path.unlink()
    else:
        assert left_over == [], "no longer rendered; pytest --rewrite removes them"
    for name, text in files.items():
        golden(root / name, text)
