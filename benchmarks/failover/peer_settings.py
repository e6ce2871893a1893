"""Patroni in one region: where it listens, and its configuration. Pure.

The world's WAN carries three ports of each region. Patroni gets the same three: etcd's peers where ours are,
PostgreSQL where our gateways talk, its REST API where our agents do. All in the clear: Patroni is not made to
pay for encryption.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leeward.adapters.etcd.arguments import election
from leeward.world.model import address

POSTGRES_PORT = 8443
REST_PORT = 7443
ETCD_CLIENT_PORT = 2379
ETCD_PEER_PORT = 2380
ETCD_FRONT_PORT = 8080
"""etcd for this benchmark, which comes in by the region's front door."""

TTL_S, LOOP_WAIT_S, RETRY_TIMEOUT_S = 20, 1, 3
"""Patroni's smallest: it raises anything below without an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """What the program of one region is told."""

    region: str
    regions: Mapping[str, int]
    """Index by name, in the order of the fleet file."""
    rtt_max_s: float
    directory: str
    python: str
    """The interpreter of Patroni's environment."""
    etcd: str
    postgres_bin: str
    synchronous: bool


def postgres_host(index: int) -> str:
    """Return where a region's PostgreSQL listens."""
    return address(index, 2)


def etcd_command(settings: PeerSettings) -> list[str]:
    """Return etcd's command: the timers Leeward gives it, the rest etcd's own."""
    names = list(settings.regions)
    timers = election(settings.rtt_max_s, len(names) - 1 - names.index(settings.region), len(names))
    index = settings.regions[settings.region]
    client = f"http://{address(index, 3)}:{ETCD_CLIENT_PORT}"
    flags = {
        "name": settings.region,
        "data-dir": f"{settings.directory}/etcd",
        "listen-client-urls": f"{client},http://{address(index, 2)}:{ETCD_FRONT_PORT}",
        "advertise-client-urls": client,
        "listen-peer-urls": _peer_url(index),
        "initial-advertise-peer-urls": _peer_url(index),
        "initial-cluster": ",".join(f"{name}={_peer_url(i)}" for name, i in settings.regions.items()),
        "heartbeat-interval": str(round(timers.heartbeat_s * 1000)),
        "election-timeout": str(round(timers.timeout_s * 1000)),
        "log-level": "warn",
    }
    return [settings.etcd, *(f"--{name}={value}" for name, value in flags.items())]


def _peer_url(index: int) -> str:
    return f"http://{address(index, 3)}:{ETCD_PEER_PORT}"


def patroni_configuration(settings: PeerSettings) -> dict[str, Any]:
    """Return Patroni's configuration: its smallest timers, pg_rewind, everything else its default."""
    index = settings.regions[settings.region]
    rest = f"{address(index, 4)}:{REST_PORT}"
    postgres = f"{postgres_host(index)}:{POSTGRES_PORT}"
    return {
        "scope": "benchmark",
        "name": settings.region,
        "restapi": {"listen": rest, "connect_address": rest},
        # Its own region's member only: no request of Patroni's to etcd crosses the WAN.
        "etcd3": {"hosts": [f"{address(index, 3)}:{ETCD_CLIENT_PORT}"], "use_proxies": True},
        "bootstrap": {
            "dcs": {
                "ttl": TTL_S,
                "loop_wait": LOOP_WAIT_S,
                "retry_timeout": RETRY_TIMEOUT_S,
                "synchronous_mode": settings.synchronous,
                "postgresql": {"use_pg_rewind": True},
            },
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
        },
        "postgresql": {
            "listen": postgres,
            "connect_address": postgres,
            "bin_dir": settings.postgres_bin,
            "data_dir": f"{settings.directory}/pg",
            "pgpass": f"{settings.directory}/pgpass",
            "authentication": {
                "superuser": {"username": "postgres"},
                "replication": {"username": "replicator"},
            },
            "parameters": {"unix_socket_directories": settings.directory},
            "pg_hba": [
                "local all all trust",
                "host all all 127.0.0.0/8 trust",
                "host replication all 127.0.0.0/8 trust",
            ],
        },
    }
