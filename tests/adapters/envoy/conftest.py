"""Real gateways for the tests of this folder."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.adapters.envoy.rig import EU, US, Node, node
from tests.kit.certificates import issue_each


@dataclass(frozen=True, slots=True)
class Pair:
    """Two regions whose gateways are live and have no route yet."""

    us: Node
    eu: Node
    identities: Path


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Regions with a link between them that can misbehave, and does when a busy machine pauses this process."""
    async with pair_in(tmp_path, over_link=True) as pair:
        yield pair


@pytest.fixture
async def direct(tmp_path: Path) -> AsyncIterator[Pair]:
    """Regions with nothing between them, for what may be sent once only."""
    async with pair_in(tmp_path, over_link=False) as pair:
        yield pair


@asynccontextmanager
async def pair_in(directory: Path, *, over_link: bool) -> AsyncIterator[Pair]:
    identities = directory / "identity"
    issue_each(identities, ("us", "eu", "stranger"))
    # Of an authority of its own.
    issue_each(identities, ("another-purpose",))
    async with (
        aiohttp.ClientSession() as session,
        node(US, directory, session, over_link=over_link) as us,
        node(EU, directory, session, over_link=over_link) as eu,
    ):
        yield Pair(us, eu, identities)
