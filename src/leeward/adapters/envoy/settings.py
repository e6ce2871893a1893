"""What a region's gateway is told once, when it starts."""

from collections.abc import Mapping
from dataclasses import dataclass

from leeward.core.settings import AgentSettings
from leeward.core.values import App, Region
from leeward.ports.gateway import Address

USERS_PORT = 8080
PEERS_PORT = 8443
SERVICES_PORT = 8081
ADMIN_PORT = 9901


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayApp:
    """One application: how its requests and its database's connections are told from those of others."""

    name: App
    host: str
    """Its public name."""
    postgres_port: int | None
    """Leads to the primary of its PostgreSQL; None: it has no ports of its own."""
    egress: Mapping[Region, int]
    """The port that leads to its PostgreSQL in each region that has one, this region included."""


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
    admin_port: int = ADMIN_PORT
    access_log: bool = False
    """Log every request as a line of JSON on stdout."""

    @property
    def admin_url(self) -> str:
        """Where Envoy answers about itself."""
        return f"http://{self.host}:{self.admin_port}"


def of_agent(settings: AgentSettings) -> GatewaySettings:
    """Return what the gateway beside an agent is told."""
    return GatewaySettings(
        region=settings.region,
        apps=tuple(
            GatewayApp(name=app.name, host=app.host, postgres_port=app.postgres_port, egress=app.egress_ports)
            for app in settings.apps
        ),
        host=settings.gateway_host,
        peers={
            region.name: Address(region.gateway_host, region.gateway_port)
            for region in settings.regions
            if region.name != settings.region
        },
        identity_dir=settings.identity_dir,
        config_dir=settings.gateway_dir,
    )
