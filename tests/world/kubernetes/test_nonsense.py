"""Every path of the embedded API server, given nonsense: 4xx and a Status, never 5xx, and everybody else is served."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from leeward.ports.cluster import BUILT_IN, NAMESPACES, PODS, KubeObject, Resource
from leeward.world.kubernetes.controllers import Controllers
from leeward.world.kubernetes.registry import Registry
from leeward.world.kubernetes.server import ApiServer
from leeward.world.kubernetes.store import Store
from tests.guided import climbing
from tests.kit.http import nonsense
from tests.kit.http.nonsense import EXAMPLES, HOSTILE_BODIES, HOSTILE_NUMBERS, Target

LEADS = ("leeward/world/kubernetes", "leeward/kit/http")
"""Hypothesis prefers requests that reach more lines of these."""

TOKEN = "a-token-of-the-tests"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
RULE = {"key": "a", "operator": "In", "values": ["b"]}
TEMPLATE = {
    "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
    "spec": {"containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 1},
}
# One object with what any kind has, so that a change of it hits what some kind reads.
OBJECT: KubeObject = {
    "metadata": {
        "name": "x",
        "namespace": "default",
        "labels": {"a": "b"},
        "ownerReferences": [{"kind": "Deployment", "name": "d", "uid": "u", "controller": True}],
    },
    "spec": {
        **TEMPLATE["spec"],
        "replicas": 1,
        "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [RULE]},
        "template": TEMPLATE,
        "minAvailable": "50%",
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1", "served": True}],
    },
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    "data": {"k": "dg=="},
    "stringData": {"k": "v"},
}
KEYS = {*OBJECT, *OBJECT["spec"], *OBJECT["metadata"], "gracePeriodSeconds", "deleteOptions", "matchLabels"}
QUERIES = nonsense.queries(
    ["labelSelector", "fieldSelector", "resourceVersion", "gracePeriodSeconds", "tailLines", "container", "follow"]
)
PATCHES = ["application/merge-patch+json", "application/apply-patch+yaml", "application/json", "x"]


class ServerTarget(Target):
    def __init__(self, loop: asyncio.Runner, port: int, registry: Registry) -> None:
        super().__init__(loop, port)
        self.registry = registry

    def check_that_others_are_served(self, changed: Resource) -> None:
        """Look at what there is, let the controllers do so, and remove it."""
        for resource in (changed, PODS):
            assert self.ask("GET", path_of(resource), headers=AUTHORIZED).status == 200
        Controllers(self.registry).reconcile()
        store = self.registry.store
        for resource, item in [*store.everything()]:
            if resource is not NAMESPACES:
                store.remove(resource, item)


def path_of(resource: Resource, name: str = "", subresource: str = "") -> str:
    group = f"/apis/{resource.group}" if resource.group else "/api"
    place = "/namespaces/default" if resource.namespaced else ""
    tail = "".join(f"/{part}" for part in (name, subresource) if part)
    return f"{group}/{resource.version}{place}/{resource.plural}{tail}"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerTarget]:
    with asyncio.Runner() as loop:

        async def start() -> tuple[Registry, web.Application]:
            registry = Registry(Store())
            return registry, ApiServer(registry, tmp_path_factory.mktemp("logs"), TOKEN).application()

        registry, app = loop.run(start())
        port, end = loop.run(nonsense.serve(app))
        try:
            yield ServerTarget(loop, port, registry)
        finally:
            loop.run(end())


@pytest.mark.parametrize("body", HOSTILE_BODIES, ids=lambda body: repr(body[:12]))
def test_a_body_that_makes_no_sense_is_refused(target: ServerTarget, body: bytes) -> None:
    for resource in BUILT_IN:
        answer = target.ask("POST", path_of(resource), body, AUTHORIZED)
        assert json.loads(answer.body)["kind"] == "Status"
        for kind in PATCHES:
            headers = {**AUTHORIZED, "Content-Type": kind}
            target.ask("PATCH", f"{path_of(resource, 'x')}?fieldManager=m", body, headers)
        target.check_that_others_are_served(resource)


@pytest.mark.parametrize("number", HOSTILE_NUMBERS)
def test_a_number_that_is_none_is_refused(target: ServerTarget, number: str) -> None:
    quoted = nonsense.quote(number, safe="")
    pods = "/api/v1/namespaces/default/pods"
    watch = f"{pods}?watch=1&timeoutSeconds"
    assert target.ask("GET", f"{watch}={quoted or 'x'}", headers=AUTHORIZED).status == 400
    assert target.ask("GET", f"{watch}=1&resourceVersion={quoted or 'x'}", headers=AUTHORIZED).status == 400
    assert target.ask("DELETE", f"{pods}/x?gracePeriodSeconds={quoted}", headers=AUTHORIZED).status == 400


@given(st.sampled_from(BUILT_IN), st.sampled_from(["POST", "PUT", "STATUS"]), nonsense.bodies(OBJECT, KEYS))
@settings(max_examples=4 * EXAMPLES)
@climbing(*LEADS)
def test_any_object(target: ServerTarget, resource: Resource, how: str, body: bytes) -> None:
    target.ask("POST", path_of(resource), nonsense.written(OBJECT), AUTHORIZED)
    if how == "POST":
        target.ask("POST", path_of(resource), body, AUTHORIZED)
    else:
        target.ask("PUT", path_of(resource, "x", how.lower() if how == "STATUS" else ""), body, AUTHORIZED)
    target.check_that_others_are_served(resource)


@given(st.sampled_from(BUILT_IN), st.sampled_from(PATCHES), st.booleans(), nonsense.bodies(OBJECT, KEYS))
@settings(max_examples=3 * EXAMPLES)
@climbing(*LEADS)
def test_any_patch(target: ServerTarget, resource: Resource, kind: str, there: bool, body: bytes) -> None:
    if there:
        target.ask("POST", path_of(resource), nonsense.written(OBJECT), AUTHORIZED)
    headers = {**AUTHORIZED, "Content-Type": kind}
    for subresource in ("", "status"):
        target.ask("PATCH", f"{path_of(resource, 'x', subresource)}?fieldManager=m", body, headers)
    target.check_that_others_are_served(resource)


@given(st.sampled_from(BUILT_IN), st.sampled_from(["", "log", "eviction", "status"]), QUERIES, st.data())
@settings(max_examples=3 * EXAMPLES)
@climbing(*LEADS)
def test_any_question(target: ServerTarget, resource: Resource, part: str, query: str, data: st.DataObject) -> None:
    method = data.draw(st.sampled_from(["GET", "DELETE", "POST"]))
    body = data.draw(nonsense.bodies({"deleteOptions": {"gracePeriodSeconds": 1}}, KEYS)) if method != "GET" else b""
    target.ask("POST", path_of(resource), nonsense.written(OBJECT), AUTHORIZED)
    target.ask(method, path_of(resource, "x", part) + query, body, AUTHORIZED)
    target.ask("GET", path_of(resource) + query, headers=AUTHORIZED)
    target.check_that_others_are_served(resource)


@given(st.binary(max_size=30), st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=20))
@settings(max_examples=EXAMPLES)
@climbing(*LEADS)
def test_any_path_and_any_token(target: ServerTarget, raw: bytes, token: str) -> None:
    tail = nonsense.quote_from_bytes(raw)
    target.ask("GET", f"/{tail}", headers=AUTHORIZED)
    answer = target.ask("GET", "/api/v1/pods", headers={"Authorization": f"Bearer {token}"})
    assert answer.status in (400, 401)


def test_a_definition_without_sense_does_not_break_every_request(target: ServerTarget) -> None:
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    specs: list[Any] = [{}, {"spec": None}, {"spec": {"versions": [{}]}}, {"spec": {"names": [], "versions": {}}}]
    for spec in specs:
        body = nonsense.written({"metadata": {"name": "things.example.com"}, **spec})
        assert target.ask("POST", definitions, body, AUTHORIZED).status == 422
    assert target.ask("GET", "/api/v1/pods", headers=AUTHORIZED).status == 200
