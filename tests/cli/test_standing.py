from pathlib import Path

from leeward.cli.standing import FILE, Standing, record, recorded

PASSED = Standing("region-loss", "sync", "passed", 1.0)


def test_the_last_drill_of_each_application_is_kept(tmp_path: Path) -> None:
    assert recorded(tmp_path) == {}
    record(tmp_path, "shop", Standing("blip", "async", "failed", 0.5))
    record(tmp_path, "cart", PASSED)
    record(tmp_path, "shop", PASSED)
    assert recorded(tmp_path) == {"shop": PASSED, "cart": PASSED}


def test_a_world_that_has_gone_or_a_damaged_file_is_no_matter(tmp_path: Path) -> None:
    record(tmp_path / "gone", "shop", PASSED)
    for text in ("", "[]", '{"shop": {}}'):
        (tmp_path / FILE).write_text(text)
        assert recorded(tmp_path) == {}
