"""Where a region's parts listen and how they find each other: what differs between the world and Kubernetes.

The concerns ask a ``Target`` and never where they run, so the same objects serve both. What only an
adapter knows (how to start etcd, Envoy's bootstrap) comes in as functions, ``EngineCommands``: this layer may not
import adapters.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from leeward.compile.kube.objects import POD_ADDRESS, PROBE_PERIOD
from leeward.core.dns.zone import server_name
from leeward.core.settings import STORE_PEER_PORT, AgentSettings
from leeward.spec.application import Engine
from leeward.spec.platform import DnsProvider
from leeward.spec.spec import Spec

SYSTEM_NAMESPACE = "leeward-system"

IDENTITY_DIR = "/etc/leeward/identity"
"""Where a container finds what it proves itself with: ca.crt, tls.crt, tls.key, of its own purpose only."""
STORE_IDENTITY_DIR = "/etc/leeward/store-identity"
"""Where the agent finds its identity as a client of the quorum store."""
GATEWAY_IDENTITY_DIR = "/etc/leeward/gateway-identity"
"""Where the gateway finds its identity. The agent does not have it, and names it in the gateway's files."""
AGENT_SETTINGS_DIR = "/etc/leeward/agent"
GATEWAY_BOOTSTRAP_DIR = "/etc/leeward/gateway"
GATEWAY_DIR = "/var/lib/leeward/gateway"
"""Where the agent writes what Envoy watches."""
GATEWAY_VOLUME = "gateway"
"""What is mounted there."""
CLUSTER_TOKEN_DIR = "/var/run/secrets/leeward/cluster"
QUORUM_DATA_DIR = "/var/lib/etcd"
QUORUM_QUOTA_BYTES = 256 * 1024 * 1024
"""How large a member's database may become: then etcd refuses writes (docs/concepts/store.md)."""
BACKUP_DIR = "/var/lib/leeward/backups"
"""Where the agent keeps backups of the quorum store."""
DATABASE_VOLUME_DIR = "/var/lib/postgresql/data"
DATABASE_SECRETS_DIR = "/etc/leeward/database"

SERVICES_PORT = 8081
"""Where a gateway is asked for services that clusters of the fleet export."""
USERS_PORT = 8080
HTTP_PORT = 80
"""Where the load balancer of a gateway takes users, and DNS providers their checks."""
PEERS_PORT = 8443
POSTGRES_PORT = 5432
EGRESS_PORT_BASE = 15000
GATEWAY_METRICS_PORT = 9901
"""Where a gateway shows whether it is ready, and its metrics."""
QUORUM_CLIENT_PORT = 2379
QUORUM_PEER_PORT = STORE_PEER_PORT
QUORUM_METRICS_PORT = 2381
AGENT_PORT = 7443
DNS_PORT = 8053
"""Where the agent answers DNS: an ordinary user may."""
INSTANCE_PORT = 8008
CLUSTER_PORT = 6443

DATABASE_ADDRESSES = (5, 6, 7, 8, 9)
"""Of a world's region: the last bytes of its databases' addresses. Those of other pods come after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One region as the target's region reaches it; the target's own region too."""

    agent_url: str
    quorum_peer_url: str
    gateway_host: str
    """Where its gateway listens for its peers."""
    dns_host: str
    """Where its DNS server is."""
    networks: tuple[str, ...] = ()
    """Addresses near it, besides those of the region's clusters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodAddresses:
    """Fixed addresses of pods, which only the world has."""

    agent: str
    gateway: str
    """The gateway shares the agent's pod, and has an address of its own all the same."""
    quorum: str
    database: Callable[[str], str]
    """By application."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumMember:
    """The arguments of the function that starts etcd."""

    region: str
    fleet: str
    data_dir: str
    identity_dir: str
    """Holds ca.crt, tls.crt, tls.key for clients, and peer-ca.crt, peer.crt, peer.key for the other members."""
    listen_host: str
    client_url: str
    peer_urls: Mapping[str, str]
    """By region, this one included."""
    rtt_max_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStart:
    """How a region's Envoy is started."""

    files: Mapping[str, str]
    """By name, mounted at GATEWAY_BOOTSTRAP_DIR."""
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCommands:
    """How the engines are started: pure functions of the adapters."""

    quorum: Callable[[QuorumMember], tuple[str, ...]]
    """The whole command of an etcd."""
    gateway: Callable[[AgentSettings], GatewayStart]


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Container images of Leeward's own parts. The world runs their commands as processes.

    An image has a digest here if a public record other than its registry names it; ``images.digests`` of a Fleet gives
    the others.
    """

    leeward: str = "ghcr.io/leeward/leeward:0.1.0"
    postgres: str = "ghcr.io/leeward/postgres:18-0.1.0"
    """PostgreSQL 18 with Leeward's instance manager."""
    gateway: str = "docker.io/envoyproxy/envoy:v1.40.0"
    quorum: str = (
        "gcr.io/etcd-development/etcd:v3.5.30@sha256:4e4165921a091645f0bd93cbef37aa9d8d29fb88d57f196e13dfe8632dc973bd"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabasePasswords:
    """One application's two database users."""

    owner: str
    replication: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretValues:
    """What the world's secrets hold."""

    agent: Mapping[str, str]
    """By file: who the agent is to other agents, operators and instance managers."""
    store_client: Mapping[str, str]
    """By file: who the agent is to the region's member of the quorum store."""
    store_member: Mapping[str, str]
    """By file: who that member is to clients and to other members."""
    gateway: Mapping[str, str]
    """By file: who the gateway is to other regions' gateways."""
    instances: Mapping[str, Mapping[str, str]]
    """By application and file: who its instance manager in the region is."""
    cluster_token: str
    """What the agent shows the region's API server."""
    cluster_ca: str
    """The authority of that API server."""
    databases: Mapping[str, DatabasePasswords]
    """By application."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One region's surroundings."""

    peers: Mapping[str, Peer]
    """Every region of the fleet by name."""
    listen_host: str
    """What the agent and etcd bind to, where it is not a pod's fixed address."""
    pods: PodAddresses | None
    """None: the network gives pods their addresses."""
    cluster_url: str
    quorum_url: str
    gateway_host: Callable[[str], str]
    """Where the region's own pods reach its gateway's ports for an application's database, by application."""
    database_host: Callable[[str, str], str]
    """Where the region's own pods reach an application's local PostgreSQL and its instance manager: by
    application and namespace."""
    services_domain: str
    """What the names of the services end with that lead the region's own pods to databases which others operate."""
    autoscales: bool
    """An autoscaler works here, so the number of a scaled deployment's pods is its own."""
    source_dir: str
    """What the images of the examples hold: EXAMPLE_DIR in commands."""
    engines: EngineCommands
    images: Images
    grace_s: int
    """How long pods may take to stop."""
    probe_period_s: float
    secrets: SecretValues | None
    """None: nothing secret is compiled; objects refer to secrets that are provided otherwise."""
    answers_dns: bool
    """The agents answer DNS themselves."""

    @property
    def agent_listen_host(self) -> str:
        """What the agent binds to."""
        return self.pods.agent if self.pods else self.listen_host

    @property
    def gateway_listen_host(self) -> str:
        """What the gateway binds to."""
        return self.pods.gateway if self.pods else self.listen_host

    @property
    def quorum_listen_host(self) -> str:
        """What etcd binds to."""
        return self.pods.quorum if self.pods else self.listen_host

    def pod_annotations(self, part: Callable[[PodAddresses], str] | None = None) -> dict[str, str]:
        """Return the annotations for the world's pod runner (and a fixed address, if any); else nothing."""
        if self.pods is None:
            return {}
        fixed = {} if part is None else {POD_ADDRESS: part(self.pods)}
        return {**fixed, PROBE_PERIOD: f"{self.probe_period_s:g}"}


def world_target(spec: Spec, region: str, *, engines: EngineCommands, secrets: SecretValues, source_dir: str) -> Target:
    """Return region ``region`` of a world on one machine (docs/concepts/world.md). Raises KeyError."""
    indexes = {each.name: index for index, each in enumerate(spec.regions, start=1)}
    own = _World(indexes[region])
    with_database = (each for each in spec.applications if each.spec.database.engine is Engine.POSTGRES)
    places = {each.metadata.name: place for place, each in enumerate(with_database)}

    def database(app: str) -> str:
        return own.database(places[app])

    return Target(
        peers={
            name: Peer(
                agent_url=f"https://{_World(index).agent}:{AGENT_PORT}",
                quorum_peer_url=f"https://{_World(index).quorum}:{QUORUM_PEER_PORT}",
                gateway_host=_World(index).gateway,
                dns_host=_World(index).agent,
                networks=(_World(index).network,),
            )
            for name, index in indexes.items()
        },
        listen_host=own.agent,
        pods=PodAddresses(agent=own.agent, gateway=own.gateway, quorum=own.quorum, database=database),
        cluster_url=f"https://{own.cluster}:{CLUSTER_PORT}",
        quorum_url=f"https://{own.quorum}:{QUORUM_CLIENT_PORT}",
        gateway_host=lambda _app: own.gateway,
        database_host=lambda app, _namespace: database(app),
        services_domain="svc",
        autoscales=False,
        source_dir=source_dir,
        engines=engines,
        images=Images(),
        grace_s=2,
        probe_period_s=0.25,
        secrets=secrets,
        answers_dns=answers_dns(spec),
    )


def kubernetes_target(spec: Spec, region: str, *, engines: EngineCommands, images: Images) -> Target:
    """Return region ``region`` on a real cluster: service names inside, the fleet's domain between regions.

    Raises KeyError for an unknown region.
    """
    domain = spec.fleet.spec.domain or f"{spec.fleet.metadata.name}.internal"
    spec.region(region)
    inside = f"{SYSTEM_NAMESPACE}.svc"
    return Target(
        peers={
            each.name: Peer(
                agent_url=f"https://agent.{each.name}.{domain}:{AGENT_PORT}",
                quorum_peer_url=f"https://quorum.{each.name}.{domain}:{QUORUM_PEER_PORT}",
                gateway_host=f"gateway.{each.name}.{domain}",
                dns_host=server_name(each.name, domain),
            )
            for each in spec.regions
        },
        listen_host="0.0.0.0",
        pods=None,
        cluster_url="https://kubernetes.default.svc",
        quorum_url=f"https://etcd.{inside}:{QUORUM_CLIENT_PORT}",
        gateway_host=lambda app: f"{gateway_service(app)}.{inside}",
        database_host=lambda app, namespace: f"{app}-postgres-0.{app}-postgres.{namespace}.svc",
        services_domain="svc",
        autoscales=True,
        source_dir="/app",
        engines=engines,
        images=images,
        grace_s=30,
        probe_period_s=1.0,
        secrets=None,
        answers_dns=answers_dns(spec),
    )


def gateway_service(app: str) -> str:
    """Return the name of the service that leads an application's pods to the gateway's ports for its database."""
    return f"gateway-{app}"


def answers_dns(spec: Spec) -> bool:
    """Whether it is for the agents to answer; without a domain there is no name that users could ask for."""
    return spec.fleet.spec.dns.provider is DnsProvider.LEEWARD and spec.fleet.spec.domain is not None


@dataclass(frozen=True, slots=True)
class _World:
    """The addresses of the world's region ``index``."""

    index: int

    @property
    def cluster(self) -> str:
        return self._address(1)

    @property
    def gateway(self) -> str:
        return self._address(2)

    @property
    def quorum(self) -> str:
        return self._address(3)

    @property
    def agent(self) -> str:
        return self._address(4)

    def database(self, place: int) -> str:
        return self._address(DATABASE_ADDRESSES[place])

    @property
    def network(self) -> str:
        return f"{self._address(0)}/24"

    def _address(self, last: int) -> str:
        return f"127.10.{self.index}.{last}"
