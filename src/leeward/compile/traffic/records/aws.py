"""Route 53: health checks and record sets of the ACK controller, which puts the checks' ids into the records.

Ids are Amazon's and known once a check is there; so records refer to checks by name, which external-dns cannot.
"""

from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.names import host_of, ttl_s, weight_of
from leeward.compile.site import Site
from leeward.compile.target import HTTP_PORT, SYSTEM_NAMESPACE
from leeward.compile.traffic.records.geography import first_of_each_continent, names_at
from leeward.compile.traffic.records.model import (
    HEALTH_FAILURES,
    HEALTH_PERIOD_S,
    endpoint,
    gateway_host,
    regional_name,
)
from leeward.core.dns import settings
from leeward.spec.application import Application
from leeward.spec.fleet import Provider
from leeward.spec.traffic import DnsPolicy

GROUP = "route53.services.k8s.aws/v1alpha1"
NEAREST = "nearest"


def route_53(site: Site, application: Application) -> list[KubeObject]:
    """Return the region's own name, its health check, and its part of the global name."""
    return [endpoint(site, application), _health_check(site, application), *_shared(site, application)]


def _shared(site: Site, application: Application) -> list[KubeObject]:
    region, placement = site.region.name, site.spec.placement(application)
    host = host_of(site.spec, application)
    match application.spec.traffic.dns:
        case DnsPolicy.LATENCY:
            return [_record(site, application, region, host, _latency(site, application))]
        case DnsPolicy.WEIGHTED:
            return [_record(site, application, region, host, {"weight": weight_of(application, region)})]
        case DnsPolicy.FAILOVER:
            # Route 53 knows two of them.
            ranks = dict(zip(placement, ("PRIMARY", "SECONDARY"), strict=False))
            return [_record(site, application, region, host, {"failover": ranks[region]})] if region in ranks else []
        case DnsPolicy.GEOGRAPHIC:
            return _geographic(site, application)


def _geographic(site: Site, application: Application) -> list[KubeObject]:
    """Return records by continent. Users of none, or of one whose region is lost, go to the nearest that is left."""
    region, placement = site.region.name, site.spec.placement(application)
    host = host_of(site.spec, application)
    nearest = settings.regional_name(host, NEAREST)
    result = [_record(site, application, f"{region}-{NEAREST}", nearest, _latency(site, application))]
    for code, first in first_of_each_continent(map(site.spec.region, placement)).items():
        if first == region:
            result.append(_record(site, application, region, host, {"geoLocation": {"continentCode": code}}))
    if region == placement[0]:
        anywhere = _record(site, application, "anywhere", host, {"geoLocation": {"countryCode": "*"}}, nearest)
        del anywhere["spec"]["healthCheckRef"]
        result.append(anywhere)
    return result


def _latency(site: Site, application: Application) -> KubeObject:
    regions = map(site.spec.region, site.spec.placement(application))
    return {"region": names_at(regions, Provider.AWS)[site.region.name]}


def _record(
    site: Site, application: Application, identifier: str, name: str, policy: KubeObject, target: str | None = None
) -> KubeObject:
    app, zone = application.metadata.name, site.fleet.dns.zone_id
    where = {"hostedZoneID": zone} if zone else {"hostedZoneRef": {"from": _zone(site)}}
    spec = {
        "name": f"{name}.",
        "recordType": "CNAME",
        "ttl": ttl_s(site.spec, application),
        "setIdentifier": identifier,
        **policy,
        "resourceRecords": [{"value": target or gateway_host(site, site.region.name)}],
        "healthCheckRef": {"from": {"name": _check_name(site, application)}},
        **where,
    }
    labels = site.labels(app, "dns", app)
    return object_of(GROUP, "RecordSet", f"{app}-{identifier}", application.namespace, labels, spec=spec)


def _zone(site: Site) -> KubeObject:
    return {"name": site.domain.replace(".", "-"), "namespace": SYSTEM_NAMESPACE}


def _check_name(site: Site, application: Application) -> str:
    return f"leeward-{application.metadata.name}-{site.region.name}"


def _health_check(site: Site, application: Application) -> KubeObject:
    """Return Route 53's check of this region, by its own name and the service's readiness."""
    app = application.metadata.name
    config = {
        "type": "HTTP",
        "fullyQualifiedDomainName": regional_name(site, application, site.region.name),
        "port": HTTP_PORT,
        "resourcePath": application.spec.service.probes.readiness,
        "requestInterval": HEALTH_PERIOD_S,
        "failureThreshold": HEALTH_FAILURES,
    }
    return object_of(
        GROUP,
        "HealthCheck",
        _check_name(site, application),
        application.namespace,
        site.labels(app, "dns", app),
        spec={"healthCheckConfig": config},
    )
