"""The figure of a failover is drawn from a measured report, and the prose beside it agrees with both."""

import json
import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tools.failover_figure import caption, draw, median_run

from tests.conftest import Golden

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
REPORT: dict[str, Any] = json.loads((IMAGES / "failover.json").read_text("utf-8"))
README = (ROOT / "README.md").read_text("utf-8")
PROTOCOL = (ROOT / "docs" / "concepts" / "protocol.md").read_text("utf-8")


def test_the_figure_is_what_the_report_gives(golden: Golden) -> None:
    text = draw(REPORT)
    ElementTree.fromstring(text)
    golden(IMAGES / "failover.svg", text)


def test_the_report_is_of_runs_that_passed() -> None:
    assert (REPORT["kind"], REPORT["drill"], REPORT["passed"]) == ("DrillResult", "region-loss", True)
    assert median_run(REPORT)["first_write"] == REPORT["rto_write_s"]["p50"]


@pytest.mark.parametrize("text", [README, PROTOCOL], ids=["README", "protocol"])
def test_the_alternative_text_has_the_figures(text: str) -> None:
    (alternative,) = re.findall(r"!\[([^\]]*)\]\([^)]*failover\.svg\)", text)
    assert alternative == caption(REPORT)


def test_the_readme_claims_what_the_runs_took() -> None:
    first_writes = [run["first_write"] for run in REPORT["timeline"]]
    assert f"{round(min(first_writes))} to {math.ceil(max(first_writes))} s from the death of a region" in README


def test_every_step_is_drawn_with_its_time() -> None:
    run = median_run(REPORT)
    words = [
        element.text or "" for element in ElementTree.fromstring(draw(REPORT)).iter() if element.tag.endswith("text")
    ]
    assert f"detected {run['detected']:.2f} s" in words
    assert f"elect {run['elected'] - run['detected']:.2f} s" in words
    assert f"promote {run['promoted'] - run['elected']:.2f} s" in words
    assert f"first write {run['first_write']:.2f} s" in words
    for at_s in run["dns_by_region"].values():
        assert f"removed from DNS {at_s:.2f} s" in words


def test_of_an_even_number_of_runs_the_lower_median_is_drawn() -> None:
    runs = [{**REPORT["timeline"][0], "first_write": at_s} for at_s in (4.0, None, 3.0)]
    assert median_run({**REPORT, "timeline": runs})["first_write"] == 3.0


def test_without_a_recovery_nothing_is_drawn() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        median_run({**REPORT, "timeline": [{**REPORT["timeline"][0], "first_write": None}]})
