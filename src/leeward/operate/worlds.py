"""The worlds running on this machine, and the fleet in one: its supervisor, its agents, its API servers."""

import math
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leeward.base.problem import Problem, ProblemsError
from leeward.core.identities import CA, CERTIFICATE, CLUSTER_CA, KEY
from leeward.operate.agents import Agents
from leeward.operate.outcome import OperationError
from leeward.world import places
from leeward.world.client import World, list_worlds
from leeward.world.model import RegionInfo, WorldInfo
from leeward.world.problems import no_such_region, of_earlier_version

if TYPE_CHECKING:
    from leeward.adapters.kubernetes.client import KubernetesCluster
    from leeward.spec import Spec

IDENTITY_VARIABLE = "LEEWARD_IDENTITY"
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


def choose(name: str | None) -> World:
    """Return the world of that name, or the only one. Raises OperationError, ProblemsError."""
    if name is not None:
        return World.open(name)
    running = list_worlds()
    if len(running) == 1:
        return World.open(running[0])
    if not running:
        raise OperationError(
            Problem(
                code="no-world",
                where=str(places.home()),
                what="no world is running",
                why="none was started there, or it has ended",
                fix="start one: leeward up -f examples/payments",
            )
        )
    raise OperationError(
        Problem(
            code="several-worlds",
            where=str(places.home()),
            what=f"{len(running)} worlds are running",
            why=f"they are {', '.join(running)}",
            fix=f"choose one: --world {running[0]}",
        )
    )


def region_of(info: WorldInfo, name: str) -> RegionInfo:
    """Return a region of the world. Raises ProblemsError."""
    known = {region.name: region for region in info.regions}
    if name not in known:
        raise no_such_region(name, tuple(known))
    return known[name]


def identity_of(world: World) -> Path:
    """Return the directory with the certificate that commands present to agents. Raises OperationError."""
    named = os.environ.get(IDENTITY_VARIABLE)
    if not named:
        return world.operator_directory
    missing = [name for name in (CA, CERTIFICATE, KEY) if not (Path(named) / name).is_file()]
    if missing:
        raise OperationError(
            Problem(
                code="no-identity",
                where=named,
                what=f"{IDENTITY_VARIABLE} names a directory without {', '.join(missing)}",
                why=f"an operator's identity is {CA}, {CERTIFICATE} and {KEY}",
                fix=f"set it to a directory created by leeward operator, or unset {IDENTITY_VARIABLE}",
            )
        )
    if not _authorities(Path(named)) & _authorities(world.operator_directory):
        raise OperationError(
            Problem(
                code="identity-of-another-world",
                where=named,
                what=f"{IDENTITY_VARIABLE} names an operator of another fleet or world",
                why=f"its {CA} is not that of world {world.directory.name}",
                fix=f"leeward operator NAME --app APP --world {world.directory.name} --out DIR,"
                f" or unset {IDENTITY_VARIABLE}",
            )
        )
    expired_s = time.time() - _ends_unix_s(Path(named) / CERTIFICATE)
    if expired_s > 0:
        raise OperationError(
            Problem(
                code="identity-expired",
                where=named,
                what=f"{IDENTITY_VARIABLE} names an operator whose certificate expired {expired_s / 3600:.1f} h ago",
                why="an operator's certificate lasts 24 hours and is not renewed",
                fix=f"issue another one: leeward operator NAME --app APP --out DIR, or unset {IDENTITY_VARIABLE}",
            )
        )
    return Path(named)


def _authorities(directory: Path) -> set[str]:
    """Return the authorities that an identity trusts: two of one purpose while it is exchanged."""
    return set(_PEM.findall((directory / CA).read_text()))


def _ends_unix_s(certificate: Path) -> float:
    """Return when a certificate expires; infinity for an invalid one, which the handshake rejects."""
    # Imported here: it takes longer to import than most commands run.
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc.timestamp()
    except ValueError:
        return math.inf


def cluster_in(world: World, region: RegionInfo) -> "KubernetesCluster":
    """Return the API server of a region of the world. Raises ProblemsError for a world of an earlier version."""
    # Imported here: most commands ask agents only.
    from leeward.adapters.kubernetes.client import Connection, KubernetesCluster

    authority = world.operator_directory / CLUSTER_CA
    if not authority.exists():
        raise of_earlier_version(world.directory.name)
    return KubernetesCluster(
        Connection(
            url=region.api_url,
            ca_file=authority,
            token_file=world.operator_directory / "token",
            server_name=region.name,
        )
    )


@dataclass(frozen=True, slots=True)
class WorldFleet:
    """The fleet in a world, as it was described when it was opened: an ``operate.fleet.Fleet``."""

    control: World
    world: WorldInfo

    @property
    def name(self) -> str:
        """The fleet's name."""
        return self.world.fleet

    @property
    def regions(self) -> tuple[str, ...]:
        """Its regions' names."""
        return tuple(region.name for region in self.world.regions)

    def agents(self) -> Agents:
        """Return a client of every agent, with the identity that commands present. Raises OperationError."""
        return Agents(self._agent_urls(), identity_of(self.control))

    def all_agents(self) -> Agents:
        """Return such a client as the world's own operator, who sees every application."""
        return Agents(self._agent_urls(), self.control.operator_directory)

    def cluster(self, region: str) -> "KubernetesCluster":
        """Return the API server of a region. Raises ProblemsError: unknown, or of a world of an earlier version."""
        return cluster_in(self.control, region_of(self.world, region))

    def spec(self) -> "Spec":
        """Return the files that the world was started from, as they are now. Raises ProblemsError."""
        # Imported here: most commands ask agents only, and reading files takes longer than that.
        from leeward.spec import load

        return load(Path(self.world.files[0]))

    async def refreshed(self) -> "WorldFleet":
        """Return the fleet as the world describes it now. Raises ProblemsError when the world has ended."""
        return WorldFleet(self.control, await self.control.info())

    def _agent_urls(self) -> dict[str, str]:
        return {region.name: region.agent_url for region in self.world.regions}


@asynccontextmanager
async def open_fleet(world: str | None) -> AsyncIterator[WorldFleet]:
    """Yield the fleet in the world of that name, or in the only one. Raises OperationError, ProblemsError."""
    async with choose(world) as chosen:
        yield WorldFleet(chosen, await chosen.info())


async def running() -> list[WorldInfo]:
    """Return what every world on this machine says of itself."""
    found = []
    for name in list_worlds():
        try:
            found.append(await described(World.open(name)))
        except ProblemsError:  # it is starting or stopping: it has no supervisor to query
            continue
    return found


async def described(world: World) -> WorldInfo:
    """Return what a world says of itself, and close the connection. Raises ProblemsError."""
    async with world:
        return await world.info()
