"""All objects of one cluster, in parts: the one list of concerns.

A concern is a line here and a module. Those of an application take its objects so far and return them with more; the
order matters where one looks at what others made: sidecars before quota, overrides last but for the images' digests.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from leeward.compile.canaries import flagger, versions
from leeward.compile.cluster_api import cluster_api
from leeward.compile.delivery import argo_cd, waved
from leeward.compile.disruption import disruption
from leeward.compile.entries import entry
from leeward.compile.federation import is_federated, propagate
from leeward.compile.gateway_api import gateway_api
from leeward.compile.images import by_digest, require_digests, with_digests
from leeward.compile.istio import istio
from leeward.compile.istio_gateways import istio_gateways
from leeward.compile.joining import exports, names, peering, system_exports, wireguard
from leeward.compile.network_policy import network_policy, system_policies
from leeward.compile.nodes import interruptible, node_pools
from leeward.compile.objects import KubeObject
from leeward.compile.overrides import overrides
from leeward.compile.part import Part
from leeward.compile.pod_security import is_policy, translate
from leeward.compile.quota import quota
from leeward.compile.records import gateway_record, records
from leeward.compile.region import compile_application, compile_system
from leeward.compile.sealed import answered
from leeward.compile.secrets import secrets, system_secrets
from leeward.compile.sidecars import sidecars
from leeward.compile.site import AppConcern, FleetConcern, Site, site_of
from leeward.compile.storage import storage, storage_class, with_class
from leeward.compile.target import EngineCommands, Images
from leeward.compile.telemetry import collector, leeward_monitor, monitoring, node_logs, tracing
from leeward.compile.vertical import vertical
from leeward.spec.application import Application
from leeward.spec.spec import Spec

APPLICATION_CONCERNS: tuple[AppConcern, ...] = (
    storage,
    sidecars,
    tracing,
    interruptible,
    versions,
    disruption,
    vertical,
    flagger,
    istio,
    gateway_api,
    exports,
    entry,
    records,
    monitoring,
    secrets,
    network_policy,
    quota,
    overrides,
    by_digest,
)


def _leeward(site: Site) -> list[KubeObject]:
    if not site.home:
        return []
    return [
        *with_class(site, compile_system(site.spec, site.region.name, site.target)),
        *system_secrets(site),
        *system_policies(site),
        *system_exports(site),
        *gateway_record(site),
        *leeward_monitor(site),
    ]


FLEET_CONCERNS: Mapping[str, FleetConcern] = {
    "storage": storage_class,
    "leeward": _leeward,
    "istio": istio_gateways,
    "wireguard": wireguard,
    "peering": peering,
    "coredns": names,
    "nodes": node_pools,
    "tracing": collector,
    "logging": node_logs,
    "argocd": argo_cd,
    "cluster-api": cluster_api,
}
ELSEWHERE = ("cluster-api",)
"""Components that are not the cluster's own: they go to the management cluster."""


def compile_cluster(
    spec: Spec,
    cluster: str,
    *,
    engines: EngineCommands,
    images: Images | None = None,
    foreign: Iterable[Mapping[str, Any]] = (),
) -> list[KubeObject]:
    """Return everything one cluster runs, in the order in which it can be created.

    ``foreign`` are documents of other tools that Leeward reads: KubeFed's objects, PodSecurityPolicies, SealedSecrets.
    Raises KeyError for a cluster there is not, ProblemsError for what cannot be compiled.
    """
    parts = compile_parts(spec, cluster, engines=engines, images=images, foreign=foreign)
    return [item for part in parts if part.name not in ELSEWHERE for item in part.objects]


def compile_parts(
    spec: Spec,
    cluster: str,
    *,
    engines: EngineCommands,
    images: Images | None = None,
    foreign: Iterable[Mapping[str, Any]] = (),
) -> list[Part]:
    """Return the same in parts, infrastructure first; and what the management cluster needs to make the cluster."""
    documents = list(foreign)
    site = site_of(spec, cluster, engines=engines, images=images or Images())
    parts = [Part("infrastructure", name, tuple(concern(site))) for name, concern in FLEET_CONCERNS.items()]
    parts += [Part("apps", each.metadata.name, tuple(application_objects(site, each))) for each in _here(site)]
    federated = [item for item in (propagate(site, each) for each in filter(is_federated, documents)) if item]
    parts.append(Part("infrastructure", "federated", tuple(federated)))
    delivered = site.fleet.gitops is not None
    found = [
        replace(part, objects=tuple(map(waved, part.objects)) if delivered else part.objects)
        for part in _secured(answered(site, _pinned(site, parts), documents), documents)
        if part.objects
    ]
    if site.fleet.images.digests_required:
        require_digests(cluster, (item for part in found for item in part.objects))
    return found


def _pinned(site: Site, parts: list[Part]) -> list[Part]:
    digests = site.fleet.images.digests
    return [replace(part, objects=tuple(with_digests(part.objects, digests))) for part in parts]


def application_objects(site: Site, application: Application) -> list[KubeObject]:
    """Return what one application is in one cluster."""
    items = compile_application(site.spec, application, site.region.name, site.target, home=site.home)
    for concern in APPLICATION_CONCERNS:
        items = concern(site, application, items)
    return items


def _here(site: Site) -> Iterator[Application]:
    for application in site.spec.applications:
        if site.region.name in site.spec.placement(application):
            yield application


def _secured(parts: list[Part], documents: list[Mapping[str, Any]]) -> list[Part]:
    """Return the parts with the applications' namespaces at the level that given PodSecurityPolicies amount to.

    Ours are restricted anyway; a policy never loosens that, and a stricter level than restricted there is not.
    """
    levels = [translate(document).level for document in documents if is_policy(document)]
    if not levels:
        return parts
    return [replace(part, objects=tuple(_labelled(item, levels) for item in part.objects)) for part in parts]


def _labelled(item: KubeObject, levels: list[str]) -> KubeObject:
    if item["kind"] != "Namespace" or "pod-security.kubernetes.io/enforce" in item["metadata"].get("labels", {}):
        return item
    loosest = max(levels, key=("restricted", "baseline", "privileged").index)
    labels = {**item["metadata"].get("labels", {}), "pod-security.kubernetes.io/enforce": loosest}
    return {**item, "metadata": {**item["metadata"], "labels": labels}}
