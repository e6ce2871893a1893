"""How a mesh treats an application's requests and pods: the parts that Istio's objects and Flagger's Canary share."""

from leeward.base.units import duration_text
from leeward.compile.kube.objects import KubeObject
from leeward.compile.site import Site
from leeward.spec.application import Application

INGRESS = "istio-ingress/leeward"


def host_of(application: Application) -> str:
    """Return the service's name inside the mesh."""
    return f"{application.metadata.name}.{application.namespace}.svc.cluster.local"


def traffic_policy(site: Site, application: Application) -> KubeObject:
    """Return how the mesh treats the service's pods: limits, ejection, locality, warm-up, TLS."""
    traffic = application.spec.traffic
    breaker = traffic.breaker
    balancer: KubeObject = (
        {"consistentHash": {"httpCookie": {"name": f"{application.metadata.name}-pod", "ttl": "0s"}}}
        if traffic.affinity
        else {"simple": "LEAST_REQUEST", "warmup": {"duration": duration_text(traffic.warmup_s)}}
    )
    pairs = failover_pairs(site, application)
    balancer["localityLbSetting"] = {
        "enabled": True,
        **({"failover": [{"from": one, "to": other} for one, other in pairs]} if pairs else {}),
    }
    return {
        "connectionPool": {
            "tcp": {"maxConnections": breaker.connections},
            "http": {"http1MaxPendingRequests": breaker.pending, "h2UpgradePolicy": "UPGRADE"},
        },
        "loadBalancer": balancer,
        "outlierDetection": {
            "consecutive5xxErrors": breaker.errors,
            "interval": duration_text(breaker.interval_s),
            "baseEjectionTime": duration_text(breaker.ejection_s),
            "maxEjectionPercent": breaker.ejected_max,
        },
        "tls": {"mode": "ISTIO_MUTUAL"},
    }


def failover_pairs(site: Site, application: Application) -> list[tuple[str, str]]:
    """Return where each region's requests go when its pods cannot answer: as stated, else the nearest other region."""
    stated = {pair.source: pair.target for pair in application.spec.traffic.failover}
    regions = site.spec.placement(application)
    pairs = []
    for region in regions:
        others = [other for other in regions if other != region]
        if others:
            nearest = min(others, key=lambda other: site.spec.rtt_s(region, other))
            pairs.append((region, stated.get(region, nearest)))
    return pairs


def match_of(application: Application) -> list[KubeObject]:
    """Return which requests are the application's."""
    return [{"uri": {"prefix": application.spec.traffic.prefix}}]


def retries_of(application: Application) -> KubeObject:
    """Return when the mesh tries again: never a request that the service may have seen."""
    retries = application.spec.traffic.retries
    return {
        "attempts": retries.attempts,
        "perTryTimeout": duration_text(retries.timeout_s),
        "retryOn": "connect-failure,refused-stream,reset-before-request",
    }
