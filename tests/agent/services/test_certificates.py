"""An agent looks at its region's certificates: in files, in handshakes with servers, and as other agents tell."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509

from leeward.agent.services.certificates import Certificates, Server, of_agent
from leeward.core.certificates import LOOK_EVERY_S, Certificate, look_every_s
from leeward.core.identities import CA, CERTIFICATE, INSTANCE_CA
from leeward.core.values import Region
from leeward.kit.http import tls
from leeward.world import identity
from tests.core.views import AP, EU, US

DAY_S = 86400.0


@dataclass
class Peers:
    told: dict[Region, tuple[Certificate, ...]] = field(default_factory=dict)

    async def certificates(self, region: Region, *, timeout_s: float) -> tuple[Certificate, ...] | None:
        return self.told.get(region)


def times(path: Path) -> tuple[float, float]:
    found = x509.load_pem_x509_certificate(path.read_bytes())
    return found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()


def issue(directory: Path) -> None:
    made = identity.create("shop", {EU: 1})
    identity.put(directory / "agent", made.regions[EU].agent)
    identity.put(directory / "store", made.regions[EU].store_client)
    identity.put(directory / "gateway", made.regions[EU].gateway)


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[dict[str, Server]]:
    """Servers that refuse whoever shows no certificate of theirs, as all of ours do."""

    ends: list[asyncio.Task[None]] = []

    async def end(writer: asyncio.StreamWriter) -> None:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    def accepted(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(asyncio.create_task(end(writer)))

    issue(tmp_path)
    found = {}
    async with AsyncExitStack() as stack:
        for name, shows in (("gateway", None), ("store-member", tmp_path / "agent")):
            context = tls.server(tmp_path / ("gateway" if shows is None else "agent")).for_each_handshake()
            server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
            stack.callback(server.close)
            found[name] = Server("127.0.0.1", server.sockets[0].getsockname()[1], EU, shows)
        yield found
    await asyncio.gather(*ends)


async def test_each_certificate_is_seen_where_it_is(tmp_path: Path, serving: dict[str, Server]) -> None:
    files = {"agent": tmp_path / "agent" / CERTIFICATE, "fleet-authority": tmp_path / "agent" / CA}
    peers = Peers({US: (Certificate("agent", 1.0, 2.0),)})
    looked = Certificates(files, serving, EU, (US, AP), peers)
    await looked.look()
    assert {each.name: (each.not_before_unix_s, each.not_after_unix_s) for each in looked.own} == {
        "agent": times(tmp_path / "agent" / CERTIFICATE),
        "fleet-authority": times(tmp_path / "agent" / CA),
        "gateway": times(tmp_path / "gateway" / CERTIFICATE),
        "store-member": times(tmp_path / "agent" / CERTIFICATE),
    }
    assert looked.known == {EU: looked.own, US: peers.told[US]}


async def test_what_is_renewed_is_seen_and_what_falls_silent_is_kept(
    tmp_path: Path, serving: dict[str, Server]
) -> None:
    files = {"agent": tmp_path / "agent" / CERTIFICATE}
    peers = Peers({US: (Certificate("agent", 1.0, 2.0),)})
    silent = {**serving, "store-member": Server("127.0.0.1", 1, EU)}
    looked = Certificates(files, serving, EU, (US,), peers)
    await looked.look()
    before = {each.name: each for each in looked.own}
    # Certificates count whole seconds.
    await asyncio.sleep(1.1)
    issue(tmp_path)
    looked._servers = silent
    peers.told.clear()
    (tmp_path / "agent" / CERTIFICATE).write_text("")
    await looked.look()
    after = {each.name: each for each in looked.own}
    assert after["gateway"].not_after_unix_s > before["gateway"].not_after_unix_s
    assert (after["agent"], after["store-member"]) == (before["agent"], before["store-member"])
    assert looked.known[US] == (Certificate("agent", 1.0, 2.0),)


@pytest.mark.parametrize(
    ("lives_s", "every_s"),
    [((), LOOK_EVERY_S), ((30 * DAY_S, 3650 * DAY_S), LOOK_EVERY_S), ((30 * DAY_S, 24.0), 0.8), ((1.0,), 0.5)],
)
def test_certificates_with_short_lives_are_looked_at_often(lives_s: tuple[float, ...], every_s: float) -> None:
    assert look_every_s([Certificate("agent", 0.0, life_s) for life_s in lives_s]) == every_s


def test_where_an_agent_looks() -> None:
    from tests.agent.machine.test_machine import settings

    files, servers = of_agent(settings(EU))
    assert {"agent", "fleet-authority", "instance-authority", "store-client", "store-authority"} == set(files)
    assert files["instance-authority"].name == INSTANCE_CA
    assert {"store-member", "store-peer", "gateway"} <= set(servers)
    # Whoever shows it nothing is counted as refused.
    assert {each.identity for name, each in servers.items() if name.startswith("instance-")} == {files["agent"].parent}
