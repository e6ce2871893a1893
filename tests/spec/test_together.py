"""Applications of one fleet: what they may not have in common."""

from pathlib import Path

import pytest

from leeward.spec import load
from leeward.spec.spec import DATABASES_MAX
from tests.spec.files import APPLICATION, FLEET, problems_of

PAY = APPLICATION.replace("name: shop", "name: pay")
CLUSTERED = FLEET.replace("residency: us", "residency: us\n      clusters: [{name: blue, environment: production}]", 1)


def written(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (directory / name).write_text(text, "utf-8")
    return directory


@pytest.mark.parametrize(
    ("other", "code", "line"),
    [
        pytest.param(PAY + "  namespace: shop\n", "shared-namespace", 10, id="another's namespace"),
        pytest.param(PAY + "  traffic: {host: shop.atlas.internal}\n", "shared-host", 10, id="another's public name"),
        pytest.param(PAY + "  traffic: {host: Shop.Atlas.internal.}\n", "shared-host", 10, id="written otherwise"),
        pytest.param(PAY + "  traffic: {host: shop.example.com}\n", "shared-host", 10, id="another's bare name"),
    ],
)
def test_what_two_may_not_share(tmp_path: Path, other: str, code: str, line: int) -> None:
    (problem,) = problems_of(written(tmp_path, {"a.yaml": FLEET, "b.yaml": APPLICATION, "c.yaml": other}))
    assert problem.code == code
    assert f"c.yaml, line {line}," in problem.where
    assert "shop" in problem.what
    assert "pay" in problem.what


def test_environments_have_namespaces_too(tmp_path: Path) -> None:
    varied = "  environments:\n    - {name: production, namespace: shop}\n    - {name: test}\n"
    (problem,) = problems_of(written(tmp_path, {"a.yaml": CLUSTERED, "b.yaml": APPLICATION, "c.yaml": PAY + varied}))
    assert problem.code == "shared-namespace"
    assert "c.yaml, line 11," in problem.where


def test_a_namespace_in_an_environment_that_runs_nowhere_conflicts_with_none(tmp_path: Path) -> None:
    varied = "  environments:\n    - {name: production}\n    - {name: spare, namespace: shop}\n"
    load(written(tmp_path, {"a.yaml": CLUSTERED, "b.yaml": APPLICATION, "c.yaml": PAY + varied}))


def test_a_fleet_has_ports_for_so_many_databases(tmp_path: Path) -> None:
    fits = {f"{n}.yaml": APPLICATION.replace("name: shop", f"name: shop-{n}") for n in range(DATABASES_MAX)}
    load(written(tmp_path, {"fleet.yaml": FLEET, **fits}))
    one_more = {"more.yaml": PAY + "  database: {engine: cockroachdb}\n"}
    assert len(load(written(tmp_path, one_more)).applications) == DATABASES_MAX + 1
    (problem,) = problems_of(written(tmp_path, {"more.yaml": PAY}))
    assert (problem.code, str(DATABASES_MAX) in problem.what) == ("too-many-databases", True)
