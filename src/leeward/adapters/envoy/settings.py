"""A region's gateway settings, fixed when it starts."""

from collections.abc import Mapping
from dataclasses import dataclass

from leeward.core.settings import AgentSettings, ClientLimits
from leeward.core.values import App, Region
from leeward.ports.gateway import Address

USERS_PORT = 8080
PEERS_PORT = 8443
SERVICES_PORT = 8081
METRICS_PORT = 9901
ADMIN_SOCKET = "admin.sock"
READY_HOST = "ready.leeward"
"""The Host by which the users' port is asked whether it answers; no public name ends so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayApp:
    """One application: how its requests and its database's connections are recognized."""

    name: App
    host: str
    """Its public name."""
    postgres_port: int | None
    """Leads to the primary of its PostgreSQL; None: it has no ports of its own."""
    egress: Mapping[Region, int]
    """The port that leads to its PostgreSQL in each region that has one, this region included."""
    withheld_paths: tuple[str, ...] = ()
    """What its users may not ask for: its metrics, its deep health."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What users and this region's pods may hold of a gateway, and for how long."""

    connections_max: int = 10_000
    """Of all of them together; one more is closed at once. Peers and databases do not count."""
    clients: ClientLimits = ClientLimits()
    """What one client may hold; one connection more of its group is closed at once, one request more is 429."""
    client_requests: int = 512
    """Requests under way of one group of clients: half of what an application's pods get (``clusters``)."""
    groups: int = 32
    """Groups of users, by a hash of their addresses (``clients``). Two at least. Each lengthens what Envoy reads at a
    failover by 4 KB."""
    sessions_max: int = 320
    """Connections to the primary of one application's PostgreSQL by this region's pods: more than PostgreSQL itself
    takes (``max_connections``). One more is closed at once; replication has another port."""
    egress_max: int = 128
    """Connections to one application's PostgreSQL of a named region: replication, base backups, operators."""
    streams_max: int = 100
    """Requests under way on one HTTP/2 connection."""
    headers_s: float = 10
    """How long a request's headers may take to arrive. Then the answer is 408, as for the next two."""
    request_s: float = 300
    """How long all of a request may take to arrive: 300 MB at 1 MB/s."""
    silent_s: float = 60
    """How long a request may go on without a byte in either direction; longer than pods have (``routes.TIMEOUT``)."""
    idle_s: float = 60
    """How long a connection is kept without a request."""
    heap_bytes: int = 384 * 2**20
    """Near it, idle connections are closed sooner; from 95 % of it on, requests are answered 503 at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Where one region's gateway listens, who its peers are, and where its files lie."""

    region: Region
    apps: tuple[GatewayApp, ...]
    host: str
    """The address everything listens on."""
    peers: Mapping[Region, Address]
    """Where the other regions' gateways listen for us (their 8443), by region."""
    identity_dir: str
    """Holds ca.crt, tls.crt, tls.key."""
    config_dir: str
    """The directory that Envoy watches and the agent writes."""
    users_port: int = USERS_PORT
    peers_port: int = PEERS_PORT
    services_port: int = SERVICES_PORT
    """Where this region's own pods ask for exported services. Users have no business there."""
    metrics_port: int = METRICS_PORT
    """The public port for readiness and metrics; nothing else (``admin``)."""
    limits: Limits = Limits()
    access_log: bool = False
    """Log every request as a line of JSON on stdout."""

    @property
    def admin_socket(self) -> str:
        """The administration socket, in the directory that only the agent shares. 107 bytes at most."""
        return f"{self.config_dir}/{ADMIN_SOCKET}"


def of_agent(settings: AgentSettings) -> GatewaySettings:
    """Return the settings of the gateway next to an agent."""
    return GatewaySettings(
        region=settings.region,
        apps=tuple(
            GatewayApp(
                name=app.name,
                host=app.host,
                postgres_port=app.postgres_port,
                egress=app.egress_ports,
                withheld_paths=app.withheld_paths,
            )
            for app in settings.apps
        ),
        host=settings.gateway_host,
        peers={
            region.name: Address(region.gateway_host, region.gateway_port)
            for region in settings.regions
            if region.name != settings.region
        },
        identity_dir=settings.gateway_identity_dir,
        config_dir=settings.gateway_dir,
        limits=Limits(clients=settings.clients),
    )
