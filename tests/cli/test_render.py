"""What answers look like, as golden text."""

import pytest

from leeward.cli import render


def test_table_is_aligned_without_trailing_blanks() -> None:
    text = render.table(("NAME", "READY", "PRIMARY"), [("payments", "6/6", None), ("x", "", "us-east-1")])
    assert text.splitlines() == [
        "NAME       READY   PRIMARY",
        "payments   6/6     -",
        "x          -       us-east-1",
    ]


def test_facts_are_aligned() -> None:
    assert render.facts([("a", 1), ("longer", None)]).splitlines() == ["a:       1", "longer:  -"]


DURATIONS = [
    (0, "0ms"),
    (0.34, "340ms"),
    (0.9996, "1s"),
    (3.21, "3.2s"),
    (59.96, "1m0s"),
    (3600, "1h0m"),
    (200_000, "2d"),
]
SIZES = [(0, "0B"), (1023, "1023B"), (4096, "4.0KiB"), (3 << 40, "3.0TiB")]


@pytest.mark.parametrize(("seconds", "text"), DURATIONS)
def test_duration(seconds: float, text: str) -> None:
    assert render.duration(seconds) == text


@pytest.mark.parametrize(("octets", "text"), SIZES)
def test_size(octets: float, text: str) -> None:
    assert render.size(octets) == text
