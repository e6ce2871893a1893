"""The tree's first page: what is where, what must be brought, what breaks with what, and what the objectives cost."""

from collections.abc import Iterator, Mapping, Sequence

from leeward.base.units import duration_text
from leeward.compile.app.images import by_tag
from leeward.compile.part import Part
from leeward.compile.platform.nodes import saving
from leeward.compile.platform.sealed import is_reference
from leeward.compile.site import all_clusters
from leeward.spec.application import Application, Operator
from leeward.spec.platform import MeshKind, SecretsBy
from leeward.spec.spec import Spec

UNMOVED = "not predicted, Leeward does not move CloudNativePG's primary"
SECRET_NAME_KEYS = (
    "secretName",
    "credentialName",
    "serverCASecret",
    "serverTLSSecret",
    "replicationTLSSecret",
    "clientCASecret",
)
SECRET_KEYS = ("secretKeyRef", "secretRef", "secret", "superuserSecret", "sslCert", "sslKey", "sslRootCert", "password")


def overview(spec: Spec, parts: Mapping[str, Sequence[Part]]) -> str:
    """Return the page."""
    lines = [
        f"# {spec.fleet.metadata.name}",
        "",
        "Rendered by `leeward render`; change the Fleet and the Applications, not these files.",
        "",
        "| cluster | region | provider | parts | objects |",
        "|---|---|---|---|---|",
    ]
    for region, cluster in all_clusters(spec):
        found = parts[cluster.name]
        count = sum(len(part.objects) for part in found)
        names = ", ".join(part.name for part in found)
        lines.append(f"| {cluster.name} | {region.name} | {region.provider} | {names} | {count} |")
    for application in spec.applications:
        lines += ["", *_application(spec, application)]
    lines += ["", *_images(parts), "", *_secrets(spec, parts)]
    return "\n".join(lines) + "\n"


def _application(spec: Spec, application: Application) -> list[str]:
    app, wanted = application.metadata.name, application.spec
    primary, *standbys = regions = spec.placement(application)
    # What an environment has more of is what runs.
    here = next(each for each in spec.on(spec.clusters(primary)[0].name) if each.metadata.name == app)
    budget, ttl_s = spec.budget(application), spec.dns_ttl_s(application)
    moved = wanted.database.operator is Operator.LEEWARD
    then = "a standby takes over" if moved else "you promote a replica"
    clusters = sum(len(spec.clusters(region)) for region in regions)
    providers = {spec.region(region).provider for region in regions}
    lines = [
        f"## {app}",
        "",
        f"Primary {primary}, standbys {', '.join(standbys) or 'none'}, {wanted.database.replication}.",
        f"RTO {duration_text(wanted.objectives.rto_s)}: {budget.arithmetic() if moved else UNMOVED}.",
        f"A client that knows only DNS adds its TTL of {duration_text(ttl_s)}: {budget.total_s + ttl_s:.2f} s.",
        "",
        "| what is lost | what fails with it | what remains |",
        "|---|---|---|",
        f"| a pod | 1 of {here.spec.service.replicas} in its region | the others, and a new one |",
        "| a node, a zone | the pods on it; they are spread | the region's other pods |",
        f"| the cluster or region {primary} | the primary | {len(regions) - 1} regions; {then} |",
        f"| another region | 1 of {len(standbys)} standbys | the primary, everything else |",
        f"| a provider | its regions of {len(providers)} providers | the others |",
        f"| a region's agent | nothing; {clusters} clusters keep serving | a primary, until its lease ends |",
    ]
    spared = saving(spec, application)
    return lines if spared is None else [*lines, "", f"Spot machines: {spared.sentence()}."]


def _secrets(spec: Spec, parts: Mapping[str, Sequence[Part]]) -> list[str]:
    if spec.fleet.spec.secrets.by is SecretsBy.EXTERNAL_SECRETS:
        store = spec.fleet.spec.secrets.store
        why = f"Read by External Secrets from the store `{store}`, which must hold these names with these properties:"
        return ["## Secrets", "", why, "", *_list(_held(parts))]
    if spec.fleet.spec.secrets.by is SecretsBy.SEALED:
        return ["## Secrets", "", "In this tree as ciphertext, for each cluster's sealed-secrets controller."]
    wanted = sorted(
        {
            f"`{item['metadata']['namespace']}/{name}`"
            for found in parts.values()
            for part in found
            for item in part.objects
            for name in _secret_names(item)
        }
    )
    if spec.fleet.spec.mesh.kind is MeshKind.ISTIO:
        # No object refers to it: istiod looks for a secret of this name.
        wanted = sorted({*wanted, "`istio-system/cacerts`"})
    return ["## Secrets", "", "Bring these into each cluster yourself; they are not in this tree:", "", *_list(wanted)]


def _held(parts: Mapping[str, Sequence[Part]]) -> list[str]:
    """Return what the store must hold: each name with its properties."""
    properties: dict[str, set[str]] = {}
    references = (item for found in parts.values() for part in found for item in part.objects if is_reference(item))
    for item in references:
        for each in item["spec"]["data"]:
            remote = each["remoteRef"]
            properties.setdefault(remote["key"], set()).add(remote["property"])
    return [
        f"`{name}`: {', '.join(f'`{each}`' for each in sorted(found))}" for name, found in sorted(properties.items())
    ]


def _images(parts: Mapping[str, Sequence[Part]]) -> list[str]:
    found = by_tag(item for each in parts.values() for part in each for item in part.objects)
    if not found:
        return ["## Images", "", "Every image is referenced by digest."]
    why = "Referenced by tag, so their registries decide what runs; `images.digests` in the Fleet pins them:"
    return ["## Images", "", why, "", *_list([f"`{each}`" for each in found])]


def _secret_names(value: object) -> Iterator[str]:
    """Yield the secrets that an object refers to, in whatever way its kind does."""
    if isinstance(value, list):
        for each in value:
            yield from _secret_names(each)
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        if key in SECRET_NAME_KEYS and isinstance(inner, str):
            yield inner
        elif key in SECRET_KEYS and isinstance(inner, dict) and "name" in inner:
            yield inner["name"]
        elif key == "certificateRefs":
            yield from (each["name"] for each in inner)
        else:
            yield from _secret_names(inner)


def _list(words: Sequence[str]) -> list[str]:
    return [f"- {word}" for word in words]
