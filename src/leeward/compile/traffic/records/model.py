"""What all providers share: whose names there are, and where they lead."""

from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.names import host_of, ttl_s
from leeward.compile.site import Site
from leeward.core.dns import settings
from leeward.spec.application import Application

HEALTH_PERIOD_S = 10
HEALTH_FAILURES = 3


def gateway_host(site: Site, region: str) -> str:
    """Return the name of a region's gateway."""
    return f"gateway.{region}.{site.domain}"


def regional_name(site: Site, application: Application, region: str) -> str:
    """Return an application's name in one region: payments-us-east-1.example.com."""
    return settings.regional_name(host_of(site.spec, application), region)


def endpoint(site: Site, application: Application, *more: KubeObject) -> KubeObject:
    """Return external-dns's object with the name of this region, and more."""
    app = application.metadata.name
    own = {
        "dnsName": regional_name(site, application, site.region.name),
        "recordType": "CNAME",
        "recordTTL": ttl_s(site.spec, application),
        "targets": [gateway_host(site, site.region.name)],
    }
    labels = site.labels(app, "dns", app)
    spec = {"endpoints": [own, *more]}
    return object_of("externaldns.k8s.io/v1alpha1", "DNSEndpoint", app, application.namespace, labels, spec=spec)
