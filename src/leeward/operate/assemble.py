"""Turn the user's files into all that a world needs: identity, secrets, manifests, and its configuration.

``demo``, ``drill`` and the tests start their worlds through here as well.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from leeward.adapters.envoy.settings import ADMIN_SOCKET
from leeward.compile import DatabasePasswords, KubeObject
from leeward.compile.target import GATEWAY_VOLUME
from leeward.spec import Spec, load
from leeward.world import engines, identity, manifests, places
from leeward.world.client import World, launch
from leeward.world.engines import Engines
from leeward.world.identity import Files, FleetIdentity
from leeward.world.kubernetes.volumes import Directories
from leeward.world.model import CERTIFICATES_S, DEFAULT_REGION_COMMAND, LinkConfig, RegionConfig, WorldConfig
from leeward.world.objects import engine_commands, region_objects
from leeward.world.places import Claim

MANIFESTS = "manifests"


@dataclass(frozen=True, slots=True)
class Assembly:
    """A world that is ready to be launched; its directory is claimed."""

    spec: Spec
    config: WorldConfig
    claim: Claim


def assemble(directory: Path, name: str, *, certificates_s: float = CERTIFICATES_S) -> Assembly:
    """Read the files and write everything into a fresh directory. Raises ProblemsError.

    ``certificates_s``: how long certificates are valid; they are renewed while the world runs.
    """
    source = directory.absolute()
    spec = load(source)
    found = engines.locate()
    claim = Claim(name)
    try:
        claim.guard()  # from here on nothing is left even when this process is killed
        config = replace(_config(spec, name, claim.directory, source, found), certificates_s=certificates_s)
        _check_sockets(config)
        valid = timedelta(seconds=certificates_s)
        fleet_identity = identity.create(
            config.fleet, {region.name: region.index for region in config.regions}, valid=valid
        )
        identity.write(fleet_identity, config)
        passwords = {
            each.metadata.name: DatabasePasswords(owner=identity.new_secret(), replication=identity.new_secret())
            for each in spec.applications
        }
        for region in config.regions:
            instances = {
                app: fleet_identity.instance(app, region.name, valid=valid) for app in placed(spec, region.name)
            }
            objects = compiled(spec, region.name, fleet_identity, passwords, instances, source, found)
            Path(region.manifests).mkdir(mode=0o700, parents=True)
            manifests.write(region, objects)
    except BaseException:
        claim.abandon()
        raise
    return Assembly(spec, config, claim)


def compiled(
    spec: Spec,
    region: str,
    fleet_identity: FleetIdentity,
    passwords: Mapping[str, DatabasePasswords],
    instances: Mapping[str, Files],
    source: Path,
    found: Engines,
) -> list[KubeObject]:
    """Return what a region of a world runs. Raises ProblemsError for what cannot be compiled."""
    commands = engine_commands(etcd=str(found.etcd), envoy=str(found.envoy))
    return region_objects(
        spec,
        region,
        identity=fleet_identity,
        databases=passwords,
        instances=instances,
        source_dir=source,
        commands=commands,
    )


def placed(spec: Spec, region: str) -> tuple[str, ...]:
    """Return the applications that run in a region."""
    return tuple(each.metadata.name for each in spec.applications if region in spec.placement(each))


async def launch_assembly(assembly: Assembly, progress: Callable[[str], None]) -> World:
    """Launch the world in the background; returns when its regions run. Raises ProblemsError.

    It ends with this process, however that ends, until ``keep`` is called.
    """
    return await launch(assembly.config, progress, assembly.claim, tethered=True)


def _check_sockets(config: WorldConfig) -> None:
    """Refuse a world in which a gateway's socket has too long a path. Raises ProblemsError.

    PostgreSQL's are made elsewhere where theirs would be too long.
    """
    some_pod = {"metadata": {"uid": "0" * 36}}
    for region in config.regions:
        pod = Directories(config.region_directory(region.name)).pod(some_pod)
        places.check_socket(pod / GATEWAY_VOLUME / ADMIN_SOCKET, f"world {config.name}, region {region.name}")


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
