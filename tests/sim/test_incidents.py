"""Named incidents as golden stories: what happens, who decides what and why, and what it cost."""

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
