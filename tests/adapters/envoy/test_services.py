"""Exported services through real gateways: own pods first, then a region that exports them, and never another one."""

import json

import pytest

from leeward.ports.gateway import Address, Exported
from tests.adapters.envoy.conftest import Pair
from tests.adapters.envoy.rig import EU, TIMEOUT_S, US, Answer, Node, Region

pytestmark = pytest.mark.engine

HOST = "reports.shop.svc.clusterset.local"


def export(node: Node, *fallbacks: Region, ready: bool = True) -> Exported:
    pods = tuple(pod.address for pod in node.pods) if ready else ()
    return Exported("reports", "shop", pods, fallbacks)


async def serve(node: Node, *services: Exported) -> None:
    await node.gateway.apply((node.route(US),), services, timeout_s=TIMEOUT_S)


async def ask(node: Node, method: str = "GET", host: str = HOST, port: int | None = None) -> Answer:
    return await node.request(method, headers={"Host": host}, port=port or node.settings.services_port)


async def test_a_service_is_served_by_its_own_region_and_by_another_one_without(pair: Pair) -> None:
    await serve(pair.us, export(pair.us, EU))
    await serve(pair.eu, export(pair.eu, US))
    for node in (pair.us, pair.eu):
        for method in ("GET", "POST"):
            answer = await ask(node, method)
            assert (answer.status, answer.region) == (200, node.region)
            assert answer.headers["x-leeward-region"] == node.region
    await serve(pair.us, export(pair.us, EU, ready=False))
    for method in ("GET", "POST"):
        answer = await ask(pair.us, method)
        assert (answer.status, answer.region, answer.headers["x-leeward-region"]) == (200, EU, EU)
    await serve(pair.us, export(pair.us, EU))
    assert (await ask(pair.us)).region == US


async def test_services_that_are_not_known_stay_as_they_are(pair: Pair) -> None:
    await serve(pair.us, export(pair.us, EU))
    await pair.us.gateway.apply((pair.us.route(EU, fallbacks=(EU,)),), None, timeout_s=TIMEOUT_S)
    assert (await ask(pair.us)).region == US
    await serve(pair.us)
    await pair.us.gateway.apply((pair.us.route(US),), None, timeout_s=TIMEOUT_S)
    assert (await ask(pair.us)).status == 404, "none were known before"


async def test_a_service_has_its_name_on_every_port(pair: Pair) -> None:
    await serve(pair.us, export(pair.us, EU, ready=False))
    await serve(pair.eu, export(pair.eu, US))
    assert (await ask(pair.us, host=f"{HOST}:8000")).region == EU


async def test_a_region_that_does_not_export_it_answers_nobody(pair: Pair) -> None:
    """Its gateway was asked in vain: the other one had not heard yet."""
    await serve(pair.us, export(pair.us, EU, ready=False))
    await serve(pair.eu)
    for method in ("GET", "POST"):
        answer = await ask(pair.us, method)
        assert (answer.status, json.loads(answer.text)["code"]) == (503, "not-exported")
    await serve(pair.eu, export(pair.eu, ready=False))
    assert (await ask(pair.us)).status == 503
    assert not [line for node in (pair.us, pair.eu) for pod in node.pods for line in pod.seen]


async def test_what_nobody_exports_or_nobody_is_ready_for_is_said(pair: Pair) -> None:
    await serve(pair.us)
    answer = await ask(pair.us)
    assert (answer.status, json.loads(answer.text)["code"]) == (404, "not-exported")
    await serve(pair.us, export(pair.us, ready=False))
    answer = await ask(pair.us)
    assert (answer.status, json.loads(answer.text)["code"]) == (503, "nobody-ready")


async def test_users_do_not_reach_a_service_by_its_name(pair: Pair) -> None:
    """Whatever Host they send, here or by way of the primary region: it is the application that answers."""
    nobody = Exported("reports", "shop", (Address(pair.us.settings.host, 1),), ())
    for node in (pair.us, pair.eu):
        await serve(node, nobody)
    await pair.eu.warm("http")
    for node, method, region in (
        (pair.us, "GET", US),
        (pair.eu, "GET", EU),
        (pair.us, "POST", US),
        (pair.eu, "POST", US),
    ):
        assert (await ask(node)).status == 503
        answer = await ask(node, method, port=node.settings.users_port)
        assert answer.status == 404 or answer.region == region


async def test_a_forgotten_service_is_not_served_any_more(pair: Pair) -> None:
    await serve(pair.us, export(pair.us))
    assert (await ask(pair.us)).region == US
    await serve(pair.us)
    assert (await ask(pair.us)).status == 404
    files = {path.name for path in (pair.us.directory / "config").iterdir()}
    assert "eds.reports.shop.json" not in files
