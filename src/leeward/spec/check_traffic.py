"""Traffic settings that the DNS provider does not support, that have no effect, or that make failures spread."""

from collections.abc import Iterator

from leeward.base.problem import Problem
from leeward.spec.application import Application
from leeward.spec.fleet import Fleet
from leeward.spec.loaded import Loaded
from leeward.spec.platform import DnsProvider, MeshKind
from leeward.spec.traffic import DnsPolicy

EJECTED_MAX_SANE = 50
ERRORS_MIN_SANE = 3
# Cloud DNS fails over between internal load balancers only; Cloudflare's proxies take users where these are.
UNSAYABLE = {
    DnsProvider.CLOUD_DNS: (DnsPolicy.FAILOVER,),
    DnsProvider.CLOUDFLARE: (DnsPolicy.FAILOVER, DnsPolicy.GEOGRAPHIC, DnsPolicy.WEIGHTED),
}


def check_traffic(application: Loaded[Application], fleet: Fleet) -> Iterator[Problem]:
    """Yield what is wrong or worth a warning in an application's traffic, given who carries it in this fleet."""
    yield from _policy(application, fleet)
    yield from _breaker(application)
    yield from _rate_limit(application)
    yield from _without_effect(application, fleet)


def _policy(application: Loaded[Application], fleet: Fleet) -> Iterator[Problem]:
    provider, policy = fleet.spec.dns.provider, application.model.spec.traffic.dns
    if policy in UNSAYABLE.get(provider, ()):
        yield application.problem(
            "unsupported-policy",
            *("spec", "traffic", "dns"),
            what=f"{provider} does not support policy {policy}",
            why="its records cannot express it, so users would be sent elsewhere than this file says",
            fix="use dns: latency, or another provider in the Fleet; Leeward's own agents know every policy",
        )


def _breaker(application: Loaded[Application]) -> Iterator[Problem]:
    breaker = application.model.spec.traffic.breaker
    if breaker.ejected_max > EJECTED_MAX_SANE:
        yield application.warning(
            "aggressive-ejection",
            *("spec", "traffic", "breaker", "ejectedMax"),
            what=f"up to {breaker.ejected_max} % of the pods may be ejected",
            why="the remaining pods take all the load and fail in turn, and the failure spreads to the next region",
            fix=f"set it to at most {EJECTED_MAX_SANE}",
        )
    if breaker.errors < ERRORS_MIN_SANE:
        yield application.warning(
            "aggressive-ejection",
            *("spec", "traffic", "breaker", "errors"),
            what=f"{breaker.errors} bad answers in a row eject a pod",
            why="one request that always fails, sent twice, would take a healthy pod out",
            fix=f"set it to {ERRORS_MIN_SANE} or more",
        )


def _rate_limit(application: Loaded[Application]) -> Iterator[Problem]:
    """Yield a warning where fewer pods than the most take less than the limit: each has a fixed share of it."""
    spec = application.model.spec
    scaling, limit = spec.service.autoscaling, spec.traffic.rate_limit
    stated = [(key, value) for key, value in (("perMinute", limit.per_minute), ("perHour", limit.per_hour)) if value]
    if spec.sidecars.envoy is None or scaling is None or scaling.min == scaling.max:
        return
    for key, value in stated:
        yield application.warning(
            "rate-limit-in-shares",
            *("spec", "traffic", "rateLimit", key),
            what=f"a region with {scaling.min} pods takes {value * scaling.min // scaling.max} of {value} requests",
            why=f"each pod's Envoy takes its share of {scaling.max} pods, the most that autoscaling allows",
            fix="bring autoscaling.min nearer to max, or choose the limit by the pods that are usually there",
        )


def _without_effect(application: Loaded[Application], fleet: Fleet) -> Iterator[Problem]:
    """Yield a warning for each traffic setting that no component of this fleet applies."""
    traffic, mesh = application.model.spec.traffic, fleet.spec.mesh.kind is MeshKind.ISTIO
    envoy = application.model.spec.sidecars.envoy is not None
    beside, meshed = "sidecars: {envoy: {}} to the application", "mesh: {kind: istio} to the Fleet"
    rows = (
        ("rateLimit", "rate_limit", envoy, beside),
        ("breaker", "breaker", mesh or envoy, f"{beside}, or {meshed}"),
        ("retries", "retries", mesh or envoy, f"{beside}, or {meshed}"),
        ("affinity", "affinity", mesh, meshed),
        ("failover", "failover", mesh, meshed),
        ("warmup", "warmup_s", mesh, meshed),
    )
    for key, name, applied, fix in rows:
        if name in traffic.model_fields_set and getattr(traffic, name) and not applied:
            yield application.warning(
                "no-effect",
                *("spec", "traffic", key),
                key=True,
                what=f"traffic.{key} has no effect here",
                why="Leeward's gateways route and fail over between regions; a proxy beside the pods applies this",
                fix=f"add {fix}, or leave it out",
            )
