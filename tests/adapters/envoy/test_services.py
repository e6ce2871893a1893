"""Exported services through real gateways: own pods first, then a region that exports them, and never another one."""

import json

import pytest

from leeward.ports.gateway import Address, Exported
from tests.adapters.envoy.conftest import Pair
from tests.adapters.envoy.rig import EU, TIMEOUT_S, US, Answer, Node, Region, eventually

pytestmark = pytest.mark.engine

HOST = "reports.shop.svc.clusterset.local"


def export(node: Node, *fallbacks: Region, ready: bool = True) -> Exported:
    pods = tuple(pod.address for pod in node.pods) if ready else ()
    return Exported("reports", "shop", pods, fallbacks)


async def serve(node: Node, *services: Exported) -> None:
    await node.gateway.apply((node.route(US),), services, timeout_s=TIMEOUT_S)


async def ask(node: Node, method: str = "GET", host: str = HOST, port: int | None = None) -> Answer:
    return await node.request(method, headers={"Host": host}, port=port or node.settings.services_port)


async def arrives(node: Node, region: Region) -> None:
    """Wait until a read of the service is answered by another region: nothing keeps a connection there open before."""

    async def answered_there() -> bool:
        answer = await ask(node)
        assert answer.status != 200 or answer.region == region, "pods that are not ready any more were asked"
        return answer.headers.get("x-leeward-region") == region

    await eventually(answered_there)


async def test_a_service_is_served_by_its_own_region_and_by_another_one_without(direct: Pair) -> None:
    await serve(direct.us, export(direct.us, EU))
    await serve(direct.eu, export(direct.eu, US))
    for node in (direct.us, direct.eu):
        for method in ("GET", "POST"):
            answer = await ask(node, method)
            assert (answer.status, answer.region) == (200, node.region)
            assert answer.headers["x-leeward-region"] == node.region
    await serve(direct.us, export(direct.us, EU, ready=False))
    await arrives(direct.us, EU)
    for method in ("GET", "POST"):
        answer = await ask(direct.us, method)
        assert (answer.status, answer.region, answer.headers["x-leeward-region"]) == (200, EU, EU)
    await serve(direct.us, export(direct.us, EU))
    assert (await ask(direct.us)).region == US


async def test_services_that_are_not_known_stay_as_they_are(pair: Pair) -> None:
    await serve(pair.us, export(pair.us, EU))
    await pair.us.gateway.apply((pair.us.route(EU, fallbacks=(EU,)),), None, timeout_s=TIMEOUT_S)
    assert (await ask(pair.us)).region == US
    await serve(pair.us)
    await pair.us.gateway.apply((pair.us.route(US),), None, timeout_s=TIMEOUT_S)
    assert (await ask(pair.us)).status == 404, "none were known before"


async def test_a_service_has_its_name_on_every_port(direct: Pair) -> None:
    await serve(direct.us, export(direct.us, EU, ready=False))
    await serve(direct.eu, export(direct.eu, US))
    await arrives(direct.us, EU)
    assert (await ask(direct.us, host=f"{HOST}:8000")).region == EU


async def test_a_region_that_does_not_export_it_answers_nobody(direct: Pair) -> None:
    """Its gateway was asked in vain: the other one had not heard yet."""
    await serve(direct.us, export(direct.us, EU, ready=False))
    await serve(direct.eu)
    await arrives(direct.us, EU)
    for method in ("GET", "POST"):
        answer = await ask(direct.us, method)
        assert (answer.status, json.loads(answer.text)["code"]) == (503, "not-exported")
    await serve(direct.eu, export(direct.eu, ready=False))
    assert (await ask(direct.us)).status == 503
    assert not [line for node in (direct.us, direct.eu) for pod in node.pods for line in pod.seen]


async def test_what_nobody_exports_or_nobody_is_ready_for_is_said(pair: Pair) -> None:
    await serve(pair.us)
    answer = await ask(pair.us)
    assert (answer.status, json.loads(answer.text)["code"]) == (404, "not-exported")
    await serve(pair.us, export(pair.us, ready=False))
    answer = await ask(pair.us)
    assert (answer.status, json.loads(answer.text)["code"]) == (503, "no-ready-pod")


async def test_users_do_not_reach_a_service_by_its_name(direct: Pair) -> None:
    """Whatever Host they send, here or by way of the primary region: it is the application that answers."""
    nobody = Exported("reports", "shop", (Address(direct.us.settings.host, 1),), ())
    for node in (direct.us, direct.eu):
        await serve(node, nobody)
    await direct.eu.warm("http")
    for node, method, region in (
        (direct.us, "GET", US),
        (direct.eu, "GET", EU),
        (direct.us, "POST", US),
        (direct.eu, "POST", US),
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
