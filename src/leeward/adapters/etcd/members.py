"""Bring back a member whose data directory is lost. One that still has it just starts."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leeward.adapters.etcd.gateway import Endpoint, Gateway, open_gateway
from leeward.ports.quorum import QuorumUnavailableError

ATTEMPT_S = 2.0
PAUSE_S = 0.2


async def readd_member(
    survivors: Sequence[Endpoint], identity_dir: Path, *, name: str, peer_url: str, timeout_s: float
) -> dict[str, str]:
    """Remove the member ``name`` and add it again; return peer URL by name for its ``--initial-cluster``.

    Then start it with an empty data directory and ``joining=True``. May be repeated: a member that was added
    and has not started yet is left alone. Raises QuorumUnavailableError when it is not done in time.
    """
    because = "no attempt was made"
    try:
        async with asyncio.timeout(timeout_s), open_gateway(survivors, identity_dir) as gateway:
            while True:
                try:
                    return await _readd(gateway, name, peer_url)
                except QuorumUnavailableError as error:
                    # For about two seconds after a removal etcd refuses to add: "unhealthy cluster".
                    because = str(error)
                    await asyncio.sleep(PAUSE_S)
    except TimeoutError as error:
        raise QuorumUnavailableError(f"{name} was not added within {timeout_s:g} s: {because}") from error


async def _readd(gateway: Gateway, name: str, peer_url: str) -> dict[str, str]:
    members = await _list(gateway)
    if not any(_is_waiting(member, peer_url) for member in members):
        for member in members:
            if member.get("name") == name or peer_url in member.get("peerURLs", ()):
                await gateway.post("/v3/cluster/member/remove", {"ID": member["ID"]}, timeout_s=ATTEMPT_S)
        await gateway.post("/v3/cluster/member/add", {"peerURLs": [peer_url]}, timeout_s=ATTEMPT_S)
        members = await _list(gateway)
    return {member.get("name") or name: member["peerURLs"][0] for member in members}


def _is_waiting(member: dict[str, Any], peer_url: str) -> bool:
    return not member.get("name") and peer_url in member.get("peerURLs", ())


async def _list(gateway: Gateway) -> list[dict[str, Any]]:
    reply = await gateway.post("/v3/cluster/member/list", {"linearizable": True}, timeout_s=ATTEMPT_S)
    members: list[dict[str, Any]] = reply["members"]
    return members
