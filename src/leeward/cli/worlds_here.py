"""The worlds that run on this machine, and the ways into one: its supervisor, its agents, its API servers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from leeward.adapters.kubernetes.client import Connection, KubernetesCluster
from leeward.cli.agents import Agents
from leeward.cli.exits import CommandError
from leeward.spec.problem import Problem
from leeward.world import places
from leeward.world.client import World, list_worlds
from leeward.world.model import RegionInfo, WorldInfo
from leeward.world.problems import no_such_region


def choose(name: str | None) -> World:
    """Return the world of that name, or the only one there is. Raises CommandError, ProblemsError."""
    if name is not None:
        return World.open(name)
    running = list_worlds()
    if len(running) == 1:
        return World.open(running[0])
    if not running:
        raise CommandError(
            Problem(
                code="no-world",
                where=str(places.home()),
                what="no world is running",
                why="nobody started one there, or it has ended",
                fix="start one: leeward up examples/payments",
            )
        )
    raise CommandError(
        Problem(
            code="several-worlds",
            where=str(places.home()),
            what=f"{len(running)} worlds are running",
            why=f"they are {', '.join(running)}",
            fix=f"say which one: --world {running[0]}",
        )
    )


def region_of(info: WorldInfo, name: str) -> RegionInfo:
    """Return a region of the world. Raises ProblemsError."""
    known = {region.name: region for region in info.regions}
    if name not in known:
        raise no_such_region(name, tuple(known))
    return known[name]


def agents_of(world: World, info: WorldInfo) -> Agents:
    """Return the agents behind the world's front doors."""
    return Agents({region.name: region.agent_url for region in info.regions}, world.operator_directory)


def cluster_in(world: World, region: RegionInfo) -> KubernetesCluster:
    """Return the API server of a region of the world."""
    return KubernetesCluster(
        Connection(
            url=region.api_url,
            ca_file=world.operator_directory / "ca.crt",
            token_file=world.operator_directory / "token",
            server_name=region.name,
        )
    )


@asynccontextmanager
async def cluster_of(world: str | None, region: str) -> AsyncIterator[KubernetesCluster]:
    """Yield a region's API server. Raises CommandError, ProblemsError."""
    async with choose(world) as chosen, cluster_in(chosen, region_of(await chosen.info(), region)) as cluster:
        yield cluster
