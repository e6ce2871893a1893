"""What ``leeward orphans`` prints."""

from leeward.cli.history import orphan_table
from leeward.core.values import Orphans, Unread
from leeward.operate.history import RegionOrphans


def test_orphans_are_a_table() -> None:
    assert orphan_table([RegionOrphans("us", Orphans(1, 2, 6, "/v/epoch-1.jsonl"))]).splitlines() == [
        "REGION   EPOCH   TRANSACTIONS   ROWS   UNREAD TABLES   FILE",
        "us       1       2              6      0               /v/epoch-1.jsonl",
    ]


def test_what_could_not_be_read_is_named_with_its_reason() -> None:
    some = Orphans(3, 2, 6, "/v/epoch-3.jsonl", (Unread("public.big", "locked"),), 2, "/v/epoch-3.pgdata")
    none_kept = Orphans(1, 0, 0, "/v/epoch-1.jsonl", (Unread("every table", "the WAL is gone"),), 1)
    assert orphan_table([RegionOrphans("us", some), RegionOrphans("eu", none_kept)]).splitlines()[3:] == [
        "",
        "us, epoch 3: public.big: locked",
        "us, epoch 3: 1 more, named in the file",
        "us, epoch 3: raw data kept in /v/epoch-3.pgdata",
        "",
        "eu, epoch 1: every table: the WAL is gone",
        "eu, epoch 1: no raw data kept: not enough disk space",
    ]
