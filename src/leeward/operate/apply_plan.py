"""Plan what changed files mean for each region of a running world. Nothing is applied here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from leeward.compile import DatabasePasswords, KubeObject
from leeward.compile.region.agent import NAME, SETTINGS_MAP
from leeward.compile.region.identity import (
    OWNER_PASSWORD_KEY,
    REPLICATION_PASSWORD_KEY,
    database_secret,
    instance_secret,
)
from leeward.compile.target import SYSTEM_NAMESPACE
from leeward.operate import assemble
from leeward.spec import Problem, ProblemsError, Spec
from leeward.world import engines, identity, manifests
from leeward.world.model import RegionConfig, WorldConfig

KEPT_KINDS = ("Namespace", "PersistentVolumeClaim")
"""Never deleted: they hold data, or objects with data."""
Identity = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What changes in one region."""

    config: RegionConfig
    wanted: list[KubeObject]
    added: list[KubeObject]
    changed: list[KubeObject]
    removed: list[KubeObject]

    @property
    def region(self) -> str:
        """Its name."""
        return self.config.name

    @property
    def restarts_agent(self) -> bool:
        """Whether the agent must restart to read new settings."""
        return any(identity_of(each) in (AGENT_SETTINGS, AGENT) for each in self.changed)

    @property
    def replaces_agent(self) -> bool:
        """Whether its pod is replaced by the Deployment's own change."""
        return any(identity_of(each) == AGENT for each in self.changed)


def identity_of(item: KubeObject) -> Identity:
    """Return what identifies an object within its cluster."""
    metadata = item["metadata"]
    return str(item["apiVersion"]), str(item["kind"]), str(metadata.get("namespace", "")), str(metadata["name"])


AGENT: Identity = ("apps/v1", "Deployment", SYSTEM_NAMESPACE, NAME)
AGENT_SETTINGS: Identity = ("v1", "ConfigMap", SYSTEM_NAMESPACE, SETTINGS_MAP)


def plan(spec: Spec, config: WorldConfig) -> list[Plan]:
    """Return what changes in each region. Raises ProblemsError for what a running world cannot change."""
    names = [each.name for each in config.regions]
    rtts = {link.regions: link.rtt_ms for link in config.links}
    same = spec.fleet.metadata.name == config.fleet and [each.name for each in spec.regions] == names
    if not same or any(abs(spec.rtt_s(*pair) * 1000 - rtt_ms) > 1e-6 for pair, rtt_ms in rtts.items()):
        raise ProblemsError([_fixed(config)])
    before = {each.name: manifests.read(each) for each in config.regions}
    fleet_identity, found, source = identity.read(config), engines.locate(), Path(config.files[0])
    valid = timedelta(seconds=config.certificates_s)
    passwords = _passwords(spec, [item for items in before.values() for item in items])

    def wanted(region: str) -> list[KubeObject]:
        instances = _instances(spec, region, before[region], fleet_identity, valid)
        return assemble.compiled(spec, region, fleet_identity, passwords, instances, source, found)

    return [_plan(each, before[each.name], wanted(each.name)) for each in config.regions]


def _plan(config: RegionConfig, before: list[KubeObject], wanted: list[KubeObject]) -> Plan:
    old = {identity_of(item): item for item in before}
    kept = {identity_of(item) for item in wanted}
    return Plan(
        config=config,
        wanted=wanted,
        added=[item for item in wanted if identity_of(item) not in old],
        changed=[item for item in wanted if old.get(identity_of(item), item) != item],
        removed=[item for item in before if identity_of(item) not in kept and item["kind"] not in KEPT_KINDS],
    )


def _passwords(spec: Spec, before: Sequence[KubeObject]) -> Mapping[str, DatabasePasswords]:
    """Return the passwords in use, and fresh ones for applications that are new."""
    known = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item["stringData"]
        for item in before
        if item["kind"] == "Secret"
    }

    def of(namespace: str, app: str) -> DatabasePasswords:
        values = known.get((namespace, database_secret(app)))
        if values is None:
            return DatabasePasswords(owner=identity.new_secret(), replication=identity.new_secret())
        return DatabasePasswords(owner=values[OWNER_PASSWORD_KEY], replication=values[REPLICATION_PASSWORD_KEY])

    return {each.metadata.name: of(each.namespace, each.metadata.name) for each in spec.applications}


def _instances(
    spec: Spec, region: str, before: Sequence[KubeObject], fleet_identity: identity.FleetIdentity, valid: timedelta
) -> Mapping[str, identity.Files]:
    """Return the identities of the region's instance managers in use, and fresh ones for those that are new."""
    known = {item["metadata"]["name"]: item["stringData"] for item in before if item["kind"] == "Secret"}
    return {
        app: known.get(instance_secret(app)) or fleet_identity.instance(app, region, valid=valid)
        for app in assemble.placed(spec, region)
    }


def _fixed(config: WorldConfig) -> Problem:
    return Problem(
        code="world-fixed",
        where=f"world {config.name}",
        what="the Fleet's name, regions or links changed",
        why="a running world keeps the regions and links it was started with",
        fix="leeward down, then leeward up; leeward fault slow changes a link's delay while it runs",
    )
