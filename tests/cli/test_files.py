"""schema and validate, as a user meets them."""

import json
from pathlib import Path

import pytest

from .conftest import Run

FLEET = """\
apiVersion: leeward.dev/v1alpha1
kind: Fleet
metadata:
  name: small
spec:
  regions:
    - {name: east, location: {latitude: 39, longitude: -77}}
    - {name: west, location: {latitude: 50, longitude: 4}}
    - {name: far, location: {latitude: 36, longitude: 140}, witness: true}
  links:
    - {between: [east, west], rtt: 80ms}
    - {between: [west, far], rtt: 200ms}
    - {between: [east, far], rtt: 150ms}
  images: {digests: {shop: "sha256:DIGEST"}}
""".replace("DIGEST", "0" * 64)
APPLICATION = """\
apiVersion: leeward.dev/v1alpha1
kind: Application
metadata:
  name: shop
spec:
  objectives: {rto: 30s, rpo: 5s}
  service: {image: shop, command: [python, shop.py]}
"""


def write(directory: Path, application: str) -> str:
    (directory / "fleet.yaml").write_text(FLEET)
    (directory / "shop.yaml").write_text(application)
    return str(directory)


def test_valid_files_are_summed_up_with_the_arithmetic(leeward: Run, tmp_path: Path) -> None:
    result = leeward("validate", write(tmp_path, APPLICATION))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (
        "fleet/small valid: 3 regions (1 of them witness), round trips up to 200ms\n"
        "application/shop valid: async, primary east, standbys west\n"
        "  RTO 30s, predicted: lease 2.00 + patience 11.88 + margin 0.12 + election 0.80 "
        "+ promote 0.10 + route 0.10 = 15.00 s\n"
        "  a silent primary may accept writes for 2.5s; takeover after 13.9s\n"
    )


def test_everything_wrong_is_shown_at_once_with_place_and_fix(leeward: Run, tmp_path: Path) -> None:
    wrong = APPLICATION.replace("30s", "30").replace("image: shop, ", "")
    result = leeward("validate", write(tmp_path, wrong))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("error[") == result.stderr.count("fix:") == 2
    assert "shop.yaml, line 6" in result.stderr
    assert "shop.yaml, line 7" in result.stderr


def test_a_directory_that_is_not_there_is_no_traceback(leeward: Run, tmp_path: Path) -> None:
    result = leeward("validate", str(tmp_path / "nowhere"))
    assert result.returncode == 1
    assert result.stderr.startswith("error[")


@pytest.mark.parametrize("kind", ["fleet", "application"])
def test_schema_of_one_kind(leeward: Run, kind: str) -> None:
    result = leeward("schema", kind)
    assert result.returncode == 0
    assert json.loads(result.stdout)["$id"].endswith(f"/{kind}.json")


def test_schema_of_all_kinds(leeward: Run) -> None:
    assert json.loads(leeward("schema").stdout).keys() == {"fleet", "application"}


def test_schema_of_an_unknown_kind_is_a_usage_error(leeward: Run) -> None:
    result = leeward("schema", "flee")
    assert (result.returncode, result.stdout) == (2, "")
    assert "fleet" in result.stderr


def test_freezes_show_what_patience_saves(leeward: Run, tmp_path: Path) -> None:
    directory = write(tmp_path, APPLICATION)
    with (tmp_path / "fleet.yaml").open("a") as fleet:
        fleet.write("  freezes: [{lasting: 8s, perYear: 12}, {lasting: 25s, perYear: 2}]\n")
    result = leeward("validate", directory)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == (
        "  a silent primary may accept writes for 2.5s; takeover after 13.9s; "
        "2 needless failovers per year due to freezes, 14 with the shortest RTO"
    )
