"""Public names at DNS providers: per application one for each region, and a global one whose answers follow the policy.

The model is the same for all; each provider gets it in its own words, as far as it has them. Every region writes its
own part: the loss of one leaves the others' untouched.
"""

from leeward.compile.kube.objects import KubeObject
from leeward.compile.names import host_of, ttl_s
from leeward.compile.site import Site
from leeward.compile.traffic.records.aws import route_53
from leeward.compile.traffic.records.azure import traffic_manager
from leeward.compile.traffic.records.google import cloud_dns
from leeward.compile.traffic.records.model import endpoint, gateway_host
from leeward.spec.application import Application
from leeward.spec.platform import DnsProvider

__all__ = ["records"]


def records(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with this region's public records, at the provider the fleet names."""
    if not site.home:
        return items
    match site.fleet.dns.provider:
        case DnsProvider.LEEWARD:
            return items
        case DnsProvider.ROUTE53:
            return [*items, *route_53(site, application)]
        case DnsProvider.CLOUD_DNS:
            return [*items, *cloud_dns(site, application)]
        case DnsProvider.AZURE:
            return [*items, *traffic_manager(site, application)]
        case DnsProvider.CLOUDFLARE:
            return [*items, _cloudflare(site, application)]


def _cloudflare(site: Site, application: Application) -> KubeObject:
    """Return the region's name, and in the primary's region the global one: its proxies take users at the nearest."""
    primary = site.spec.placement(application)[0]
    if site.region.name != primary:
        return endpoint(site, application)
    proxied = [{"name": "external-dns.alpha.kubernetes.io/cloudflare-proxied", "value": "true"}]
    return endpoint(
        site,
        application,
        {
            "dnsName": host_of(site.spec, application),
            "recordType": "CNAME",
            "recordTTL": ttl_s(site.spec, application),
            "targets": [gateway_host(site, primary)],
            "providerSpecific": proxied,
        },
    )
