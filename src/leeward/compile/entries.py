"""How users come in: one anycast address over all of Google's clusters, and records at DNS providers.

The one model behind all providers: per application a name for each region, and a global one whose answers follow the
policy. A provider gets it in its own words.
"""

from leeward.compile.names import ttl_s, weight_of
from leeward.compile.objects import KubeObject, object_of, selector_of
from leeward.compile.site import Site, all_clusters, find, pods_of
from leeward.compile.target import SYSTEM_NAMESPACE, USERS_PORT
from leeward.core.dns import settings
from leeward.spec.application import Application
from leeward.spec.fleet import Provider, Region
from leeward.spec.platform import DnsProvider
from leeward.spec.traffic import DnsPolicy

HEALTH_PERIOD_S = 10
HEALTH_FAILURES = 3


def entry(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with the multi-cluster service, and on the first cluster of Google's the ingress.

    The ingress lives on one configuration cluster; what it configured goes on without it.
    """
    wanted, app = site.fleet.entry, application.metadata.name
    if wanted is None or site.region.provider is not Provider.GCP or find(items, "Deployment", app) is None:
        return items
    labels, namespace = site.labels(app, "entry", app), application.namespace
    clusters = [cluster.name for region, cluster in all_clusters(site.spec) if region.provider is Provider.GCP]
    if site.cluster.name != clusters[0]:
        return items
    port = application.spec.service.port
    service = object_of(
        "networking.gke.io/v1",
        "MultiClusterService",
        f"{app}-global",
        namespace,
        labels,
        spec={
            "template": {
                "spec": {
                    "selector": pods_of(application),
                    "ports": [{"name": "http", "protocol": "TCP", "port": port, "targetPort": "http"}],
                }
            }
        },
    )
    annotations = {"networking.gke.io/static-ip": wanted.address}
    if wanted.certificate is not None:
        annotations["networking.gke.io/pre-shared-certs"] = wanted.certificate
    ingress = object_of(
        "networking.gke.io/v1",
        "MultiClusterIngress",
        app,
        namespace,
        labels,
        annotations,
        spec={"template": {"spec": {"backend": {"serviceName": f"{app}-global", "servicePort": port}}}},
    )
    return [*items, service, ingress]


def regional_name(site: Site, application: Application, region: str) -> str:
    """Return an application's name in one region: payments-us-east-1.example.com."""
    return settings.regional_name(site.host(application), region)


def records(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with this region's public records, at the provider the fleet names.

    Every region writes its own: the loss of one leaves the others' untouched.
    """
    if site.fleet.dns.provider is DnsProvider.LEEWARD or not site.home:
        return items
    match site.fleet.dns.provider:
        case DnsProvider.ROUTE53:
            return [*items, _health_check(site, application), _endpoint(site, application)]
        case DnsProvider.CLOUD_DNS:
            return [*items, *_cloud_dns(site, application)]
        case DnsProvider.AZURE:
            return [*items, *_traffic_manager(site, application)]
        case _:
            return [*items, _endpoint(site, application)]


def _gateway(site: Site, region: str) -> str:
    return f"gateway.{region}.{site.domain}"


def _endpoint(site: Site, application: Application) -> KubeObject:
    """Return external-dns's record of this region, and its part of the global one."""
    app, region = application.metadata.name, site.region
    ttl = ttl_s(site.spec, application)
    common = {"recordType": "CNAME", "recordTTL": ttl, "targets": [_gateway(site, region.name)]}
    shared: KubeObject = {"dnsName": site.host(application), **common}
    if site.fleet.dns.provider is DnsProvider.ROUTE53:
        shared |= {"setIdentifier": region.name, "providerSpecific": _route53(site, application)}
    else:
        # Cloudflare's proxies take users at the nearest of their own places.
        shared["providerSpecific"] = [{"name": "external-dns.alpha.kubernetes.io/cloudflare-proxied", "value": "true"}]
        primary = site.spec.placement(application)[0]
        shared["targets"] = [_gateway(site, primary)]
    endpoints = [{"dnsName": regional_name(site, application, region.name), **common}]
    if site.fleet.dns.provider is DnsProvider.ROUTE53 or region.name == site.spec.placement(application)[0]:
        endpoints.append(shared)
    labels = site.labels(app, "dns", app)
    return object_of(
        "externaldns.k8s.io/v1alpha1", "DNSEndpoint", app, application.namespace, labels, spec={"endpoints": endpoints}
    )


def _route53(site: Site, application: Application) -> list[KubeObject]:
    region = site.region
    aws_region = region.name if region.provider is Provider.AWS else _nearest_aws(region)
    match application.spec.traffic.dns:
        case DnsPolicy.LATENCY:
            own = {"aws/region": aws_region}
        case DnsPolicy.WEIGHTED:
            own = {"aws/weight": str(weight_of(application, region.name))}
        case DnsPolicy.FAILOVER:
            first = site.spec.placement(application)[0] == region.name
            own = {"aws/failover": "PRIMARY" if first else "SECONDARY"}
        case DnsPolicy.GEOGRAPHIC:
            own = {"aws/geolocation-continent-code": continent(region)}
    health = f"leeward-{application.metadata.name}-{region.name}"
    return [{"name": name, "value": value} for name, value in {**own, "aws/health-check-id": health}.items()]


AWS_REGIONS = {"NA": "us-east-1", "SA": "sa-east-1", "EU": "eu-central-1", "AF": "af-south-1", "OC": "ap-southeast-2"}


def _nearest_aws(region: Region) -> str:
    """Return the region of Amazon's that stands for another provider's when latency is compared."""
    return AWS_REGIONS.get(continent(region), "ap-northeast-1")


def continent(region: Region) -> str:
    """Return a continent's code for a place, roughly: enough to send users the right way."""
    latitude, longitude = region.location.latitude, region.location.longitude
    if longitude < -30:
        return "NA" if latitude > 12 else "SA"
    if longitude < 60:
        return "EU" if latitude > 35 else "AF"
    return "OC" if latitude < -10 else "AS"


def _health_check(site: Site, application: Application) -> KubeObject:
    """Return Route 53's check of this region, by its own name and the service's readiness."""
    app = application.metadata.name
    config = {
        "type": "HTTPS",
        "fullyQualifiedDomainName": regional_name(site, application, site.region.name),
        "port": 443,
        "resourcePath": application.spec.service.probes.readiness,
        "requestInterval": HEALTH_PERIOD_S,
        "failureThreshold": HEALTH_FAILURES,
        "enableSNI": True,
    }
    return object_of(
        "route53.services.k8s.aws/v1alpha1",
        "HealthCheck",
        f"leeward-{app}-{site.region.name}",
        application.namespace,
        site.labels(app, "dns", app),
        spec={"healthCheckConfig": config},
    )


def _cloud_dns(site: Site, application: Application) -> list[KubeObject]:
    """Return Google's records: the region's own, and in the first region the global one with its policy."""
    app, ttl = application.metadata.name, ttl_s(site.spec, application)
    zone = {"external": site.fleet.dns.zone_id or site.domain.replace(".", "-")}
    regions = site.spec.placement(application)

    def record(name: str, label: str, extra: KubeObject) -> KubeObject:
        spec = {"name": f"{label}.", "type": "CNAME", "ttl": ttl, "managedZoneRef": zone, **extra}
        labels = site.labels(app, "dns", app)
        group = "dns.cnrm.cloud.google.com/v1beta1"
        return object_of(group, "DNSRecordSet", name, application.namespace, labels, spec=spec)

    own = record(
        f"{app}-{site.region.name}",
        regional_name(site, application, site.region.name),
        {"rrdatas": [f"{_gateway(site, site.region.name)}."]},
    )
    if site.region.name != regions[0]:
        return [own]
    if application.spec.traffic.dns is DnsPolicy.WEIGHTED:
        policy = {
            "wrr": [
                {"weight": weight_of(application, each), "rrdatas": [f"{_gateway(site, each)}."]} for each in regions
            ]
        }
    else:
        policy = {"geo": [{"location": each, "rrdatas": [f"{_gateway(site, each)}."]} for each in regions]}
    return [own, record(app, site.host(application), {"routingPolicy": policy})]


def _traffic_manager(site: Site, application: Application) -> list[KubeObject]:
    """Return Azure's profile, in the first region only: it is one object for all."""
    app, regions = application.metadata.name, site.spec.placement(application)
    if site.region.name != regions[0]:
        return []
    method = {
        DnsPolicy.LATENCY: "Performance",
        DnsPolicy.GEOGRAPHIC: "Geographic",
        DnsPolicy.WEIGHTED: "Weighted",
        DnsPolicy.FAILOVER: "Priority",
    }[application.spec.traffic.dns]
    labels, group = site.labels(app, "dns", app), "network.azure.com/v1api20220401"
    profile = object_of(
        group,
        "TrafficManagerProfile",
        app,
        application.namespace,
        labels,
        spec={
            "owner": {"name": site.fleet.dns.zone_id or "leeward"},
            "location": "global",
            "trafficRoutingMethod": method,
            "dnsConfig": {"relativeName": app, "ttl": ttl_s(site.spec, application)},
            "monitorConfig": {
                "protocol": "HTTPS",
                "port": 443,
                "path": application.spec.service.probes.readiness,
                "intervalInSeconds": HEALTH_PERIOD_S,
                "timeoutInSeconds": 5,
                "toleratedNumberOfFailures": HEALTH_FAILURES,
            },
        },
    )
    endpoints = [
        object_of(
            group,
            "TrafficManagerProfilesExternalEndpoint",
            f"{app}-{region}",
            application.namespace,
            labels,
            spec={
                "owner": {"name": app},
                "target": _gateway(site, region),
                "endpointLocation": region,
                "priority": index,
                "weight": max(1, weight_of(application, region)),
            },
        )
        for index, region in enumerate(regions, start=1)
    ]
    return [profile, *endpoints]


def gateway_record(site: Site) -> list[KubeObject]:
    """Return this region's own name for its gateway, from the address its load balancer gets."""
    if site.fleet.dns.provider is DnsProvider.LEEWARD or not site.home:
        return []
    labels = site.labels("leeward-gateway", "dns", "leeward")
    annotations = {
        "external-dns.alpha.kubernetes.io/hostname": _gateway(site, site.region.name),
        "external-dns.alpha.kubernetes.io/ttl": "30",
    }
    spec = {
        "type": "LoadBalancer",
        "selector": selector_of("leeward", "agent"),
        "ports": [{"name": "https", "port": 443, "targetPort": USERS_PORT}],
    }
    return [object_of("v1", "Service", "leeward-entry", SYSTEM_NAMESPACE, labels, annotations, spec=spec)]
