"""Cloud DNS: record sets of Config Connector, with a routing policy for the global name."""

from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.names import host_of, ttl_s, weight_of
from leeward.compile.site import Site
from leeward.compile.traffic.records.geography import names_at
from leeward.compile.traffic.records.model import gateway_host, regional_name
from leeward.spec.application import Application
from leeward.spec.fleet import Provider
from leeward.spec.traffic import DnsPolicy

GROUP = "dns.cnrm.cloud.google.com/v1beta1"


def cloud_dns(site: Site, application: Application) -> list[KubeObject]:
    """Return the region's own record, and in the first region the global one with its policy."""
    app, region, placement = application.metadata.name, site.region.name, site.spec.placement(application)
    own = {"rrdatas": [f"{gateway_host(site, region)}."]}
    result = [_record(site, application, f"{app}-{region}", regional_name(site, application, region), own)]
    if region == placement[0]:
        policy = {"routingPolicy": _policy(site, application)}
        result.append(_record(site, application, app, host_of(site.spec, application), policy))
    return result


def _policy(site: Site, application: Application) -> KubeObject:
    placement = site.spec.placement(application)

    def target(region: str) -> KubeObject:
        # The one place for a target; its kind is an address's, and its text may be any.
        return {"rrdatasRefs": [{"kind": "ComputeAddress", "external": f"{gateway_host(site, region)}."}]}

    if application.spec.traffic.dns is DnsPolicy.WEIGHTED:
        return {"wrr": [{"weight": weight_of(application, each), **target(each)} for each in placement]}
    names = names_at(map(site.spec.region, placement), Provider.GCP)
    return {"geo": [{"location": names[each], **target(each)} for each in placement]}


def _record(site: Site, application: Application, name: str, label: str, extra: KubeObject) -> KubeObject:
    zone = {"external": site.fleet.dns.zone_id or site.domain.replace(".", "-")}
    ttl = ttl_s(site.spec, application)
    spec = {"name": f"{label}.", "type": "CNAME", "ttl": ttl, "managedZoneRef": zone, **extra}
    labels = site.labels(application.metadata.name, "dns", application.metadata.name)
    return object_of(GROUP, "DNSRecordSet", name, application.namespace, labels, spec=spec)
