"""The agent's settings, derived from the user's files."""

from leeward.compile.doors import doors
from leeward.compile.exported import namespaces as exporting_namespaces
from leeward.compile.names import dns_settings, host_of
from leeward.compile.target import (
    AGENT_PORT,
    CLUSTER_TOKEN_DIR,
    GATEWAY_DIR,
    IDENTITY_DIR,
    INSTANCE_PORT,
    PEERS_PORT,
    POSTGRES_PORT,
    Target,
)
from leeward.core.settings import AgentSettings, AppSettings, RegionSettings
from leeward.core.values import App, Region
from leeward.spec.application import Application, Engine, Operator
from leeward.spec.spec import Spec, pods_min


def agent_settings(spec: Spec, region: str, target: Target) -> AgentSettings:
    """Return what the agent of one region is told. Every agent knows every region and application."""
    return AgentSettings(
        fleet=spec.fleet.metadata.name,
        region=Region(region),
        regions=tuple(
            RegionSettings(
                name=Region(each.name),
                witness=each.witness,
                agent_url=target.peers[each.name].agent_url,
                gateway_host=target.peers[each.name].gateway_host,
                gateway_port=PEERS_PORT,
                rtt_s=spec.rtt_s(region, each.name),
            )
            for each in spec.regions
        ),
        timers=spec.timers,
        apps=tuple(_app(spec, application, region, target) for application in spec.applications),
        quorum_url=target.quorum_url,
        cluster_url=target.cluster_url,
        cluster_token_file=f"{CLUSTER_TOKEN_DIR}/token",
        identity_dir=IDENTITY_DIR,
        gateway_dir=GATEWAY_DIR,
        gateway_host=target.gateway_listen_host,
        listen_host=target.agent_listen_host,
        listen_port=AGENT_PORT,
        dns=dns_settings(spec, target) if target.answers_dns else None,
        exports_in=exporting_namespaces(spec, region, target),
    )


def _app(spec: Spec, application: Application, region: str, target: Target) -> AppSettings:
    name, wanted = application.metadata.name, application.spec
    data_regions = spec.placement(application)
    # Only Leeward's own instance manager takes orders; others are told by their operators.
    ours = wanted.database.engine is Engine.POSTGRES and wanted.database.operator is Operator.LEEWARD
    ports = doors(spec, application)
    host = target.database_host(name, application.namespace) if ours and region in data_regions else None
    return AppSettings(
        name=App(name),
        namespace=application.namespace,
        data_regions=tuple(map(Region, data_regions)),
        mode=wanted.database.replication,
        rto_s=wanted.objectives.rto_s,
        rpo_s=wanted.objectives.rpo_s,
        instance_url=f"https://{host}:{INSTANCE_PORT}" if host else None,
        instance_host=host,
        instance_port=POSTGRES_PORT,
        host=host_of(spec, application),
        postgres_port=ports.primary if ports else None,
        egress_ports={Region(each): port for each, port in ports.egress.items()} if ports else {},
        pods_wanted=pods_min(application) if region in data_regions else 0,
        deep_path=wanted.service.probes.deep,
    )
