"""Real gateways for the tests of this folder."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.adapters.envoy.rig import EU, US, Node, make_identities, node


@dataclass(frozen=True, slots=True)
class Pair:
    """Two regions whose gateways are live and have no route yet."""

    us: Node
    eu: Node
    identities: Path


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    identities = tmp_path / "identity"
    make_identities(identities, ("us", "eu", "stranger"))
    async with aiohttp.ClientSession() as session, node(US, tmp_path, session) as us, node(EU, tmp_path, session) as eu:
        yield Pair(us, eu, identities)
