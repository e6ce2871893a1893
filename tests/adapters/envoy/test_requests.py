"""HTTP through real gateways: reads stay, writes travel, strangers are refused."""

import asyncio
import json
import ssl
import time

import pytest

from leeward.compile.observe.alerts import GATEWAY_REFUSED
from leeward.ports.gateway import Address
from tests.adapters.envoy.conftest import Pair
from tests.adapters.envoy.rig import EU, LONG_PATH, TIMEOUT_S, US, Node, eventually

pytestmark = pytest.mark.engine


async def test_reads_stay_and_writes_go_to_the_primary_region(direct: Pair) -> None:
    await direct.us.apply(US, fallbacks=(EU,))
    await direct.eu.apply(US, fallbacks=(US,))
    await direct.eu.warm("http")
    for node, method, region in ((direct.us, "POST", US), (direct.eu, "POST", US), (direct.eu, "GET", EU)):
        answer = await node.request(method)
        assert (answer.status, answer.region) == (200, region)
        assert answer.headers["x-leeward-region"] == region


async def test_no_primary_is_said_at_once_and_reads_go_on(pair: Pair) -> None:
    await pair.us.apply(None)
    answer = await pair.us.request("PUT")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.text)["code"] == "no-primary"
    assert (await pair.us.request("GET")).region == US


async def test_a_peer_that_is_not_primary_refuses_a_forwarded_write(direct: Pair) -> None:
    await direct.us.apply(EU)
    await direct.eu.apply(US)
    await direct.eu.warm("http")
    answer = await direct.eu.request("POST")
    assert (answer.status, json.loads(answer.text)["code"]) == (503, "wrong-region")
    assert answer.headers["x-leeward-region"] == US
    assert not [line for pod in direct.us.pods for line in pod.seen]


async def test_reads_fall_back_while_no_pod_is_ready_here(direct: Pair) -> None:
    await direct.us.apply(US, pods=(), fallbacks=(EU,))
    await direct.eu.apply(US)
    await direct.us.warm("http")
    answer = await direct.us.request("GET")
    assert (answer.region, answer.headers["x-leeward-region"]) == (EU, EU)
    await direct.us.apply(US, fallbacks=(EU,))
    assert (await direct.us.request("GET")).region == US


async def test_reads_survive_a_pod_that_is_gone(pair: Pair) -> None:
    """The route still names it: retries on the other pod hide it."""
    gone, alive = pair.us.pods
    gone.address = Address(gone.address.host, 8001)
    await pair.us.apply(US, fallbacks=(EU,))
    answers = [await pair.us.request("GET") for _ in range(20)]
    assert [answer.status for answer in answers] == [200] * 20
    assert len(alive.seen) == 20


async def test_reads_are_repeated_on_503_and_writes_are_not(pair: Pair) -> None:
    for pod in pair.us.pods:
        pod.status = 503
    await pair.us.apply(US)
    assert (await pair.us.request("POST")).status == 503
    assert sum(len(pod.seen) for pod in pair.us.pods) == 1
    assert (await pair.us.request("GET")).status == 503
    assert sum(len(pod.seen) for pod in pair.us.pods) == 1 + 3


async def test_a_user_cannot_make_a_write_be_repeated(pair: Pair) -> None:
    for pod in pair.us.pods:
        pod.status = 503
    await pair.us.apply(US)
    headers = {"x-envoy-retry-on": "5xx", "x-envoy-max-retries": "5"}
    assert (await pair.us.request("POST", headers=headers)).status == 503
    assert sum(len(pod.seen) for pod in pair.us.pods) == 1


async def test_a_write_in_flight_to_a_black_hole_ends(pair: Pair) -> None:
    for pod in pair.us.pods:
        pod.hold = asyncio.Event()
    await pair.us.apply(US)
    await pair.eu.apply(US)
    await pair.eu.warm("http")
    request = asyncio.create_task(pair.eu.request("POST"))

    async def arrived() -> bool:
        return any(pod.seen for pod in pair.us.pods)

    await eventually(arrived)
    began_s = time.monotonic()
    pair.eu.link.cut()
    answer = await request
    print(f"a write in flight to a black hole ended after {time.monotonic() - began_s:.2f} s")
    assert answer.status == 503
    assert sum(len(pod.seen) for pod in pair.us.pods) == 1


async def test_in_region_reads_do_not_notice_the_loss_of_the_other_region(pair: Pair) -> None:
    await pair.us.apply(US, fallbacks=(EU,))
    await pair.eu.apply(US, fallbacks=(US,))
    await pair.eu.warm("http")
    pair.eu.link.cut()
    slowest_s = 0.0
    until_s = time.monotonic() + 3
    while time.monotonic() < until_s:
        began_s = time.monotonic()
        answer = await pair.eu.request("GET")
        slowest_s = max(slowest_s, time.monotonic() - began_s)
        assert (answer.status, answer.region) == (200, EU)
        await asyncio.sleep(0.02)
    print(f"slowest local read while the other region is a black hole: {slowest_s * 1000:.0f} ms")


@pytest.mark.parametrize("who", ["nobody", "stranger", "another-purpose", "peer", "plaintext"])
@pytest.mark.parametrize("name", ["http.us", "postgres.us"])
async def test_only_peers_get_in(pair: Pair, who: str, name: str) -> None:
    await pair.us.apply(US)
    tls = ssl.create_default_context(cafile=str(pair.identities / "eu" / "ca.crt"))
    tls.check_hostname = False
    tls.set_alpn_protocols(["h2"])
    if who in ("stranger", "another-purpose", "peer"):
        home = pair.identities / ("eu" if who == "peer" else who)
        tls.load_cert_chain(home / "tls.crt", home / "tls.key")
    host, port = pair.us.settings.host, pair.us.settings.peers_port
    received = b""
    async with asyncio.timeout(TIMEOUT_S):
        encrypted = who != "plaintext"
        reader, writer = await asyncio.open_connection(
            host, port, ssl=tls if encrypted else None, server_hostname=name if encrypted else None
        )
        try:
            writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            received = await reader.read(9)
        except OSError:
            received = b""
        writer.close()
    assert bool(received) is (who == "peer")
    if who in ("stranger", "another-purpose"):
        # What the alert asks for.
        metrics = await pair.us.request("GET", "/stats/prometheus", port=pair.us.settings.metrics_port)
        counted = [line for line in metrics.text.splitlines() if line.startswith(GATEWAY_REFUSED)]
        assert sum(float(line.rpartition(" ")[2]) for line in counted) >= 1


async def test_http2_and_large_bodies(direct: Pair) -> None:
    await direct.us.apply(US)
    await direct.eu.apply(US)
    await direct.eu.warm("http")
    answer = await direct.eu.request("POST", data=b"x" * 900_000)
    assert answer.region == US


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/metrics?name=up",
        "/metrics/",
        "/metrics/process",
        "/METRICS",
        "/%6detrics",
        "/%4D%65trics",
        "//metrics",
        "/%2Fmetrics",
        "/metrics;v=1",
        "/metrics%3Bv=1",
        "/metrics%2f",
        "/x/../metrics",
        "/./metrics",
        "/x/%2e%2e/metrics",
        "/healthz/deep",
        "/healthz//deep",
        "/metrics%0a",
        "/healthz/deep%0A",
        "/metrics.json",
        "/healthz;/deep",
        "/healthz;v=1/deep",
        "/;a/metrics",
        "/healthz%2fdeep",
        "/healthz%5Cdeep",
        LONG_PATH,
        LONG_PATH.upper(),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_tells_operators_how_the_service_is_is_withheld_from_users(
    pair: Pair, method: str, path: str
) -> None:
    await pair.us.apply(US)
    assert await status_of(pair.us, method, path) == 404
    assert [line for pod in pair.us.pods for line in pod.seen] == []


@pytest.mark.parametrize(
    "path", ["/", "/metric", "/metricsx", "/x/metrics", "/healthz", "/healthz/deeper", "/a%2Fb", "/a..b%2Fc", "/v1.2/x"]
)
async def test_all_other_paths_reach_the_service(pair: Pair, path: str) -> None:
    await pair.us.apply(US)
    assert await status_of(pair.us, "GET", path) == 200


@pytest.mark.parametrize(
    "path",
    [
        "/x/..%2fmetrics",
        "/x/%2e%2e%2fmetrics",
        "/x/.%2e%5cmetrics",
        "/x%2f../metrics",
        "/x%2f..",
        "/x/..%2f..%2fmetrics",
    ],
)
async def test_dots_beside_encoded_slashes_are_refused(pair: Pair, path: str) -> None:
    await pair.us.apply(US)
    assert await status_of(pair.us, "GET", path) in (400, 404)
    assert [line for pod in pair.us.pods for line in pod.seen] == []


async def status_of(node: Node, method: str, path: str) -> int:
    """Return the status of an answer; the path goes out letter for letter."""
    async with asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection(node.settings.host, node.settings.users_port)
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 0\r\n\r\n".encode())
        status = (await reader.readline()).split()[1]
        writer.close()
    return int(status)
