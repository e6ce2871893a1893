"""The worlds running on this machine, and access to one: its supervisor, its agents, its API servers."""

import math
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from leeward.adapters.kubernetes.client import Connection, KubernetesCluster
from leeward.base.problem import Problem
from leeward.cli.agents import Agents
from leeward.cli.exits import CommandError
from leeward.core.identities import CA, CERTIFICATE, CLUSTER_CA, KEY
from leeward.world import places
from leeward.world.client import World, list_worlds
from leeward.world.identity import of_earlier_version
from leeward.world.model import RegionInfo, WorldInfo
from leeward.world.problems import no_such_region

IDENTITY_VARIABLE = "LEEWARD_IDENTITY"
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


def choose(name: str | None) -> World:
    """Return the world of that name, or the only one. Raises CommandError, ProblemsError."""
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
                why="none was started there, or it has ended",
                fix="start one: leeward up examples/payments",
            )
        )
    raise CommandError(
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


def agents_of(world: World, info: WorldInfo) -> Agents:
    """Return a client for the world's agents."""
    return Agents({region.name: region.agent_url for region in info.regions}, identity_of(world))


def whole_fleet(world: World, info: WorldInfo) -> Agents:
    """Return a client for the agents as the world's own operator, who sees every application."""
    return Agents({region.name: region.agent_url for region in info.regions}, world.operator_directory)


def identity_of(world: World) -> Path:
    """Return the directory with the certificate that commands present to agents. Raises CommandError."""
    named = os.environ.get(IDENTITY_VARIABLE)
    if not named:
        return world.operator_directory
    missing = [name for name in (CA, CERTIFICATE, KEY) if not (Path(named) / name).is_file()]
    if missing:
        raise CommandError(
            Problem(
                code="no-identity",
                where=named,
                what=f"{IDENTITY_VARIABLE} names a directory without {', '.join(missing)}",
                why=f"an operator's identity is {CA}, {CERTIFICATE} and {KEY}",
                fix=f"set it to a directory created by leeward operator, or unset {IDENTITY_VARIABLE}",
            )
        )
    if not _authorities(Path(named)) & _authorities(world.operator_directory):
        raise CommandError(
            Problem(
                code="identity-of-another-world",
                where=named,
                what=f"{IDENTITY_VARIABLE} names an operator of another fleet or world",
                why=f"its {CA} is not that of world {world.directory.name}",
                fix=f"leeward operator NAME --app APP --world {world.directory.name} -o DIR,"
                f" or unset {IDENTITY_VARIABLE}",
            )
        )
    expired_s = time.time() - _ends_unix_s(Path(named) / CERTIFICATE)
    if expired_s > 0:
        raise CommandError(
            Problem(
                code="identity-expired",
                where=named,
                what=f"{IDENTITY_VARIABLE} names an operator whose certificate expired {expired_s / 3600:.1f} h ago",
                why="an operator's certificate lasts 24 hours and is not renewed",
                fix=f"issue another one: leeward operator NAME --app APP -o DIR, or unset {IDENTITY_VARIABLE}",
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


def cluster_in(world: World, region: RegionInfo) -> KubernetesCluster:
    """Return the API server of a region of the world. Raises ProblemsError for a world of an earlier version."""
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


@asynccontextmanager
async def cluster_of(world: str | None, region: str) -> AsyncIterator[KubernetesCluster]:
    """Yield a region's API server. Raises CommandError, ProblemsError."""
    async with choose(world) as chosen, cluster_in(chosen, region_of(await chosen.info(), region)) as cluster:
        yield cluster
