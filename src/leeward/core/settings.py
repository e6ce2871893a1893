"""The settings that one region's agent starts with: compiled from the user's files, one JSON document."""

from collections.abc import Mapping
from dataclasses import dataclass

from leeward.core.dns.settings import DnsSettings
from leeward.core.values import App, FailoverPolicy, Region, ReplicationMode

STORE_PEER_PORT = 2380
"""Where members of the quorum store listen for one another."""


@dataclass(frozen=True, slots=True)
class Timers:
    """The protocol's durations in seconds, derived from the objectives (``leeward.core.timers``)."""

    lease_s: float
    """A region whose last heartbeat is older than this is not heard."""
    margin_s: float
    """What clocks and signals may add to that."""
    heartbeat_s: float
    probe_timeout_s: float
    promise_wait_s: float
    """How long an election waits for replicas that are alive but have not promised (async)."""
    ramp_s: float
    """How long a region that came back takes to get its full share of traffic."""
    hold_down_s: float
    """How long a region must be healthy before it gets traffic again."""
    rtt_max_s: float
    """The fleet's largest round trip: what all these are derived from."""


@dataclass(frozen=True, slots=True)
class RegionSettings:
    """One region of the fleet, as its peers address it."""

    name: Region
    witness: bool
    agent_url: str
    gateway_host: str
    """Where its gateway listens for its peers."""
    gateway_port: int
    rtt_s: float
    """Round trip between the region that reads this and this one; 0 for itself."""


@dataclass(frozen=True, slots=True)
class AppSettings:
    """One application, as far as the agents' decisions need it."""

    name: App
    namespace: str
    data_regions: tuple[Region, ...]
    """Regions with a replica, in order of preference; the first is the first primary."""
    mode: ReplicationMode
    rto_s: float
    rpo_s: float
    lease_s: float
    """L: its primary may accept writes until it sent its last committed heartbeat plus this."""
    takeover_s: float
    """W >= L: how long, before the margin, an observer waits after it saw that heartbeat."""
    instance_url: str | None
    """This region's instance manager; None where there is no replica."""
    instance_host: str | None
    instance_port: int
    host: str
    """Its public name, by which gateways tell its requests from those for others."""
    postgres_port: int | None
    """The port of this region's gateway that leads to its primary; None where gateways do not lead to its database."""
    egress_ports: Mapping[Region, int]
    """The ports of this region's gateway that lead to its PostgreSQL in each region that has one."""
    failover: FailoverPolicy = FailoverPolicy.AUTOMATIC
    """What happens when its primary is lost."""
    pods_wanted: int = 0
    """How many ready pods this region must have at least."""
    deep_path: str | None = None
    """Where the service says whether it can do its work; None: it is not asked."""
    withheld_paths: tuple[str, ...] = ()
    """Paths of the service that gateways refuse to users."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How an agent looks after its region's member of the quorum store."""

    backup_dir: str
    """On a volume of its own."""
    backup_every_s: float
    backups_kept: int
    quota_bytes: int
    """How large the member's database may become."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """What one client may hold of a region's gateway. A client is an IPv4 address or an IPv6 /64."""

    requests_per_s: int = 1000
    """Twice as many at once after a pause."""
    connections: int = 2500
    """Of the addresses of its group together."""
    proxies: tuple[str, ...] = ()
    """Networks of load balancers. They have no limit of their own; a request of theirs is the client's that they name
    last in X-Forwarded-For."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Everything one agent needs to know before it looks at the world."""

    fleet: str
    region: Region
    regions: tuple[RegionSettings, ...]
    timers: Timers
    apps: tuple[AppSettings, ...]
    quorum_url: str
    """The local etcd member."""
    cluster_url: str
    """The local Kubernetes API."""
    cluster_token_file: str
    """Beside it ca.crt, the authority of that API."""
    identity_dir: str
    """Holds ca.crt, tls.crt, tls.key: who the agent is to other agents, operators and instance managers; and
    instance-ca.crt, the authority of the instance managers."""
    store_identity_dir: str
    """Holds ca.crt, tls.crt, tls.key: who the agent is to the local etcd member."""
    gateway_identity_dir: str
    """Where the gateway finds its own ca.crt, tls.crt, tls.key."""
    gateway_dir: str
    """Where Envoy watches for its configuration."""
    gateway_host: str
    """Where this region's own gateway listens for users, pods and its administration."""
    listen_host: str
    listen_port: int
    dns: DnsSettings | None = None
    """What it answers for; None where another DNS server does."""
    exports_in: tuple[str, ...] | None = None
    """The namespaces whose ServiceExports it honours; None: in none, nor those of other regions."""
    store: StoreSettings | None = None
    """None: it takes no backups."""
    clients: ClientLimits = ClientLimits()
    """What one client may hold of this region's gateway."""
