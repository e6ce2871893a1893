"""Azure's Traffic Manager: a profile with an endpoint for each region, by Azure Service Operator."""

from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.names import host_of, ttl_s, weight_of
from leeward.compile.site import Site
from leeward.compile.target import HTTP_PORT
from leeward.compile.traffic.records.geography import first_of_each_continent, names_at
from leeward.compile.traffic.records.model import HEALTH_FAILURES, HEALTH_PERIOD_S, gateway_host
from leeward.spec.application import Application
from leeward.spec.fleet import Provider
from leeward.spec.traffic import DnsPolicy

GROUP = "network.azure.com/v1api20220401"
METHODS = {
    DnsPolicy.LATENCY: "Performance",
    DnsPolicy.GEOGRAPHIC: "Geographic",
    DnsPolicy.WEIGHTED: "Weighted",
    DnsPolicy.FAILOVER: "Priority",
}
CONTINENTS = {"NA": "GEO-NA", "SA": "GEO-SA", "EU": "GEO-EU", "AF": "GEO-AF", "AS": "GEO-AS", "OC": "GEO-AP"}
ANYWHERE = "WORLD"


def traffic_manager(site: Site, application: Application) -> list[KubeObject]:
    """Return the profile and its endpoints, in the first region only: it is one object for all."""
    app, regions = application.metadata.name, site.spec.placement(application)
    if site.region.name != regions[0]:
        return []
    labels = site.labels(app, "dns", app)
    profile = object_of(
        GROUP,
        "TrafficManagerProfile",
        app,
        application.namespace,
        labels,
        spec={
            "owner": {"name": site.fleet.dns.zone_id or "leeward"},
            "location": "global",
            "trafficRoutingMethod": METHODS[application.spec.traffic.dns],
            "dnsConfig": {"relativeName": app, "ttl": ttl_s(site.spec, application)},
            "monitorConfig": {
                "protocol": "HTTP",
                "port": HTTP_PORT,
                # Otherwise it asks for the gateway's own name, which no application has.
                "customHeaders": [{"name": "host", "value": host_of(site.spec, application)}],
                "path": application.spec.service.probes.readiness,
                "intervalInSeconds": HEALTH_PERIOD_S,
                "timeoutInSeconds": 5,
                "toleratedNumberOfFailures": HEALTH_FAILURES,
            },
        },
    )
    names = names_at(map(site.spec.region, regions), Provider.AZURE)
    return [
        profile,
        *(
            object_of(
                GROUP,
                "TrafficManagerProfilesExternalEndpoint",
                f"{app}-{region}",
                application.namespace,
                labels,
                spec={
                    "owner": {"name": app},
                    "target": gateway_host(site, region),
                    "endpointLocation": names[region],
                    "priority": index,
                    "weight": max(1, weight_of(application, region)),
                    **users,
                },
            )
            for index, region in enumerate(regions, start=1)
            if (users := _users_of(site, application, region)) is not None
        ),
    ]


def _users_of(site: Site, application: Application, region: str) -> KubeObject | None:
    """Return whose users an endpoint gets, where that goes by geography; None for no users.

    A continent's are the first region's there, and all others' the primary's.
    """
    if application.spec.traffic.dns is not DnsPolicy.GEOGRAPHIC:
        return {}
    placement = site.spec.placement(application)
    first = first_of_each_continent(map(site.spec.region, placement))
    codes = [CONTINENTS[code] for code, name in first.items() if name == region]
    codes += [ANYWHERE] if region == placement[0] else []
    return {"geoMapping": codes} if codes else None
