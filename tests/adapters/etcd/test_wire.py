import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leeward.adapters.etcd.wire import (
    CanceledError,
    CompactedAtError,
    Lines,
    changes_of,
    prefix_range,
    text64,
    transaction,
)
from leeward.ports.quorum import Change, Compare, Delete, Put


def response(**result: Any) -> bytes:
    return json.dumps({"result": {"header": {"revision": "9"}, **result}}).encode()


def event(key: str, revision: int, value: str | None = "") -> dict[str, Any]:
    pair = {"key": text64(key), "mod_revision": str(revision)}
    if value is None:
        return {"type": "DELETE", "kv": pair}
    return {"kv": {**pair, "value": text64(value)} if value else pair}


@given(st.lists(st.binary().map(lambda raw: raw.replace(b"\n", b"")).filter(bool)), st.data())
def test_lines_survive_any_cutting(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    cutter, received = Lines(), list[bytes]()
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        cutter, whole = cutter.feed(stream[:size])
        stream = stream[size:]
        received += whole
    assert received == lines


@given(st.text(), st.text())
def test_a_prefix_range_holds_exactly_the_keys_under_the_prefix(prefix: str, key: str) -> None:
    span = {name: base64.b64decode(value) for name, value in prefix_range(prefix).items()}
    inside = key.encode() >= span["key"] and (span["range_end"] == b"\0" or key.encode() < span["range_end"])
    # etcd has no empty key.
    assert inside == (key.startswith(prefix) and key != "")


def test_a_transaction_compares_modification_revisions() -> None:
    body = transaction((Compare("a", 0), Compare("b", 7)), (Put("c", "v"), Delete("d")))
    assert [(compare["target"], compare["mod_revision"]) for compare in body["compare"]] == [("MOD", "0"), ("MOD", "7")]
    assert body["success"] == [
        {"request_put": {"key": text64("c"), "value": text64("v")}},
        {"request_delete_range": {"key": text64("d")}},
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(response(created=True), [], id="opening is no news"),
        pytest.param(response(), [Change(9, {})], id="progress"),
        pytest.param(response(events=[event("a", 8)]), [Change(8, {"a": ""})], id="an empty value is a value"),
        pytest.param(response(events=[event("a", 8, None)]), [Change(8, {"a": None})], id="a deletion"),
        pytest.param(
            response(events=[event("a", 8, "1"), event("b", 8, "2"), event("a", 9, "3")]),
            [Change(8, {"a": "1", "b": "2"}), Change(9, {"a": "3"})],
            id="one change per revision",
        ),
        pytest.param(response(events=[event("a", 7, "old")]), [], id="the past is not told again"),
    ],
)
def test_changes(line: bytes, expected: list[Change]) -> None:
    assert list(changes_of(line, seen=7)) == expected


def test_progress_of_a_member_that_lags_behind_is_ignored() -> None:
    assert list(changes_of(response(), seen=10)) == []


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (response(canceled=True, compact_revision="12"), CompactedAtError),
        (response(canceled=True, cancel_reason="etcdserver: no leader"), CanceledError),
        (b'{"error":{"grpc_code":14,"message":"etcdserver: no leader"}}', CanceledError),
    ],
)
def test_the_end_of_a_watch(line: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        list(changes_of(line, seen=7))
