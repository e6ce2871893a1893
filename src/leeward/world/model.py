"""A world's configuration, and the state it reports. JSON through ``leeward.core.codec``."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

CERTIFICATES_S = 86400.0
"""A day: nothing revokes a certificate before it expires."""
WAN_ENDPOINTS = ((2, 8443), (3, 2380), (4, 7443))
"""(last byte of the address, port) of what a region shows to the others: gateway, etcd peers, agent."""
GATEWAY_ENDPOINT = (2, 8080)
AGENT_ENDPOINT = (4, 7443)
API_ENDPOINT = (1, 6443)
DNS_ENDPOINT = (4, 8053)
SERVICES_ENDPOINT = (2, 8081)

DEFAULT_REGION_COMMAND = (
    "{python}",
    "-m",
    "leeward.world.kubernetes.main",
    "--region",
    "{region}",
    "--index",
    "{index}",
    "--directory",
    "{directory}",
    "--listen",
    "{api}",
    "--token-file",
    "{token_file}",
    "--identity",
    "{identity}",
)


def address(index: int, last: int) -> str:
    """Return an address of region ``index``."""
    return f"127.10.{index}.{last}"


def network(index: int) -> str:
    """Return all addresses of region ``index``, as a prefix."""
    return f"{address(index, 0)}/24"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionConfig:
    """One region of the world."""

    name: str
    index: int
    """1 to 254: it owns 127.10.index.0/24."""
    namespaces: tuple[str, ...] = ()
    """Kubernetes namespaces of the applications that run there."""
    manifests: str
    """Directory of ``*.json`` files, lists of Kubernetes objects the region starts with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """The link between two regions."""

    regions: tuple[str, ...]
    """Exactly two."""
    rtt_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldConfig:
    """The supervisor's configuration."""

    name: str
    fleet: str
    directory: str
    regions: tuple[RegionConfig, ...]
    links: tuple[LinkConfig, ...]
    files: tuple[str, ...] = ()
    """The user's files, for display."""
    region_command: tuple[str, ...] = DEFAULT_REGION_COMMAND
    """The program of a region. Prints ``ready`` as its first line. ``{python}``, ``{region}``, ``{index}``,
    ``{directory}``, ``{manifests}``, ``{api}``, ``{token_file}`` and ``{identity}`` are replaced."""
    front_door_base_port: int = 18000
    """Region i gets base + 10 i and the next four where they are free."""
    ready_timeout_s: float = 60.0
    certificates_s: float = CERTIFICATES_S
    """How long certificates are valid; they are renewed when half of it is left."""

    def region(self, name: str) -> RegionConfig:
        """Return the region of that name. Raises KeyError."""
        for region in self.regions:
            if region.name == name:
                return region
        raise KeyError(name)

    def region_directory(self, name: str) -> Path:
        """Return where a region keeps what survives its loss, as disks do."""
        return Path(self.directory) / "regions" / name

    def one_way_s(self, source: str, target: str) -> float:
        """Return the delay of one direction between two regions; 0 when it is not configured."""
        pair = {source, target}
        return next((link.rtt_ms / 2000 for link in self.links if set(link.regions) == pair), 0.0)


class RegionState(StrEnum):
    """The state of a region's processes."""

    STARTING = "starting"
    RUNNING = "running"
    FROZEN = "frozen"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionInfo:
    """One region as it is now. The URLs are front doors in the host's network."""

    name: str
    index: int
    state: RegionState
    because: str
    """Why it is in that state."""
    pid: int | None
    """Its pid 1, seen from the host; None when lost."""
    directory: str
    gateway_url: str
    agent_url: str
    api_url: str
    dns_host: str
    dns_port: int
    """Its DNS server, over TCP."""
    services_url: str = ""
    """Its gateway for exported services."""
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldInfo:
    """The content of ``world.json`` and ``GET /v1/world``."""

    name: str
    fleet: str
    directory: str
    isolation: str
    not_emulated: tuple[str, ...]
    """What this machine does not allow, as text; empty with full isolation."""
    janitor_pid: int
    supervisor_pid: int
    wan_pid: int | None
    started_at_unix_s: float
    files: tuple[str, ...]
    regions: tuple[RegionInfo, ...]

    def region(self, name: str) -> RegionInfo:
        """Return the region of that name. Raises KeyError."""
        for region in self.regions:
            if region.name == name:
                return region
        raise KeyError(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A fault, and when it was applied: both clocks read right before."""

    at_unix_s: float
    at_boot_s: float
    """CLOCK_BOOTTIME."""
    pids: tuple[int, ...] = ()
    """The processes it was applied to, seen from the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkInfo:
    """One direction between two regions."""

    source: str
    target: str
    cut: bool
    delay_ms: float
    """One way."""
    rate_kib_s: float | None
    """None: unlimited."""
    configured_rtt_ms: float
    """Both directions as they are set now."""
    measured_rtt_ms: float | None
    """Of the last byte that went there and back; None while nothing comes back."""
