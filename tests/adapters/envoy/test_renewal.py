"""Real gateways whose certificates are renewed while they run, as a kubelet exchanges a Secret's files."""

import asyncio
import ssl
from pathlib import Path

import pytest

from leeward.core.identities import CERTIFICATE
from tests.adapters.envoy.conftest import Pair
from tests.adapters.envoy.rig import EGRESS, EU, TIMEOUT_S, US, Node, eventually
from tests.kit.certificates import issue_each, serial, shown

pytestmark = pytest.mark.engine
FILES = ("ca.crt", "tls.crt", "tls.key")


def show(home: Path, files: Path) -> None:
    """Exchange the files of a mounted Secret in one step: links into ``..data``, itself a link."""
    fresh = home / "..data.new"
    fresh.symlink_to(files)
    fresh.replace(home / "..data")
    for name in FILES:
        if not (home / name).is_symlink():
            (home / name).unlink()
            (home / name).symlink_to(f"..data/{name}")


async def shown_by(node: Node) -> int:
    """Return the serial number of what a gateway shows to another one."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    host, port = node.settings.host, node.settings.peers_port
    async with asyncio.timeout(TIMEOUT_S):
        return await shown(host, port, context, server_hostname=f"http.{node.region}")


async def test_new_connections_use_what_is_renewed_and_open_ones_go_on(pair: Pair, tmp_path: Path) -> None:
    homes = {node: Path(node.settings.identity_dir) for node in (pair.us, pair.eu)}
    for name in ("first", "second"):
        issue_each(tmp_path / name, (US, EU))
    for node, home in homes.items():
        show(home, tmp_path / "first" / node.region)
        await node.apply(US)
    await pair.eu.warm("http")
    await pair.eu.warm("postgres")
    assert (await pair.eu.request("POST")).region == US
    stream = await pair.eu.connect(EGRESS[US])
    assert await stream.ask("before") == "us before"
    # Of another authority, so that nothing old passes for new.
    for node, home in homes.items():
        show(home, tmp_path / "second" / node.region)

    async def renewed() -> bool:
        return [await shown_by(node) for node in homes] == [serial(home / CERTIFICATE) for home in homes.values()]

    await eventually(renewed)
    assert (await pair.eu.request("POST")).region == US
    assert await stream.ask("after") == "us after"
    # Every connection between the two is a new one.
    await pair.us.stop_envoy()
    async with pair.us.envoy():

        async def reached() -> bool:
            answer = await pair.eu.request("POST")
            return answer.status == 200 and answer.region == US

        await eventually(reached)
