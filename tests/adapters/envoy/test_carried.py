"""What a gateway says of the traffic that it carries, or not: by its statistics, and by using its paths."""

from dataclasses import replace
from typing import Any

import pytest

from leeward.adapters.envoy.usage import carried
from leeward.core.values import Region
from leeward.ports.gateway import Carried, GatewayUnavailableError
from tests.adapters.envoy.conftest import Pair
from tests.adapters.envoy.rig import EU, PAY, TIMEOUT_S, US, Node, eventually
from tests.adapters.envoy.test_render import BOTH, JP, SHOP

PROBE_TIMEOUT_S = 5.0


def stats(**values: int) -> list[dict[str, Any]]:
    return [{"name": name.replace("__", "."), "value": value} for name, value in values.items()]


@pytest.mark.parametrize(
    ("found", "payments", "shop"),
    [
        pytest.param({}, {}, {}, id="idle"),
        pytest.param({"cluster__late__payments__upstream_cx_active": 2047}, {}, {}, id="nearly full"),
        pytest.param({"cluster__late__payments__upstream_cx_active": 2048}, {US}, {}, id="full of others' sessions"),
        pytest.param(
            {"connection_limit__primary__payments__active_connections": 320}, {}, {}, id="its pods hold all they may"
        ),
        pytest.param({"cluster__pods__shop__upstream_rq_pending_active": 1024}, {}, {US}, id="its pods are too slow"),
        pytest.param({"cluster__spare__payments__eu__upstream_cx_active": 1024}, {EU}, {}, id="full of sessions there"),
        pytest.param({"cluster__postgres__jp__upstream_rq_active": 4096}, {JP}, {JP}, id="what all share is full"),
        pytest.param({"cluster__http__eu__upstream_cx_active": 1024}, {}, {}, id="HTTP/2 counts requests"),
        pytest.param({"cluster__warm__http__eu__membership_healthy": 0}, {EU}, {EU}, id="no request arrives"),
        pytest.param({"cluster__warm__http__eu__membership_healthy": 1}, {}, {}, id="requests arrive"),
    ],
)
def test_what_counts_as_broken(found: dict[str, int], payments: set[Region], shop: set[Region]) -> None:
    result = carried(BOTH, stats(**found))
    assert (set(result[PAY].broken), set(result[SHOP].broken)) == (set(payments), set(shop))


def test_what_was_refused_is_counted_by_application() -> None:
    refused = {
        "cluster__late__payments__upstream_cx_overflow": 3,
        "cluster__spare__payments__jp__upstream_rq_pending_overflow": 4,
        "cluster__pods__shop__upstream_cx_overflow": 5,
        "cluster__http__eu__upstream_rq_active_overflow": 6,
        "connection_limit__primary__payments__limited_connections": 7,
        "connection_limit__egress__shop__jp__limited_connections": 8,
    }
    result = carried(BOTH, stats(**refused))
    assert (result[PAY].overflows, result[SHOP].overflows) == (3 + 4 + 6 + 7, 5 + 6 + 8)


@pytest.mark.parametrize(
    "port", [pytest.param({}, id="a cluster"), pytest.param({"primary__payments": 240}, id="a port of the database")]
)
def test_the_fullest_counts(port: dict[str, int]) -> None:
    found = {"cluster__late__payments__upstream_cx_active": 256, "cluster__local__payments__upstream_cx_active": 672}
    found |= {f"connection_limit__{name}__active_connections": value for name, value in port.items()}
    expected = 0.75 if port else 0.5
    assert carried(replace(BOTH, apps=BOTH.apps[:1]), stats(**found)) == {PAY: Carried({}, 0, expected)}


async def looked(node: Node, timeout_s: float = PROBE_TIMEOUT_S) -> Carried:
    return (await node.gateway.carried(timeout_s=timeout_s))[PAY]


@pytest.mark.engine
async def test_paths_that_work_are_not_broken(pair: Pair) -> None:
    for node in (pair.us, pair.eu):
        await node.apply(US)
    streams = [await pair.us.connect(5432) for _ in range(20)]
    for stream in streams:
        assert await stream.ask("hello") == "us hello"

    async def well() -> bool:
        return not (await looked(pair.us)).broken

    await eventually(well)
    assert 20 / 1024 <= (await looked(pair.us, TIMEOUT_S)).limit_used < 0.1


@pytest.mark.engine
async def test_a_cut_is_noticed_and_so_is_its_end(pair: Pair) -> None:
    for node in (pair.us, pair.eu):
        await node.apply(US)
    await pair.eu.warm("postgres")

    async def broken() -> bool:
        return set((await looked(pair.eu)).broken) == {US}

    async def well() -> bool:
        return not (await looked(pair.eu)).broken

    await eventually(well)
    pair.eu.link.cut()
    await eventually(broken)
    pair.eu.link.heal()
    await eventually(well)


@pytest.mark.engine
async def test_a_postgres_that_closes_connections_is_noticed(pair: Pair) -> None:
    for node in (pair.us, pair.eu):
        await node.apply(US)
    await pair.us.gateway.apply((replace(pair.us.route(US), instance=None),), timeout_s=TIMEOUT_S)
    await pair.eu.warm("http")

    async def noticed() -> bool:
        return "closes new connections" in (await looked(pair.eu)).broken.get(US, "")

    await eventually(noticed)


@pytest.mark.engine
async def test_an_envoy_that_is_gone_is_unavailable(pair: Pair) -> None:
    await pair.us.apply(US)
    await pair.us.stop_envoy()
    with pytest.raises(GatewayUnavailableError):
        await pair.us.gateway.carried(timeout_s=PROBE_TIMEOUT_S)
