"""Named incidents as golden stories: what happens, who decides what and why, and what it cost."""

import re
from pathlib import Path

import pytest

from leeward.sim import swarm
from leeward.sim.incidents import INCIDENTS, Incident, story_of
from tests.conftest import Golden

SCENARIOS = Path(__file__).parents[1] / "scenarios"
PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "incidents.md"


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda incident: incident.name)
def test_the_story(incident: Incident, golden: Golden) -> None:
    golden(SCENARIOS / f"{incident.name}.txt", story_of(incident))
    assert swarm.run(incident.plan()).violation is None


def test_every_incident_is_explained() -> None:
    page = PAGE.read_text("utf-8")
    assert [incident.name for incident in INCIDENTS if f"`{incident.name}`" not in page] == []


def test_the_table_has_the_figures_of_the_stories() -> None:
    page, rows = PAGE.read_text("utf-8"), []
    for incident in INCIDENTS:
        story = (SCENARIOS / f"{incident.name}.txt").read_text("utf-8")
        (gap_s,) = re.findall(r"longest time without an acknowledged write: ([\d.]+) s", story)
        (counts,) = re.findall(r"lost (\d+), orphans saved (\d+), primary", story)
        rows.append(f"| `{incident.name}` | {incident.fleet.mode} | {gap_s} s | {' | '.join(counts)} |")
    assert [row for row in rows if row not in page] == []
