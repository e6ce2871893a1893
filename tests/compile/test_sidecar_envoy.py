"""The Envoy that is compiled beside a service, run for real: it serves, limits, and shows what it did."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from leeward.compile import compile_cluster
from leeward.compile.app.sidecar_envoy import ADMIN_SOCKET
from leeward.compile.app.sidecars import ENVOY_METRICS_PORT
from leeward.spec import load
from leeward.world import engines
from leeward.world.objects import engine_commands
from tests.compile.evaluate import only
from tests.kit.waiting import until
from tests.spec.files import APPLICATION, FLEET, write

pytestmark = pytest.mark.engine

READY_S = 60.0
# A minute's share comes by and by: one more each 12 s, which is the time the requests have.
LIMIT = 5
LISTEN_PORT, SERVICE_PORT = 15080, 8000
APP = (
    APPLICATION
    + f"""\
    replicas: 2
  sidecars: {{envoy: {{}}}}
  traffic:
    rateLimit: {{perMinute: {2 * LIMIT}, perHour: 1000}}
    # How long one try takes is not what is tested: Envoy's own limit of a request counts.
    retries: {{timeout: 60s}}
"""
)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, below the ephemeral range."""
    found: list[int] = []
    for port in range(22000 + os.getpid() % 5000, 32000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports")


@asynccontextmanager
async def pod(directory: Path) -> AsyncIterator[tuple[str, str]]:
    """Run a service and the sidecar compiled for it; yield where requests go and where metrics are."""
    items = compile_cluster(load(write(directory, FLEET, APP)), "us", engines=engine_commands())
    containers = only(items, "Deployment", "shop")["spec"]["template"]["spec"]["containers"]
    (envoy,) = (each for each in containers if each["name"] == "envoy")
    listen, metrics, service = free_ports(3)
    # The ports are fixed inside a pod; here they must not meet others'.
    moved = {LISTEN_PORT: listen, ENVOY_METRICS_PORT: metrics, SERVICE_PORT: service}

    def rewritten(text: str) -> str:
        for old, new in moved.items():
            text = text.replace(f'"port_value": {old}', f'"port_value": {new}')
        return text.replace("$(POD_IP)", "127.0.0.1").replace(ADMIN_SOCKET, str(directory / "admin.sock"))

    settings = directory / "envoy.json"
    settings.write_text(rewritten(only(items, "ConfigMap", "shop-envoy")["data"]["envoy.json"]), "utf-8")
    command = [rewritten(each) for each in envoy["command"]]
    assert command[:3] == ["envoy", "-c", "/etc/envoy/envoy.json"]

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", service).start()
    process = await asyncio.create_subprocess_exec(
        str(engines.locate().envoy),
        *("-c", str(settings), *command[3:], "--use-dynamic-base-id", "--concurrency", "1"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _ready(f"http://127.0.0.1:{metrics}/ready", process)
        yield f"http://127.0.0.1:{listen}", f"http://127.0.0.1:{metrics}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await runner.cleanup()


async def _ready(url: str, process: asyncio.subprocess.Process) -> None:
    async with aiohttp.ClientSession() as session:

        async def status() -> int:
            assert process.returncode is None, "envoy refused its settings"
            async with session.get(url) as response:
                return response.status

        await until(
            status, accept=lambda found: found == 200, within_s=READY_S, every_s=0.05, not_yet=(aiohttp.ClientError,)
        )


async def test_the_pods_share_of_the_limit_is_enforced(tmp_path: Path) -> None:
    async with pod(tmp_path) as (users, metrics), aiohttp.ClientSession() as session:
        statuses = []
        for _ in range(LIMIT + 5):
            async with session.get(f"{users}/") as response:
                statuses.append(response.status)
        # Two pods at most: each lets half through.
        assert statuses == [200] * LIMIT + [429] * 5
        async with session.get(f"{metrics}/metrics") as response:
            text = await response.text()
        assert "envoy_http_local_rate_limit_rate_limited" in text.replace("per_minute_", "")
        # What the alerts and the dashboard ask for.
        answered = f'envoy_cluster_upstream_rq_xx{{envoy_response_code_class="2",envoy_cluster_name="service"}} {LIMIT}'
        assert answered in text.splitlines()
        assert 'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="service"' in text
        for method, path in (
            ("GET", "/stats"),
            ("POST", "/quitquitquit"),
            ("POST", "/drain_listeners"),
            ("POST", "/metrics"),
            ("GET", "/metrics?filter=x"),
        ):
            async with session.request(method, f"{metrics}{path}") as response:
                assert response.status == 404, "the administration is Envoy's container's own"
        async with session.get(f"{metrics}/ready") as response:
            assert response.status == 200


def test_the_compiled_settings_are_json_to_the_letter(tmp_path: Path) -> None:
    items = compile_cluster(load(write(tmp_path, FLEET, APP)), "us", engines=engine_commands())
    text = only(items, "ConfigMap", "shop-envoy")["data"]["envoy.json"]
    assert json.dumps(json.loads(text), indent=2) == text
