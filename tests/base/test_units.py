"""Durations, sizes, quantities and LSNs as texts, and back."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leeward.base import units


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("5s", 5.0), ("1.5m", 90.0), ("2h", 7200.0), ("0s", 0.0)]
)
def test_a_duration(text: str, seconds: float) -> None:
    assert units.parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "-5s", "5d", "5s\n", "1e3s", ".5s", "\u0665s"])
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        units.parse_duration_s(text)


@given(st.integers(1, 86_400_000).map(lambda milliseconds: milliseconds / 1000))
def test_a_duration_is_printed_as_it_is_parsed(seconds: float) -> None:
    assert units.parse_duration_s(units.duration_text(seconds)) == pytest.approx(seconds, rel=1e-5)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.34, "340ms"),
        (0.9996, "1s"),
        (3.21, "3.2s"),
        (59.96, "1m0s"),
        (3600, "1h0m"),
        (200_000, "2d"),
    ],
)
def test_a_duration_in_a_table(seconds: float, text: str) -> None:
    assert units.duration_cell(seconds) == text


@pytest.mark.parametrize(("size_bytes", "text"), [(0, "0B"), (1023, "1023B"), (4096, "4.0KiB"), (3 << 40, "3.0TiB")])
def test_a_size(size_bytes: float, text: str) -> None:
    assert units.size_text(size_bytes) == text


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("250m", "0.25"),
        ("100u", "0.0001"),
        ("5n", "0.000000005"),
        ("1e3m", None),
        ("1e3", "1000"),
        ("1E3", "1000"),
        ("1.5E-1", "0.15"),
        ("2E", "2000000000000000000"),
        ("0.5", "0.5"),
        (".5", "0.5"),
        ("2.", "2"),
        ("-1", "-1"),
        ("512Mi", "536870912"),
        ("1Ei", "1152921504606846976"),
        ("1k", "1000"),
        ("1K", None),
        ("1mi", None),
        ("", None),
        ("Mi", None),
        ("1 Gi", None),
    ],
)
def test_a_quantity_as_kubernetes_reads_it(text: str, amount: str | None) -> None:
    if amount is None:
        with pytest.raises(ValueError, match="is not a quantity"):
            units.parse_quantity(text)
    else:
        assert units.parse_quantity(text) == Decimal(amount)


@pytest.mark.parametrize(("lsn", "text"), [(0, "0/0"), (0x4027700, "0/4027700"), ((1 << 32) + 42, "1/2A")])
def test_an_lsn_as_postgresql_18_prints_it(lsn: int, text: str) -> None:
    assert (units.lsn_text(lsn), units.parse_lsn(text)) == (text, lsn)


def test_an_lsn_with_leading_zeros_is_read_too() -> None:
    assert units.parse_lsn("0/04027700") == 0x4027700


@given(st.integers(0, 2**64 - 1))
def test_an_lsn_is_printed_as_it_is_parsed(lsn: int) -> None:
    assert units.parse_lsn(units.lsn_text(lsn)) == lsn
