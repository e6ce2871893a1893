"""Clients that a port refuses: who is named in the log, how often, and what is counted."""

import asyncio
import contextlib
import datetime
import gc
import ssl
from asyncio import sslproto
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID
from structlog.testing import capture_logs

from leeward.core.identities import CA
from leeward.kit.http import tls
from leeward.kit.http.handshakes import Reason, Refused
from leeward.kit.http.presented import names_of
from leeward.kit.http.refusals import INTERVAL_S, LINES_MAX, Refusals
from leeward.kit.http.serving import HttpServer, ServerLimits
from leeward.world import identity
from tests.core.views import APP, EU, US
from tests.kit.waiting import until

FLEET = "shop"
BOUND_S = 20
LIMITS = replace(ServerLimits(), handshake_s=1.0)
GARBAGE = Refused(Reason.NOT_TLS, "wrong version number")
LONG_AGO = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=30)


PROBES = 20


@dataclass
class Serving:
    port: int
    refusals: Refusals
    directory: Path

    def context(self, name: str | None, *, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        """A client that accepts any server, and shows the certificate in a directory."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = newest
        if name is not None:
            context.load_cert_chain(self.directory / name / "tls.crt", self.directory / name / "tls.key")
        return context

    async def shake(self, context: ssl.SSLContext) -> None:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=EU)
            # Over TLS 1.3 a client learns by reading that it was refused.
            async with asyncio.timeout(BOUND_S):
                await reader.read()
            writer.close()

    async def send(self, raw: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(raw)
        with contextlib.suppress(OSError):
            async with asyncio.timeout(BOUND_S):
                await reader.read()
        writer.close()

    async def counted(self, expected: dict[str, int]) -> None:
        await until(
            lambda: self.refusals.counts, accept=lambda found: found == expected, within_s=BOUND_S, every_s=0.01
        )


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    made, stranger = identity.create(FLEET, {EU: 1, US: 2}), identity.create(FLEET, {US: 2})
    expired = identity.FleetIdentity(FLEET, {}, made.operator, made.authorities)
    files = {
        EU: made.regions[EU].agent,
        "store-client": made.regions[EU].store_client,
        "gateway": made.regions[EU].gateway,
        "instance": made.instance(APP, EU),
        "another-fleet": stranger.regions[US].agent,
        "expired": expired.operator_of("olga", [identity.Grant()], LONG_AGO),
        "not-yet": made.operator_of("otto", [identity.Grant()], datetime.datetime(2999, 1, 1, tzinfo=datetime.UTC)),
    }
    for name, each in files.items():
        identity.put(tmp_path / name, each)
    app = web.Application()
    refusals = Refusals("agent")
    async with HttpServer(app, "127.0.0.1", 0, tls.server(tmp_path / EU), refusals, LIMITS) as server:
        yield Serving(server.port, refusals, tmp_path)


def only(logs: list[Any]) -> dict[str, Any]:
    (line,) = [line for line in logs if line["event"] == "client refused"]
    return dict(line)


@pytest.mark.parametrize(
    ("name", "reason", "says"),
    [
        pytest.param(None, Reason.NO_CERTIFICATE, None, id="none"),
        pytest.param("store-client", Reason.WRONG_AUTHORITY, "store-client/eu", id="of another purpose"),
        pytest.param("gateway", Reason.WRONG_AUTHORITY, "gateway/eu", id="a gateway's"),
        pytest.param("instance", Reason.WRONG_AUTHORITY, "instance/eu", id="an instance manager's"),
        pytest.param("another-fleet", Reason.WRONG_AUTHORITY, "region/us", id="of another fleet"),
        pytest.param("expired", Reason.EXPIRED, "operator", id="expired"),
        pytest.param("not-yet", Reason.NOT_YET_VALID, "operator", id="of the future"),
    ],
)
async def test_a_refused_certificate_is_logged_with_its_names_and_counted(
    serving: Serving, name: str | None, reason: Reason, says: str | None
) -> None:
    with capture_logs() as logs:
        await serving.shake(serving.context(name))
        await serving.counted({reason: 1})
    line = only(logs)
    assert (line["server"], line["client"], line["reason"]) == ("agent", "127.0.0.1", reason)
    assert line["because"]
    if says is None:
        assert "uris" not in line
    else:
        assert says in line["uris"]
        assert line["subject"]
        assert "CA" in line["issuer"]


async def test_a_certificate_for_servers_only_is_of_the_wrong_usage(serving: Serving) -> None:
    # The same authority issues it here, so that only the usage is wrong.
    made = identity.create(FLEET, {EU: 1})
    identity.put(serving.directory / "instance", made.instance(APP, EU))
    identity.put(serving.directory / EU, {CA: made.operator["instance-ca.crt"]})
    with capture_logs() as logs:
        await serving.shake(serving.context("instance"))
        await serving.counted({Reason.WRONG_USAGE: 1})
    assert "instance/eu" in only(logs)["uris"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", Reason.NOT_TLS, id="plain HTTP"),
        pytest.param(b"\x00\xffgarbage" * 9, Reason.NOT_TLS, id="garbage"),
        pytest.param(b"\x16\x03\x01\x00\x05hello", Reason.OTHER_TLS, id="garbage in a record"),
        pytest.param(b"\x16\x03", Reason.TOO_SLOW, id="the beginning of a record"),
    ],
)
async def test_what_is_no_handshake_is_logged_and_counted(serving: Serving, raw: bytes, reason: Reason) -> None:
    with capture_logs() as logs:
        await serving.send(raw)
        await serving.counted({reason: 1})
    assert only(logs)["reason"] == reason


async def test_an_old_tls_and_a_client_that_distrusts_the_server_are_told_apart(serving: Serving) -> None:
    await serving.shake(serving.context(EU, newest=ssl.TLSVersion.TLSv1_2))
    await serving.counted({Reason.OLD_TLS: 1})

    def distrust() -> None:
        import socket

        context = ssl.create_default_context(cafile=str(serving.directory / "gateway" / CA))
        with socket.create_connection(("127.0.0.1", serving.port)) as plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname=EU)

    await asyncio.to_thread(distrust)
    await serving.counted({Reason.OLD_TLS: 1, Reason.DISTRUSTS_US: 1})


async def test_a_probe_of_the_port_and_an_accepted_client_are_not_refused(serving: Serving) -> None:
    with capture_logs() as logs:
        _, writer = await asyncio.open_connection("127.0.0.1", serving.port)
        writer.close()
        _, accepted = await asyncio.open_connection(
            "127.0.0.1", serving.port, ssl=serving.context(EU), server_hostname=EU
        )
        accepted.close()
        # What comes after them is counted alone.
        await serving.shake(serving.context(None))
        await serving.counted({Reason.NO_CERTIFICATE: 1})
    assert only(logs)["reason"] == Reason.NO_CERTIFICATE


async def test_probes_of_the_port_leave_no_buffers_behind(serving: Serving) -> None:
    """Each has 256 KiB, and objects are collected by their number, not by their size."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(PROBES):
            _, writer = await asyncio.open_connection("127.0.0.1", serving.port)
            writer.close()
        await until(_handshakes, "no handshake is left", accept=lambda found: found == 0, within_s=BOUND_S)
    finally:
        gc.enable()


def _handshakes() -> int:
    return sum(isinstance(each, sslproto.SSLProtocol) for each in gc.get_objects())


def lines(refuse: Callable[[], None]) -> list[Any]:
    with capture_logs() as logs:
        refuse()
    return list(logs)


def test_a_client_is_logged_once_per_reason_and_interval() -> None:
    refusals = Refusals("agent")

    def thousand() -> None:
        for _ in range(1000):
            refusals.note("10.0.0.1", GARBAGE, 5.0)

    (line,) = lines(thousand)
    assert line["repeated"] == 0
    (line,) = lines(lambda: refusals.note("10.0.0.1", Refused(Reason.EXPIRED, "x"), 5.0))
    (line,) = lines(lambda: refusals.note("10.0.0.1", GARBAGE, 5.0 + INTERVAL_S))
    assert line["repeated"] == 999
    assert refusals.counts == {Reason.NOT_TLS: 1001, Reason.EXPIRED: 1}


def test_a_flood_from_many_addresses_fills_neither_log_nor_memory() -> None:
    refusals = Refusals("agent")

    def flood() -> None:
        for number in range(10_000):
            refusals.note(f"10.0.{number // 250}.{number % 250}", GARBAGE, 5.0)

    assert len(lines(flood)) == LINES_MAX
    assert len(refusals._peers) == LINES_MAX
    others, again = lines(lambda: refusals.note("10.9.9.9", GARBAGE, 6.0 + INTERVAL_S))
    assert (others["event"], others["refused"]) == ("more clients refused than are logged", 10_000 - LINES_MAX)
    assert again["client"] == "10.9.9.9"
    assert refusals.counts == {Reason.NOT_TLS: 10_001}


@pytest.mark.parametrize("presented", [b"", b"\x30\x82", b"\xff" * 100])
def test_what_is_no_certificate_is_called_unreadable(presented: bytes) -> None:
    assert names_of(presented) == {"subject": "unreadable"}
    assert names_of(None) == {}


def test_a_certificate_with_names_of_a_kind_that_is_not_supported_is_called_unreadable() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stranger")])
    x400 = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes.fromhex("3004a3023000"))
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    made = builder.add_extension(x400, critical=False).sign(key, hashes.SHA256())
    assert names_of(made.public_bytes(serialization.Encoding.DER)) == {"subject": "unreadable"}
