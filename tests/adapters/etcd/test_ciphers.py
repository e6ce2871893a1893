"""Real etcd members take only ciphers that are forward secret and authenticated, from clients and from one another."""

import asyncio
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from leeward.core.identities import CERTIFICATE, KEY, PEER_CERTIFICATE, PEER_KEY
from tests.adapters.etcd.cluster import Cluster, cluster

pytestmark = pytest.mark.engine


async def agreed(members: Cluster, port: str, ciphers: str) -> str:
    """Return the cipher that a client that offers these gets at a member's port. Raises ssl.SSLError, OSError."""
    home = members.identities["us"]
    url, names = {
        "clients": (members.endpoint("us").url, (CERTIFICATE, KEY)),
        "members": (members.peer_url("us"), (PEER_CERTIFICATE, PEER_KEY)),
    }[port]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    context.load_cert_chain(*(home / name for name in names))
    where = urlsplit(url)
    _, writer = await asyncio.open_connection(where.hostname, where.port, ssl=context)
    found: str = writer.get_extra_info("cipher")[0]
    writer.close()
    return found


@pytest.mark.parametrize("port", ["clients", "members"])
async def test_a_member_refuses_old_ciphers(tmp_path: Path, port: str) -> None:
    async with cluster(tmp_path, ("us",)) as members:
        good = "ECDHE-ECDSA-AES128-GCM-SHA256"
        assert await agreed(members, port, good) == good
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await agreed(members, port, "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA256")
