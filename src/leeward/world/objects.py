"""What a region of a world starts with: its compiled objects, with the commands of its engines.

``compile`` may not import adapters, and adapters do not import one another; both are combined here.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from leeward.adapters.envoy.bootstrap import bootstrap
from leeward.adapters.envoy.bootstrap import command as envoy_command
from leeward.adapters.envoy.settings import of_agent
from leeward.adapters.etcd.arguments import command as etcd_command
from leeward.compile import (
    DatabasePasswords,
    EngineCommands,
    GatewayStart,
    KubeObject,
    QuorumMember,
    SecretValues,
    compile_region,
    world_target,
)
from leeward.compile.app.disruption import one_at_a_time
from leeward.compile.kube.objects import labels_of
from leeward.compile.site import pods_of
from leeward.compile.target import GATEWAY_BOOTSTRAP_DIR
from leeward.core.identities import CA
from leeward.core.settings import AgentSettings
from leeward.spec import Spec
from leeward.world.identity import Files, FleetIdentity

BOOTSTRAP_FILE = "envoy.json"


def region_objects(
    spec: Spec,
    region: str,
    *,
    identity: FleetIdentity,
    databases: Mapping[str, DatabasePasswords],
    instances: Mapping[str, Files],
    source_dir: Path,
    commands: EngineCommands,
) -> list[KubeObject]:
    """Return what region ``region`` starts with, in the order in which it can be created.

    ``databases`` has every application's passwords, the same in all regions: standbys copy the primary's users.
    ``instances`` has the identity of each instance manager of this region, by application.
    ``source_dir`` is the directory with the user's files and what their images would hold.
    Raises KeyError for an unknown region, ProblemsError for what cannot be compiled.
    """
    own = identity.regions[region]
    secrets = SecretValues(
        agent=own.agent,
        store_client=own.store_client,
        store_member=own.store_member,
        gateway=own.gateway,
        instances=instances,
        cluster_token=identity.token,
        cluster_ca=own.cluster[CA],
        databases=databases,
    )
    target = world_target(spec, region, engines=commands, secrets=secrets, source_dir=str(source_dir))
    return [*compile_region(spec, region, target), *_budgets(spec, region)]


def _budgets(spec: Spec, region: str) -> Iterator[KubeObject]:
    """Yield the disruption budgets of the services, the same as in a cluster: drains are drilled here."""
    for application in spec.applications:
        if region in spec.placement(application):
            app = application.metadata.name
            labels = labels_of(app, "service", region, app)
            yield one_at_a_time(app, application.namespace, labels, pods_of(application))


def engine_commands(*, etcd: str = "etcd", envoy: str = "envoy") -> EngineCommands:
    """Return the functions; the programs are names on the pods' PATH, or paths."""

    def quorum(member: QuorumMember) -> tuple[str, ...]:
        return etcd_command(member, program=etcd)

    def gateway(settings: AgentSettings) -> GatewayStart:
        gateway_settings = of_agent(settings)
        return GatewayStart(
            files={BOOTSTRAP_FILE: json.dumps(bootstrap(gateway_settings), indent=2)},
            command=envoy_command(gateway_settings, f"{GATEWAY_BOOTSTRAP_DIR}/{BOOTSTRAP_FILE}", envoy=envoy),
        )

    return EngineCommands(quorum=quorum, gateway=gateway)
