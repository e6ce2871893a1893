"""A region to test with: not started, so that a test writes its manifests first."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leeward.adapters.kubernetes.client import KubernetesCluster
from tests.world.kubernetes.region import Region, region_in


@pytest.fixture
async def region(tmp_path: Path) -> AsyncIterator[Region]:
    async with region_in(tmp_path / "r") as region:
        yield region


@pytest.fixture
async def cluster(region: Region) -> AsyncIterator[KubernetesCluster]:
    async with KubernetesCluster(region.connection) as cluster:
        yield cluster
