"""Exchanging data directories: all, or none."""

from pathlib import Path

import pytest

from leeward.operate.member_files import BEFORE, Exchange

REGIONS = ("us", "eu", "ap")


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    pairs = []
    for region in REGIONS:
        current, new = tmp_path / region / "member", tmp_path / "new" / region
        for path, text in ((current, "old"), (new, "new")):
            path.mkdir(parents=True)
            (path / "db").write_text(f"{text} {region}")
        pairs.append((current, new))
    return Exchange(pairs, "2")


def found(exchange: Exchange) -> list[str]:
    return [(current / "db").read_text() for current, _ in exchange.members]


def test_all_are_exchanged_and_the_old_ones_kept_until_the_next_time(exchange: Exchange) -> None:
    for current, _ in exchange.members:
        (current.parent / f"{BEFORE}1").mkdir()
    exchange.do()
    exchange.remove_older()
    assert found(exchange) == [f"new {region}" for region in REGIONS]
    for current, _ in exchange.members:
        assert sorted(path.name for path in current.parent.iterdir()) == ["member", f"{BEFORE}2"]
        assert (current.parent / f"{BEFORE}2" / "db").read_text().startswith("old")


def test_a_failure_in_the_middle_is_undone(exchange: Exchange) -> None:
    (exchange.members[1][1] / "db").unlink()
    exchange.members[1][1].rmdir()
    with pytest.raises(OSError, match="eu"):
        exchange.do()
    exchange.undo()
    assert found(exchange) == [f"old {region}" for region in REGIONS]
    for current, _ in exchange.members:
        assert [path.name for path in current.parent.iterdir()] == ["member"]


def test_a_member_without_data_gets_new_data(exchange: Exchange) -> None:
    current, _ = exchange.members[2]
    (current / "db").unlink()
    current.rmdir()
    exchange.do()
    assert found(exchange)[2] == "new ap"
