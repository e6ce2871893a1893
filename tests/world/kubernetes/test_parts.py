"""The small pure parts: selectors, merging, substitution, store history, log tails."""

from pathlib import Path
from typing import Any

import pytest

from leeward.ports.cluster import CONFIG_MAPS, Change, KubeObject
from leeward.world.kubernetes import logs
from leeward.world.kubernetes.autoscaler import cores_of
from leeward.world.kubernetes.errors import ApiError
from leeward.world.kubernetes.merging import apply_fields, merge_patch
from leeward.world.kubernetes.runner import Addresses
from leeward.world.kubernetes.selectors import matches_fields, matches_labels, matches_selector
from leeward.world.kubernetes.store import Store
from leeward.world.kubernetes.substitution import Substitution, expand

POD: KubeObject = {
    "metadata": {"name": "a", "labels": {"app": "web", "tier": "front"}},
    "spec": {"nodeName": "n"},
}


@pytest.mark.parametrize(
    ("selector", "taken"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier=front", True),
        ("app=db", False),
        ("app!=db", True),
        ("missing!=x", True),
        ("app", True),
        ("!app", False),
        ("!missing", True),
        ("app in (db, web)", True),
        ("app notin (db,web),tier", False),
        ("missing notin (a)", True),
    ],
)
def test_label_selectors(selector: str, taken: bool) -> None:
    assert matches_labels(selector, POD) is taken


def test_a_selector_that_cannot_be_read_is_a_bad_request() -> None:
    with pytest.raises(ApiError, match="a b c") as caught:
        matches_labels("a b c", POD)
    assert caught.value.code == 400


@pytest.mark.parametrize(
    ("selector", "taken"),
    [
        ("metadata.name=a", True),
        ("metadata.name=b", False),
        ("spec.nodeName=n,metadata.name!=b", True),
        ("spec.nodeName=", False),
        ("spec.missing=", True),
    ],
)
def test_field_selectors(selector: str, taken: bool) -> None:
    assert matches_fields(selector, POD) is taken


@pytest.mark.parametrize(
    ("operator", "values", "taken"),
    [
        ("In", ["web"], True),
        ("NotIn", ["web"], False),
        ("Exists", None, True),
        ("DoesNotExist", None, False),
    ],
)
def test_match_expressions(operator: str, values: list[str] | None, taken: bool) -> None:
    rule = {"key": "app", "operator": operator, "values": values}
    assert matches_selector({"matchExpressions": [rule]}, POD["metadata"]["labels"]) is taken


def test_merge_patch_as_in_the_rfc() -> None:
    document = {"title": "Goodbye!", "author": {"given": "John", "family": "Doe"}, "tags": ["a", "b"]}
    patch = {"title": "Hello!", "author": {"family": None}, "tags": ["a"], "phone": "1"}
    assert merge_patch(document, patch) == {
        "title": "Hello!",
        "author": {"given": "John"},
        "tags": ["a"],
        "phone": "1",
    }


@pytest.mark.parametrize(
    ("live", "last", "wanted", "merged"),
    [
        pytest.param({"a": 1}, {}, {"b": 2}, {"a": 1, "b": 2}, id="others' fields stay"),
        pytest.param({"a": 1}, {"a": 1}, {}, {}, id="ours goes when we drop it"),
        pytest.param({"s": {"a": 1, "b": 2}}, {"s": {"a": 1}}, {}, {"s": {"b": 2}}, id="inside what we share"),
        pytest.param({"s": {"a": 1}}, {"s": {"a": 1}}, {}, {}, id="what we empty goes too"),
        pytest.param({"l": [1, 2]}, {"l": [1]}, {"l": [3]}, {"l": [3]}, id="lists are one value"),
        pytest.param({"a": 5}, {"a": 1}, {"a": 1}, {"a": 1}, id="we win over a change by others"),
    ],
)
def test_apply(live: KubeObject, last: KubeObject, wanted: KubeObject, merged: KubeObject) -> None:
    assert apply_fields(live, last, wanted) == merged


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("x-$(A)-$(B)", "x-1-$(B)"),
        ("$$(A)", "$(A)"),
        ("$A ${A}", "$A ${A}"),
    ],
)
def test_variables_expand_as_in_kubernetes(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


@pytest.mark.parametrize(
    ("text", "here"),
    [
        ("/data", "/real/data"),
        ("/data/", "/real/data/"),
        ("/data/pg/base", "/real/data/pg/base"),
        ("/data/wal/0001", "/other/wal/0001"),
        ("--dir=/data", "--dir=/real/data"),
        ("a=/data,b=/data/wal:/data/x", "a=/real/data,b=/other/wal:/real/data/x"),
        ('{"dir": "/data/x"}', '{"dir": "/real/data/x"}'),
        ("/database", "/database"),
        ("/data.old", "/data.old"),
        ("/srv/data", "/srv/data"),
        ("https://host/data", "https://host/data"),
        ("db.app.svc:5432", "127.10.1.5:5432"),
        ("http://db.app.svc.cluster.local/x", "http://127.10.1.5/x"),
        ("db-0.db.app.svc", "127.10.1.5"),
        ("nobody.app.svc", "nobody.app.svc"),
        ("db.app.svc.example.com", "db.app.svc.example.com"),
    ],
)
def test_paths_and_names_become_what_they_are_here(text: str, here: str) -> None:
    mounts = {"/data": Path("/real/data"), "/data/wal/": Path("/other/wal")}
    substitute = Substitution(mounts, lambda pod, name, namespace: "127.10.1.5" if name == "db" else None)
    assert substitute(text) == here
    assert substitute.unresolved == ({"nobody.app.svc"} if "nobody" in text else set())


def item(name: str, **more: Any) -> KubeObject:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "app"}, **more}


async def test_the_history_is_bounded_and_says_when_it_was_too_long_ago() -> None:
    store = Store(history_max=3)
    first = store.version
    for number in range(3):
        store.create(CONFIG_MAPS, item(str(number)))
    assert [change.item["metadata"]["name"] for change in store.changes_after(first)] == ["0", "1", "2"]
    store.remove(CONFIG_MAPS, store.get(CONFIG_MAPS, "app", "0"))
    with pytest.raises(ApiError) as caught:
        store.changes_after(first)
    assert (caught.value.code, caught.value.reason) == (410, "Expired")
    assert [change.change for change in store.changes_after(first + 1)][-1] is Change.DELETED


async def test_a_version_from_before_a_restart_is_too_old_for_the_new_store() -> None:
    before = Store()
    before.create(CONFIG_MAPS, item("a"))
    after = Store()
    after.create(CONFIG_MAPS, item("a"))
    with pytest.raises(ApiError) as caught:
        after.changes_after(before.version - 10)
    assert caught.value.code == 410


async def test_the_same_state_again_is_no_change() -> None:
    store = Store()
    store.create(CONFIG_MAPS, item("a", data={"k": "v"}))
    version = store.version
    store.replace(CONFIG_MAPS, item("a", data={"k": "v"}))
    assert store.version == version


@pytest.mark.parametrize(
    ("lines", "tail"),
    [
        (None, b"one\ntwo\nthree\n"),
        (0, b""),
        (1, b"three\n"),
        (2, b"two\nthree\n"),
        (9, b"one\ntwo\nthree\n"),
    ],
)
def test_tail(tmp_path: Path, lines: int | None, tail: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\nthree\n")
    with path.open("rb") as file:
        logs.seek_tail(file, lines)
        assert file.read() == tail


def test_tail_over_many_blocks(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"%06d\n" % number for number in range(40_000)))
    with path.open("rb") as file:
        logs.seek_tail(file, 30_000)
        assert file.readline() == b"010000\n"


def test_a_log_is_rotated_under_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "app" / "pod" / "main.log"
    writer = logs.open_new(path)
    with open(writer, "wb", buffering=0) as output:
        output.write(b"x" * 100)
        logs.rotate(path, limit_bytes=50)
        output.write(b"after")
    assert path.read_bytes() == b"after"
    assert path.with_name("main.log.1").read_bytes() == b"x" * 100


def test_addresses_are_used_again_as_late_as_possible() -> None:
    addresses = Addresses(7)
    assert addresses.take([]) == "127.10.7.10"
    assert addresses.take([]) == "127.10.7.11"
    assert addresses.take(["127.10.7.12"]) == "127.10.7.13"


@pytest.mark.parametrize(("quantity", "cores"), [("250m", 0.25), ("2", 2.0), (0.5, 0.5)])
def test_cpu_quantities(quantity: object, cores: float) -> None:
    assert cores_of(quantity) == cores
