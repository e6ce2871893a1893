"""Orphans as the fleet reports them and as their files list them."""

import json
from pathlib import Path

from leeward.core.values import Heartbeat, InstanceReport, Orphans, Region, Role
from leeward.drill.orphans import OrphansFound, found, reported

from .builders import APP, EU, US


def heartbeat(region: Region, *orphans: Orphans) -> Heartbeat:
    report = InstanceReport(Role.STANDBY, 3, False, None, None, True, 2, orphans=orphans)
    return Heartbeat(region, "i", 1, 0, {}, {APP: report})


def test_only_what_was_written_since_counts() -> None:
    old, new = Orphans(1, 2, 2, "/old"), Orphans(3, 4, 4, "/new")
    heartbeats = {US: heartbeat(US, old, new), EU: heartbeat(EU), Region("jp"): Heartbeat(Region("jp"), "i", 1, 0)}
    assert reported(heartbeats, APP, from_epoch=2) == (new,)


def test_keys_come_from_the_files(tmp_path: Path) -> None:
    path = tmp_path / "epoch-3.jsonl"
    rows = [{"key": "drill-1", "amount_cents": 1}, {"key": "other", "account": "drill"}, {"key": "drill-2", "id": None}]
    others = [{"table": "public.payments", "columns": {"key": "text"}}, {"table": "public.big", "unread": "locked"}]
    lines = [*others, *({"table": "public.payments", "xid": 7, "row": row} for row in rows)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    reports = (Orphans(3, 5, 3, str(path)),)
    assert found(reports, "drill-") == OrphansFound(5, frozenset({"drill-1", "drill-2"}))


def test_a_file_elsewhere_leaves_the_number() -> None:
    assert found((Orphans(3, 5, 3, "/nowhere/epoch-3.jsonl"),), "drill-") == OrphansFound(5, None)
