"""Contexts that follow their files: what a client and a server show after a renewal, and in the midst of one."""

import asyncio
import errno
import math
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from leeward.core.identities import CERTIFICATE, KEY
from leeward.kit.http import tls, tls_files
from leeward.kit.http.client_tls import inspector
from leeward.kit.http.tls_files import TlsFiles, open_server
from leeward.world import identity
from tests.kit.certificates import serial, shown

EU, US = "eu", "us"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    issue(tmp_path)
    return tmp_path


def issue(directory: Path) -> None:
    """Write an identity of each region, of an authority made just now."""
    made = identity.create("shop", {EU: 1, US: 2})
    for region, each in made.regions.items():
        identity.put(directory / region, each.agent)


@asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncIterator[int]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def test_a_context_is_read_again_only_when_a_file_has_changed(files: Path) -> None:
    following = tls.client(files / EU)
    first = following()
    assert following() is first
    issue(files)
    second = following()
    assert second is not first
    assert following() is second


async def test_an_open_server_takes_whoever_trusts_it(files: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(files / EU / "ca.crt"))
    async with serving(open_server(files / EU)()) as port:
        assert await shown("127.0.0.1", port, trusting, server_hostname=EU) == serial(files / EU / CERTIFICATE)


async def test_an_inspector_sees_a_certificate_that_it_does_not_trust(files: Path) -> None:
    before = serial(files / EU / CERTIFICATE)
    async with serving(tls.server(files / EU)()) as port:
        renewed = inspector(files / US)
        issue(files)
        assert await shown("127.0.0.1", port, renewed, server_hostname="anything") == before
        assert await shown("127.0.0.1", port, inspector(None)) == before


async def test_both_ends_shake_hands_with_what_is_there_now(files: Path) -> None:
    client, server = tls.client(files / US), tls.server(files / EU)
    before = serial(files / EU / CERTIFICATE)
    async with serving(server()) as port:
        assert await shown("127.0.0.1", port, client(), server_hostname=EU) == before
    # Another authority: neither end would accept the other's old certificate.
    issue(files)
    async with serving(server()) as port:
        assert (
            await shown("127.0.0.1", port, client(), server_hostname=EU) == serial(files / EU / CERTIFICATE) != before
        )


async def test_a_server_that_takes_one_context_shows_what_is_there_now_and_keeps_its_connections(files: Path) -> None:
    def make() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files / EU / CERTIFICATE, files / EU / KEY)
        return context

    following = TlsFiles(make, files / EU, (CERTIFICATE, KEY))
    async with serving(following.for_each_handshake()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls.client(files / US)())
        issue(files)
        assert await shown("127.0.0.1", port, tls.client(files / US)(), server_hostname=EU) == serial(
            files / EU / CERTIFICATE
        )
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        writer.close()


@pytest.mark.parametrize("old_end", ["client", "server"])
async def test_neither_end_speaks_an_old_tls(files: Path, old_end: str) -> None:
    client, server = tls.client(files / US)(), tls.server(files / EU)()
    old = client if old_end == "client" else server
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    async with serving(server) as port:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await shown("127.0.0.1", port, client, server_hostname=EU)


def test_half_of_an_exchange_changes_nothing(files: Path, tmp_path: Path) -> None:
    following = tls.client(files / EU)
    first = following()
    issue(tmp_path / "next")
    shutil.copy(tmp_path / "next" / EU / CERTIFICATE, files / EU / CERTIFICATE)
    assert following() is first, "the key is another one's"
    assert following() is first
    shutil.copy(tmp_path / "next" / EU / KEY, files / EU / KEY)
    assert following() is not first
    (files / EU / KEY).unlink()
    following()


def test_files_that_could_not_be_read_are_read_at_the_next_handshake(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_files, "AGAIN_S", math.inf)
    following = tls.client(files / EU)
    first = following()
    issue(files)
    with monkeypatch.context() as patch:
        patch.setattr(ssl, "create_default_context", full)
        assert following() is first
    assert following() is first, "not with every handshake"
    monkeypatch.setattr(following, "_not_before_s", 0.0)
    assert following() is not first


def full(*_arguments: object, **_keywords: object) -> ssl.SSLContext:
    raise OSError(errno.EMFILE, "too many open files")


def test_what_cannot_be_used_at_the_start_is_an_error(files: Path) -> None:
    shutil.copy(files / US / KEY, files / EU / KEY)
    with pytest.raises(ssl.SSLError):
        tls.server(files / EU)
    (files / EU / KEY).unlink()
    with pytest.raises(FileNotFoundError):
        tls.server(files / EU)
