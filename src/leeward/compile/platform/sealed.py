"""Secrets as ciphertext: the SealedSecrets that stand beside the Fleet, put into the tree as they are, with our labels.

Which secrets are needed is the same as with External Secrets; for each there is a SealedSecret of that namespace and
name. Sealed for one cluster, it says so in its annotation ``leeward.dev/clusters: fnp-us, fnp-eu``; without one it is
for all of them. Those that no application refers to are added where their namespace is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from leeward.base.problem import Problem, ProblemsError
from leeward.compile.kube.objects import DOMAIN, KubeObject
from leeward.compile.part import Part
from leeward.compile.site import Site, all_clusters
from leeward.spec.platform import SecretsBy

GROUP = "bitnami.com/"
CLUSTERS = f"{DOMAIN}/clusters"
PART = "sealed-secrets"
Key = tuple[str, str]
"""Namespace and name."""


def is_sealed(document: Any) -> bool:
    """Return whether a document is a SealedSecret."""
    return isinstance(document, dict) and str(document.get("apiVersion", "")).startswith(GROUP)


def is_reference(item: KubeObject) -> bool:
    """Return whether an object is only a reference to a secret."""
    return bool(item["kind"] == "ExternalSecret")


def answered(site: Site, parts: list[Part], documents: Iterable[Mapping[str, Any]]) -> list[Part]:
    """Return the parts with sealed secrets in place of references, where the fleet wants that.

    Raises ProblemsError with every secret that is not sealed, or not with all its keys.
    """
    if site.fleet.secrets.by is not SecretsBy.SEALED:
        return parts
    given = _given(site, [document for document in documents if is_sealed(document)])
    wanted = {_key(item): _keys(item) for part in parts for item in part.objects if is_reference(item)}
    problems = [*_missing(site, wanted, given), *_incomplete(site, wanted, given)]
    if problems:
        raise ProblemsError(problems)
    namespaces = {item["metadata"]["name"] for part in parts for item in part.objects if item["kind"] == "Namespace"}
    rest = tuple(each for key, each in given.items() if key not in wanted and key[0] in namespaces)
    result = [
        replace(part, objects=tuple(given[_key(item)] if is_reference(item) else item for item in part.objects))
        for part in parts
    ]
    return [*result, Part("infrastructure", PART, rest)]


def _given(site: Site, documents: list[Mapping[str, Any]]) -> dict[Key, KubeObject]:
    """Return this cluster's sealed secrets. Raises ProblemsError for an invalid SealedSecret, or two of one name."""
    known = {cluster.name for _, cluster in all_clusters(site.spec)}
    result: dict[Key, KubeObject] = {}
    problems = []
    for document in documents:
        metadata = document.get("metadata") or {}
        name, namespace = metadata.get("name"), metadata.get("namespace")
        if not name or not namespace or not isinstance((document.get("spec") or {}).get("encryptedData"), dict):
            problems.append(_malformed(str(name)))
            continue
        text = (metadata.get("annotations") or {}).get(CLUSTERS, "")
        clusters = {each.strip() for each in text.split(",") if each.strip()}
        if clusters - known:
            problems.append(_elsewhere(f"{namespace}/{name}", clusters - known, known))
        elif site.cluster.name in clusters or not clusters:
            if (namespace, name) in result:
                problems.append(_twice(f"{namespace}/{name}", site.cluster.name))
            result[namespace, name] = _ours(site, document)
    if problems:
        raise ProblemsError(problems)
    return result


def _ours(site: Site, document: Mapping[str, Any]) -> KubeObject:
    """Return a sealed secret as it is, and with our labels; they are not part of what is sealed."""
    metadata = document["metadata"]
    part_of = metadata["namespace"]
    labels = {**metadata.get("labels", {}), **site.labels(metadata["name"], "secret", part_of)}
    return {**document, "metadata": {**metadata, "labels": labels}}


def _key(item: KubeObject) -> Key:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _keys(reference: KubeObject) -> set[str]:
    return {each["secretKey"] for each in reference["spec"]["data"]}


def _missing(site: Site, wanted: Mapping[Key, set[str]], given: Mapping[Key, KubeObject]) -> list[Problem]:
    lacking = [
        f"{namespace}/{name} ({', '.join(sorted(keys))})"
        for (namespace, name), keys in wanted.items()
        if (namespace, name) not in given
    ]
    if not lacking:
        return []
    return [
        Problem(
            code="secret-not-sealed",
            where=f"cluster {site.cluster.name}",
            what=f"{len(lacking)} required secrets are not sealed: {'; '.join(lacking)}",
            why="with secrets.by: sealed every secret is a SealedSecret in the Fleet's directory",
            fix="seal each with kubeseal under that namespace and name, and put its YAML into the directory"
            f" (for one cluster only: annotation {CLUSTERS})",
        )
    ]


def _incomplete(site: Site, wanted: Mapping[Key, set[str]], given: Mapping[Key, KubeObject]) -> list[Problem]:
    return [
        Problem(
            code="sealed-without-key",
            where=f"cluster {site.cluster.name}, SealedSecret {key[0]}/{key[1]}",
            what=f"it lacks {', '.join(sorted(keys - given[key]['spec']['encryptedData'].keys()))}",
            why=f"it has {', '.join(given[key]['spec']['encryptedData']) or 'nothing'}",
            fix="seal the missing ones into it: kubeseal --merge-into FILE",
        )
        for key, keys in wanted.items()
        if key in given and keys - given[key]["spec"]["encryptedData"].keys()
    ]


def _malformed(name: str) -> Problem:
    return Problem(
        code="sealed-malformed",
        where=f"SealedSecret {name}",
        what="it is not what kubeseal prints",
        why="it needs metadata.name, metadata.namespace and spec.encryptedData",
        fix="write it with kubeseal -o yaml; never by hand, and never with values that can be read",
    )


def _elsewhere(name: str, unknown: set[str], known: set[str]) -> Problem:
    return Problem(
        code="unknown-cluster",
        where=f"SealedSecret {name}, annotation {CLUSTERS}",
        what=f"the fleet has no cluster {', '.join(sorted(unknown))}",
        why=f"it has {', '.join(sorted(known))}",
        fix="name clusters of the fleet, separated by commas, or leave the annotation out",
    )


def _twice(name: str, cluster: str) -> Problem:
    return Problem(
        code="sealed-twice",
        where=f"SealedSecret {name}",
        what=f"two of this name apply to cluster {cluster}",
        why="one of them would replace the other",
        fix=f"state which clusters each is for: annotation {CLUSTERS}",
    )
