"""The reference page says what the models say."""

from pathlib import Path

from leeward.spec.reference import reference
from tests.conftest import Golden


def test_the_reference_page_is_current(golden: Golden) -> None:
    golden(Path(__file__).parents[2] / "docs" / "reference" / "spec.md", reference())
