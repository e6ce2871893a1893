"""How one object differs from another: field by field, elements by name, documents inside, secrets never."""

import json
from typing import Any

from leeward.cli.differences import text_of
from leeward.operate.changes import changes


def lines(old: dict[str, Any], new: dict[str, Any], kind: str = "Deployment") -> list[str]:
    head = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", "uid": "1"}}
    other = {**head, "metadata": {"name": "x", "uid": "2", "managedFields": []}, "status": {"replicas": 1}}
    return [line for change in changes({**head, **old}, {**other, **new}) for line in text_of(change)]


def test_what_the_server_writes_is_no_difference() -> None:
    assert lines({"spec": {"a": 1}}, {"spec": {"a": 1}}) == []


def test_fields_come_go_and_change() -> None:
    old = {"spec": {"kept": 1, "gone": "x", "changed": [1, 2]}}
    new = {"spec": {"kept": 1, "changed": [1, 3, 4], "new": True}}
    assert lines(old, new) == [
        "spec.changed[1]: 2 -> 3",
        "spec.changed[2]: (none) -> 4",
        "spec.new: (none) -> true",
        "spec.gone: x -> (none)",
    ]


def test_elements_with_names_are_found_by_them() -> None:
    old = {"spec": {"containers": [{"name": "app", "image": "a:1"}, {"name": "old"}]}}
    new = {"spec": {"containers": [{"name": "side"}, {"name": "app", "image": "a:2"}]}}
    assert lines(old, new) == [
        'spec.containers[side]: (none) -> {"name": "side"}',
        "spec.containers[app].image: a:1 -> a:2",
        'spec.containers[old]: {"name": "old"} -> (none)',
    ]
    assert lines({"spec": {"c": [{"name": "a"}, {"name": "b"}]}}, {"spec": {"c": [{"name": "b"}, {"name": "a"}]}}) == [
        'spec.c, their order: ["a", "b"] -> ["b", "a"]'
    ]


def test_documents_inside_are_compared_as_what_they_are() -> None:
    old = {"data": {"agent.json": json.dumps({"apps": [{"name": "a", "port": 1}]}), "run.sh": "one\ntwo\nthree"}}
    new = {"data": {"agent.json": json.dumps({"apps": [{"name": "a", "port": 2}]}), "run.sh": "one\n2\nthree"}}
    assert lines(old, new, "ConfigMap") == [
        "data[agent.json]:apps[a].port: 1 -> 2",
        "data[run.sh]:",
        "  @@ -1,3 +1,3 @@",
        "   one",
        "  -two",
        "  +2",
        "   three",
    ]


def test_values_of_secrets_are_not_shown() -> None:
    old = {"type": "Opaque", "data": {"password": "b2xk", "gone": "eA=="}}
    new = {"type": "Opaque", "data": {"password": "bmV3", "added": "eQ=="}}
    assert lines(old, new, "Secret") == [
        "data.password: (not shown) -> (not shown)",
        "data.added: (none) -> (not shown)",
        "data.gone: (not shown) -> (none)",
    ]


def test_what_is_long_gets_lines_of_its_own() -> None:
    old, new = "a" * 60, "b" * 60
    assert lines({"spec": {"x": old}}, {"spec": {"x": new}}) == ["spec.x:", f"  - {old}", f"  + {new}"]
