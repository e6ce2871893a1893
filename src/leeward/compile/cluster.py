"""All objects of one cluster, in parts: the concerns of every group, applied in turn.

A new concern is a module and a line in its group's ``concerns``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from leeward.compile.app import concerns as app
from leeward.compile.app.images import require_digests, with_digests
from leeward.compile.app.pod_security import is_policy, translate
from leeward.compile.app.secrets import system_secrets
from leeward.compile.app.storage import with_class
from leeward.compile.concern import FleetConcerns, ordered
from leeward.compile.kube.contents import Key, contents, with_content_hash
from leeward.compile.kube.objects import KubeObject
from leeward.compile.observe import concerns as observe
from leeward.compile.observe.telemetry import leeward_monitor
from leeward.compile.part import Part
from leeward.compile.platform import concerns as platform
from leeward.compile.platform.concerns import ELSEWHERE
from leeward.compile.platform.federation import propagated
from leeward.compile.platform.sealed import answered
from leeward.compile.platform.waves import waved
from leeward.compile.region.identity import SYSTEM_SECRETS, instance_secret
from leeward.compile.region.namespaces import system_namespace
from leeward.compile.regional import compile_application, compile_system
from leeward.compile.site import Site, site_of
from leeward.compile.target import EngineCommands, Images
from leeward.compile.traffic import concerns as traffic
from leeward.compile.traffic.joining import system_exports
from leeward.compile.traffic.system_policies import system_policies
from leeward.spec.application import Application
from leeward.spec.spec import Spec

APPLICATION_CONCERNS = ordered(
    chain(app.CONCERNS, platform.CONCERNS, observe.CONCERNS, traffic.CONCERNS),
)


def _leeward(site: Site) -> list[KubeObject]:
    if not site.home:
        # What the region's first cluster exports from this namespace is imported into the namespace of that name.
        return [system_namespace(site.region.name)]
    return [
        *with_class(site, compile_system(site.spec, site.region.name, site.target)),
        *system_secrets(site),
        *system_policies(site),
        *system_exports(site),
        *leeward_monitor(site),
    ]


FLEET_CONCERNS: FleetConcerns = {
    **app.FLEET_CONCERNS,
    "leeward": _leeward,
    **traffic.FLEET_CONCERNS,
    **platform.FLEET_CONCERNS,
    **observe.FLEET_CONCERNS,
}


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
    Raises KeyError for an unknown cluster, ProblemsError for what cannot be compiled.
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
    parts.append(Part("infrastructure", "federated", tuple(propagated(site, documents))))
    delivered = site.fleet.gitops is not None
    secured = _secured(answered(site, _pinned(site, parts), documents), documents)
    found = [
        replace(part, objects=tuple(map(waved, part.objects)) if delivered else part.objects)
        for part in _rolled(site, secured)
        if part.objects
    ]
    if site.fleet.images.digests_required:
        require_digests(cluster, (item for part in found for item in part.objects))
    return found


def _rolled(site: Site, parts: list[Part]) -> list[Part]:
    known = contents(item for part in parts for item in part.objects)
    return [replace(part, objects=tuple(rolled(site.spec, part.objects, known))) for part in parts]


def rolled(spec: Spec, items: Iterable[KubeObject], known: Mapping[Key, KubeObject]) -> list[KubeObject]:
    """Return objects whose pods are replaced when what they read of ``known`` changes."""
    # Certificates are read again for each new connection.
    renewed = {*SYSTEM_SECRETS, *(instance_secret(each.metadata.name) for each in spec.applications)}
    return [with_content_hash(item, known, renewed_in_place=renewed) for item in items]


def _pinned(site: Site, parts: list[Part]) -> list[Part]:
    digests = site.fleet.images.digests
    return [replace(part, objects=tuple(with_digests(part.objects, digests))) for part in parts]


def application_objects(site: Site, application: Application) -> list[KubeObject]:
    """Return what one application is in one cluster."""
    items = compile_application(site.spec, application, site.region.name, site.target, home=site.home)
    for concern in APPLICATION_CONCERNS:
        items = concern.apply(site, application, items)
    return items


def _here(site: Site) -> Iterator[Application]:
    for application in site.spec.applications:
        if site.region.name in site.spec.placement(application):
            yield application


def _secured(parts: list[Part], documents: list[Mapping[str, Any]]) -> list[Part]:
    """Return the parts with the applications' namespaces at the level that given PodSecurityPolicies amount to.

    Ours are restricted anyway; a policy never loosens that, and restricted is the strictest level.
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
