"""Real etcd members whose certificates are renewed while they run."""

import contextlib
import shutil
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from leeward.adapters.etcd.quorum import connect
from leeward.core.identities import CA, CERTIFICATE, KEY, PEER_CERTIFICATE, PEER_KEY
from leeward.ports.quorum import Put, QuorumUnavailableError
from tests.adapters.etcd.cluster import READY_S, Cluster, cluster
from tests.kit.certificates import Authority, serial, shown
from tests.kit.waiting import until

NAMES = ("ap", "eu", "us")

pytestmark = pytest.mark.engine


async def shown_at(url: str, certificate: Path, key: Path) -> int:
    """Return the serial number of what a member shows in a new handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(certificate, key)
    host, port = urlsplit(url).hostname, urlsplit(url).port
    return await shown(host, port, context)


async def shown_by(members: Cluster, name: str) -> tuple[int, int]:
    """Return what a member shows to clients and to other members."""
    home = members.identities[name]
    return (
        await shown_at(members.endpoint(name).url, home / CERTIFICATE, home / KEY),
        await shown_at(members.peer_url(name), home / PEER_CERTIFICATE, home / PEER_KEY),
    )


def written(members: Cluster, name: str) -> tuple[int, int]:
    home = members.identities[name]
    return serial(home / CERTIFICATE), serial(home / PEER_CERTIFICATE)


async def test_members_and_a_client_that_go_on_use_renewed_certificates(tmp_path: Path) -> None:
    async with cluster(tmp_path, NAMES) as members, members.connect("us") as quorum:
        await quorum.transact((), (Put("k", "before"),), timeout_s=20)
        before = {name: await shown_by(members, name) for name in NAMES}
        members.renew()
        after = {name: await shown_by(members, name) for name in NAMES}
        assert after == {name: written(members, name) for name in NAMES}
        assert all(after[name][port] != before[name][port] for name in NAMES for port in (0, 1))
        await quorum.transact((), (Put("k", "after"),), timeout_s=20)
        # Those that went on dial one that is new, and it dials them.
        await members.kill("eu")
        await members.start("eu")
        await members.ready("eu")
        assert (await quorum.snapshot("k", timeout_s=20)).entries["k"].value == "after"


async def test_a_member_reads_the_authorities_that_it_trusts_when_it_starts_and_accepts_several(tmp_path: Path) -> None:
    async with cluster(tmp_path, ("us",)) as members:
        home, new = members.identities["us"], Authority().issue("us", tmp_path / "new")
        old_authority, new_authority = ((folder / CA).read_text() for folder in (home, new))
        # What the clients of either authority trust is not in question here.
        (new / CA).write_text(old_authority + new_authority)
        old = Path(shutil.copytree(home, tmp_path / "old"))
        (old / CA).write_text(old_authority + new_authority)

        async def restart() -> None:
            await members.kill("us")
            await members.start("us")
            await until(lambda: accepted(members), "it answers", within_s=READY_S)

        async def accepted(members: Cluster) -> list[str]:
            found = []
            for name, folder in (("old", old), ("new", new)):
                async with connect([members.endpoint("us")], folder) as quorum:
                    with contextlib.suppress(QuorumUnavailableError):
                        await quorum.snapshot("", timeout_s=5)
                        found.append(name)
            return found

        assert await accepted(members) == ["old"]
        (home / CA).write_text(old_authority + new_authority)
        assert await accepted(members) == ["old"], "it goes on with what it read"
        await restart()
        assert await accepted(members) == ["old", "new"]
        # A member is a client of its own, so its certificate is exchanged before.
        for file in (CERTIFICATE, KEY):
            shutil.copy(new / file, home / file)
        (home / CA).write_text(new_authority)
        assert await accepted(members) == ["old", "new"], "the same"
        await restart()
        assert await accepted(members) == ["new"]
