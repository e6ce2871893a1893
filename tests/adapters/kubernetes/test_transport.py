"""The authority of an API server is exchanged while a client of it runs."""

from pathlib import Path

import pytest
from aiohttp import web

from leeward.adapters.kubernetes.transport import Connection, Transport
from leeward.core.identities import CA
from leeward.kit.http.tls_files import open_server
from leeward.ports.cluster import ClusterUnavailableError
from leeward.world import identity

US = "us"


async def test_an_exchanged_authority_is_accepted_without_a_restart(tmp_path: Path) -> None:
    def issue(*, trusted: bool) -> None:
        cluster = identity.create("shop", {US: 1}).regions[US].cluster
        identity.put(tmp_path / "server", cluster)
        if trusted:
            identity.put(tmp_path / "client", {CA: cluster[CA], "token": "t"})

    async def version(_request: web.Request) -> web.Response:
        return web.json_response({"major": "1"}, headers={"Connection": "close"})

    issue(trusted=True)
    app = web.Application()
    app.router.add_get("/version", version)
    runner = web.AppRunner(app)
    await runner.setup()
    shown = open_server(tmp_path / "server")
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=shown.for_each_handshake()).start()
    port = runner.addresses[0][1]
    connection = Connection(
        url=f"https://127.0.0.1:{port}",
        ca_file=tmp_path / "client" / CA,
        token_file=tmp_path / "client" / "token",
        server_name=US,
    )
    transport = Transport(connection)
    try:
        assert await transport.json("GET", "/version", timeout_s=20) == {"major": "1"}
        issue(trusted=False)
        with pytest.raises(ClusterUnavailableError):
            await transport.json("GET", "/version", timeout_s=20)
        issue(trusted=True)
        assert await transport.json("GET", "/version", timeout_s=20) == {"major": "1"}
    finally:
        await transport.close()
        await runner.cleanup()
