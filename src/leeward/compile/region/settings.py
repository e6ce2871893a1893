"""The agent's settings, derived from the user's files."""

from urllib.parse import unquote

from leeward.compile.names import dns_settings, host_of
from leeward.compile.region.exported import namespaces as exporting_namespaces
from leeward.compile.region.gateway_ports import gateway_ports
from leeward.compile.region.identity import has_instance
from leeward.compile.target import (
    AGENT_PORT,
    BACKUP_DIR,
    CLUSTER_TOKEN_DIR,
    GATEWAY_DIR,
    GATEWAY_IDENTITY_DIR,
    IDENTITY_DIR,
    INSTANCE_PORT,
    PEERS_PORT,
    POSTGRES_PORT,
    QUORUM_QUOTA_BYTES,
    STORE_IDENTITY_DIR,
    Target,
)
from leeward.core.settings import AgentSettings, AppSettings, ClientLimits, RegionSettings, StoreSettings
from leeward.core.values import App, Region
from leeward.spec.application import Application, Service
from leeward.spec.spec import Spec, pods_min


def agent_settings(spec: Spec, region: str, target: Target) -> AgentSettings:
    """Return the settings of one region's agent. Every agent knows every region and application."""
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
        store_identity_dir=STORE_IDENTITY_DIR,
        gateway_identity_dir=GATEWAY_IDENTITY_DIR,
        gateway_dir=GATEWAY_DIR,
        gateway_host=target.gateway_listen_host,
        listen_host=target.agent_listen_host,
        listen_port=AGENT_PORT,
        dns=dns_settings(spec, target) if target.answers_dns else None,
        exports_in=exporting_namespaces(spec, region, target),
        clients=ClientLimits(
            requests_per_s=spec.fleet.spec.gateway.requests_per_client,
            connections=spec.fleet.spec.gateway.connections_per_client,
            proxies=spec.fleet.spec.gateway.proxies,
        ),
        store=StoreSettings(
            backup_dir=BACKUP_DIR,
            backup_every_s=spec.fleet.spec.store.backup_every_s,
            backups_kept=spec.fleet.spec.store.backups_kept,
            quota_bytes=QUORUM_QUOTA_BYTES,
        ),
    )


def _app(spec: Spec, application: Application, region: str, target: Target) -> AppSettings:
    name, wanted, patience = application.metadata.name, application.spec, spec.patience(application)
    data_regions = spec.placement(application)
    # Only Leeward's own instance manager takes orders; other databases follow their operators.
    ours = has_instance(application)
    ports = gateway_ports(spec, application)
    host = target.database_host(name, application.namespace) if ours and region in data_regions else None
    return AppSettings(
        name=App(name),
        namespace=application.namespace,
        data_regions=tuple(map(Region, data_regions)),
        mode=wanted.database.replication,
        rto_s=wanted.objectives.rto_s,
        rpo_s=wanted.objectives.rpo_s,
        lease_s=patience.lease_s,
        takeover_s=patience.takeover_s,
        failover=wanted.failover,
        instance_url=f"https://{host}:{INSTANCE_PORT}" if host else None,
        instance_host=host,
        instance_port=POSTGRES_PORT,
        host=host_of(spec, application),
        postgres_port=ports.primary if ports else None,
        egress_ports={Region(each): port for each, port in ports.egress.items()} if ports else {},
        pods_wanted=pods_min(application) if region in data_regions else 0,
        deep_path=wanted.service.probes.deep,
        withheld_paths=_withheld_paths(wanted.service),
    )


def _withheld_paths(service: Service) -> tuple[str, ...]:
    """Return what is there for operators, on the port that users reach. Never the front page."""
    metrics = service.metrics
    shown = metrics is not None and metrics.port in (None, service.port)
    paths = (service.probes.deep, metrics.path if metrics is not None and shown else None)
    return tuple(path for path in paths if path is not None and unquote(path).strip("/"))
