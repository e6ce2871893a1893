"""docs/concepts/security.md: every line of the threat model names tests that exist, or says that there is none."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from leeward.compile.app.cloudnative_pg import IMAGE as CLOUDNATIVE_PG
from leeward.compile.app.cockroachdb import IMAGE as COCKROACHDB
from leeward.compile.observe.telemetry import COLLECTOR, FLUENT_BIT
from leeward.compile.target import Images
from leeward.compile.traffic.joining import TUNNEL_IMAGE
from leeward.spec.values import has_digest
from leeward.spec.workload import EnvoySidecar, LoggingSidecar, MetricsSidecar

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "concepts" / "security.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
ATTACKERS = (
    "A user on the Internet",
    "A pod of the application",
    "Another application's pod",
    "The holder of a database password",
    "The holder of another region's identity",
    "Root on one region's node",
    "Another user of the machine that runs a world",
    "The holder of an operator's key",
    "An attacker in the supply chain",
)
NAMED = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(\w+)`")
IMAGES = (
    *(getattr(Images(), name) for name in ("leeward", "postgres", "gateway", "quorum")),
    *(sidecar().image for sidecar in (LoggingSidecar, MetricsSidecar, EnvoySidecar)),
    *(COLLECTOR, FLUENT_BIT, TUNNEL_IMAGE, COCKROACHDB, CLOUDNATIVE_PG),
)


def rows(section: str) -> list[list[str]]:
    """Return the cells of a section's table, without its head."""
    lines = [line for line in SECTIONS[section].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@cache
def functions_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return frozenset(each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_kind_of_attacker_has_a_section() -> None:
    assert tuple(SECTIONS) == ATTACKERS


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_every_line_names_tests_that_exist_or_says_that_nothing_stops_it(attacker: str) -> None:
    found = rows(attacker)
    assert found
    for attempt, effect, shown in found:
        named = NAMED.findall(shown)
        assert [name for path, name in named if name not in functions_of(path)] == [], attempt
        assert shown == " ".join(f"`{path}::{name}`" for path, name in named) or shown == "no test", attempt
        assert named or effect.startswith("**Not stopped"), f"{attempt}: nothing shows what stops it"


def test_every_image_that_we_name_by_a_tag_is_listed() -> None:
    listed = set(re.findall(r"^- `(.+?)`|^- `.+?` and `(.+?)`", PAGE, re.MULTILINE))
    names = {name for pair in listed for name in pair if name}
    names |= set(re.findall(r"and `(ghcr.io/leeward/[^`]+)`", PAGE))
    assert names == {image for image in IMAGES if not has_digest(image)}
