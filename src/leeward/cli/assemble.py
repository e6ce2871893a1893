"""From the user's files to all that a world needs: identity, secrets, manifests, and its configuration.

``demo``, ``drill`` and the tests start their worlds through here as well.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from leeward.compile import DatabasePasswords
from leeward.spec import Spec, load
from leeward.world import engines, identity
from leeward.world.client import World, launch
from leeward.world.engines import Engines
from leeward.world.model import DEFAULT_REGION_COMMAND, LinkConfig, RegionConfig, WorldConfig
from leeward.world.objects import engine_commands, region_objects
from leeward.world.places import Claim

MANIFESTS = "manifests"


@dataclass(frozen=True, slots=True)
class Assembly:
    """A world that is ready to be launched; its directory is claimed."""

    spec: Spec
    config: WorldConfig
    claim: Claim


def assemble(directory: Path, name: str) -> Assembly:
    """Read the files and write everything into a fresh directory. Raises ProblemsError."""
    source = directory.absolute()
    spec = load(source)
    found = engines.locate()
    claim = Claim(name)
    try:
        claim.guard()  # from here on nothing is left even when this process is killed
        config = _config(spec, name, claim.directory, source, found)
        proofs = identity.create(config.fleet, {region.name: region.index for region in config.regions})
        identity.write(proofs, config)
        passwords = {
            each.metadata.name: DatabasePasswords(owner=identity.new_secret(), replication=identity.new_secret())
            for each in spec.applications
        }
        commands = engine_commands(etcd=str(found.etcd), envoy=str(found.envoy))
        for region in config.regions:
            objects = region_objects(
                spec, region.name, identity=proofs, databases=passwords, source_dir=source, commands=commands
            )
            manifests = Path(region.manifests)
            manifests.mkdir(mode=0o700, parents=True)
            (manifests / "objects.json").write_text(json.dumps(objects, indent=1))
    except BaseException:
        claim.abandon()
        raise
    return Assembly(spec, config, claim)


async def launch_assembly(assembly: Assembly, progress: Callable[[str], None]) -> World:
    """Launch the world in the background; returns when its regions run. Raises ProblemsError.

    It ends with this process, however that ends, until it is kept.
    """
    return await launch(assembly.config, progress, assembly.claim, tethered=True)


def _config(spec: Spec, name: str, home: Path, source: Path, found: Engines) -> WorldConfig:
    names = [region.name for region in spec.regions]
    return WorldConfig(
        name=name,
        fleet=spec.fleet.metadata.name,
        directory=str(home),
        regions=tuple(
            RegionConfig(
                name=region,
                index=index,
                namespaces=tuple(each.namespace for each in spec.applications if region in spec.placement(each)),
                manifests=str(home / "regions" / region / MANIFESTS),
            )
            for index, region in enumerate(names, start=1)
        ),
        links=tuple(
            LinkConfig(regions=(one, other), rtt_ms=spec.rtt_s(one, other) * 1000)
            for position, one in enumerate(names)
            for other in names[position + 1 :]
        ),
        files=(str(source),),
        region_command=(*DEFAULT_REGION_COMMAND, "--engine", f"postgres={found.postgres_bin}"),
    )
