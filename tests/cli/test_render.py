"""What answers look like, as golden text."""

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
