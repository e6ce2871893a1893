"""The tree's first page names every secret that somebody has to bring."""

import shutil
from pathlib import Path

import pytest

from leeward.compile import compile_parts
from leeward.compile.site import all_clusters
from leeward.compile.tree.overview import overview
from leeward.spec import load
from leeward.world.objects import engine_commands

EXAMPLES = Path(__file__).parents[2] / "examples"


def parts_with(directory: Path, secrets: str) -> tuple[str, set[str]]:
    """Return the page, and which secrets an operator is asked for, with secrets provided that way."""
    fleet = directory / "fleet.yaml"
    lines = [line for line in fleet.read_text("utf-8").splitlines() if not line.startswith("  secrets:")]
    fleet.write_text("\n".join([*lines, f"  secrets: {{by: {secrets}}}", ""]), "utf-8")
    spec = load(directory)
    parts = {each.name: compile_parts(spec, each.name, engines=engine_commands()) for _, each in all_clusters(spec)}
    items = [item for found in parts.values() for part in found for item in part.objects]
    asked = {
        f"{item['metadata']['namespace']}/{item['spec']['target']['name']}"
        for item in items
        if item["kind"] == "ExternalSecret"
    }
    return overview(spec, parts), asked


@pytest.mark.parametrize("example", ["fnp", "hello"])
def test_secrets_that_come_from_elsewhere_are_all_named(example: str, tmp_path: Path) -> None:
    for name in ("fleet.yaml", "application.yaml"):
        shutil.copy(EXAMPLES / example / name, tmp_path / name)
    _, asked = parts_with(tmp_path, "external-secrets")
    page, _ = parts_with(tmp_path, "elsewhere")
    # What is brought for a service's own use is used by no object.
    wanted = {name for name in asked if not name.endswith("-tls")}
    assert wanted
    assert {name for name in wanted if f"- `{name}`" not in page} == set()


@pytest.mark.parametrize("example", ["fnp", "hello"])
def test_what_a_store_must_hold_is_all_named(example: str, tmp_path: Path) -> None:
    for name in ("fleet.yaml", "application.yaml"):
        shutil.copy(EXAMPLES / example / name, tmp_path / name)
    page, asked = parts_with(tmp_path, "external-secrets")
    assert asked
    assert f"- `{example}/{example}/database`: `password`, `replication-password`" in page
    assert f"- `{example}/{example}/tls`: `tls.crt`, `tls.key`" in page
    held = [line for line in page.partition("## Secrets")[2].splitlines() if line.startswith("- `")]
    assert len(held) >= len(asked)
