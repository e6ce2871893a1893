"""Specs that between them use every word of the files, over three clouds: what no single example does."""

from dataclasses import dataclass, field
from typing import Any

import yaml

from leeward.spec import Spec
from leeward.spec.load import resolve
from leeward.spec.source import read

KEY = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
PLACES = {
    "us-east-1": ("aws", 38.9, -77.4, ["us-east-1a", "us-east-1b", "us-east-1c"]),
    "europe-west1": ("gcp", 50.4, 3.8, ["europe-west1-b", "europe-west1-c", "europe-west1-d"]),
    "japaneast": ("azure", 35.7, 139.8, ["1", "2", "3"]),
}

SHOP: dict[str, Any] = {
    "objectives": {"rto": "30s", "rpo": "5s", "availability": 99.95},
    "service": {
        "image": "example.com/shop:1",
        "command": ["serve", "$(POD_IP)"],
        "resources": {
            "requests": {"cpu": "250m", "memory": "256Mi"},
            "limits": {"cpu": "500m", "memory": "512Mi"},
        },
        "env": {"LEVEL": "info"},
        "config": {"GREETING": "hello"},
        "secrets": [{"env": "API_KEY", "secret": "shop-keys", "key": "api-key"}],
        "autoscaling": {"min": 2, "max": 6, "vertical": "recommend"},
        "expose": "load-balancer",
        "logFormat": "json",
        "antiAffinity": "preferred",
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "interruptible": True,
        "metrics": {"path": "/metrics"},
    },
    "database": {"replication": "async", "storage": "20Gi"},
    "traffic": {
        "host": "shop.example.com",
        "prefix": "/api",
        "affinity": True,
        "rateLimit": {"perMinute": 600, "perHour": 10000},
        "failover": [{"from": "us-east-1", "to": "europe-west1"}],
    },
    "placement": {"primary": "us-east-1", "tier": 2},
    "rollout": {"canary": {"by": "flagger"}},
    "sidecars": {"logging": {}, "metrics": {}, "envoy": {}},
    "network": {
        "tiers": [{"name": "frontend", "pods": {"tier": "frontend"}, "port": 8081, "allows": ["internet"]}],
        "callers": ["frontend"],
        "outside": [{"cidr": "203.0.113.0/24", "ports": [443]}],
        "imports": [{"name": "catalogue", "port": 8000}],
    },
    "overrides": [
        {
            "regions": ["japaneast"],
            "spec": {"service": {"env": {"LEVEL": "debug"}}},
            "patches": [
                {"target": {"kind": "Deployment"}, "merge": {"metadata": {"annotations": {"example.com/by": "merge"}}}}
            ],
        }
    ],
}

FLEET: dict[str, Any] = {
    "domain": "example.com",
    "images": {"digests": {"example.com/shop:1": f"sha256:{'5' * 64}"}},
    "secrets": {"by": "external-secrets"},
    "monitoring": {},
    "tracing": {},
    "logging": {},
    "gitops": {"repository": "https://example.com/shop.git", "promote": True},
    "nodePools": [
        {"name": "steady", "capacity": ["on-demand"], "pricePerHour": 0.04},
        {"name": "cheap", "capacity": ["spot", "on-demand"], "pricePerHour": 0.04},
    ],
    "clusterAPI": {},
}


@dataclass(frozen=True, slots=True)
class Variety:
    """What differs from ``FLEET`` and ``SHOP``."""

    fleet: dict[str, Any]
    shop: dict[str, Any] = field(default_factory=dict)
    provider: str | None = None
    """All regions are this provider's."""


CANARY = {"canary": {"by": "leeward", "image": "example.com/shop:2"}}
VARIETIES = {
    "istio, flagger, weighted route53": Variety(
        {
            "mesh": {"kind": "istio"},
            "network": {"names": True, "exports": True},
            "dns": {"provider": "route53", "zoneId": "Z123"},
            "entry": {"address": "203.0.113.9", "certificate": "shop"},
        },
        {"traffic": {**SHOP["traffic"], "dns": "weighted", "weights": [{"region": "us-east-1", "weight": 200}]}},
    ),
    "istio, geographic route53": Variety(
        {"mesh": {"kind": "istio"}, "dns": {"provider": "route53"}},
        {"traffic": {"dns": "geographic"}},
    ),
    "failover route53": Variety({"dns": {"provider": "route53", "zoneId": "Z123"}}, {"traffic": {"dns": "failover"}}),
    "geographic azure": Variety({"dns": {"provider": "azure", "zoneId": "shop"}}, {"traffic": {"dns": "geographic"}}),
    "weighted cloud dns": Variety(
        {"dns": {"provider": "cloud-dns", "zoneId": "example"}}, {"traffic": {"dns": "weighted"}}
    ),
    "istio, our canary, cloudflare": Variety(
        {"mesh": {"kind": "istio"}, "dns": {"provider": "cloudflare"}}, {"rollout": CANARY}
    ),
    "gateway api, flagger": Variety({"mesh": {"kind": "gateway-api"}}),
    "plain, flagger": Variety({}),
    "gateway api, wireguard, cloudnative-pg, cloud dns": Variety(
        {
            "mesh": {"kind": "gateway-api"},
            "network": {"join": "wireguard", "names": True, "exports": True},
            "dns": {"provider": "cloud-dns", "zoneId": "example"},
        },
        {"database": {"operator": "cloudnative-pg", "storage": "20Gi"}, "rollout": CANARY},
    ),
    "plain, cockroachdb, azure dns": Variety(
        {"dns": {"provider": "azure", "zoneId": "example"}},
        {
            "database": {"engine": "cockroachdb", "replication": "quorum"},
            "rollout": {},
            "service": {**SHOP["service"], "antiAffinity": "required", "expose": "cluster"},
            "traffic": {**SHOP["traffic"], "dns": "failover"},
        },
    ),
    **{
        f"peered {provider}": Variety({"network": {"join": "peering"}, "mesh": {"kind": "istio"}}, provider=provider)
        for provider in ("aws", "gcp", "azure")
    },
}


def everything(name: str) -> Spec:
    """Return one of ``VARIETIES``. Raises ProblemsError when the files' words have changed."""
    variety = VARIETIES[name]
    regions = [_region(index, region, variety.provider) for index, region in enumerate(PLACES)]
    documents = [
        _document("Fleet", "world", {"regions": regions, **FLEET, **variety.fleet}),
        _document("Application", "shop", {**SHOP, **variety.shop}),
    ]
    return resolve("everything.yaml", *read("everything.yaml", yaml.safe_dump_all(documents, sort_keys=False)))


def _document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "leeward.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _region(index: int, name: str, only: str | None) -> dict[str, Any]:
    provider, latitude, longitude, zones = PLACES[name]
    cluster = {
        "name": f"{name}-1",
        "podCIDR": f"10.{index}.0.0/17",
        "serviceCIDR": f"10.{index}.128.0/17",
        "vpcCIDR": f"172.{16 + index}.0.0/16",
        "network": f"network-{name}",
        "project": "world",
        "dnsAddress": f"172.{16 + index}.0.53",
        "tunnel": {"endpoint": f"wireguard.{name}.example.com", "publicKey": KEY},
    }
    return {
        "name": name,
        "provider": only or provider,
        "location": {"latitude": latitude, "longitude": longitude},
        "zones": zones,
        "clusters": [cluster],
    }
