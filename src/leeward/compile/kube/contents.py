"""Pods are replaced when what they read changes: their template carries a hash of it.

A Deployment rolls when its template changes, and a ConfigMap it mounts is no part of that: without the hash a change of
settings reaches only pods that happen to start later. Jobs are left out: their templates may not be changed in place.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from leeward.compile.kube.objects import DOMAIN, KubeObject

CONTENT_HASH = f"{DOMAIN}/content-hash"
"""Annotation of a pod template: a hash of the ConfigMaps and Secrets that its pods mount or read."""
ROLLED = ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet")
CONTENT_KEYS = {
    "ConfigMap": ("data", "binaryData"),
    "Secret": ("data", "stringData"),
    "ExternalSecret": ("spec",),
    "SealedSecret": ("spec",),
}
"""Where an object's content is. The last two stand for the Secret that is made of them."""
Key = tuple[str, str | None, str]
"""ConfigMap or Secret, namespace and name."""


def contents(items: Iterable[KubeObject]) -> dict[Key, KubeObject]:
    """Return what pods may read, by what they call it."""
    result = {}
    for item in items:
        keys = CONTENT_KEYS.get(item["kind"])
        if keys is not None:
            kind = "ConfigMap" if item["kind"] == "ConfigMap" else "Secret"
            name = (kind, item["metadata"].get("namespace"), item["metadata"]["name"])
            result[name] = {key: item[key] for key in keys if key in item}
    return result


def with_content_hash(
    item: KubeObject, known: Mapping[Key, KubeObject], *, renewed_in_place: Collection[str] = ()
) -> KubeObject:
    """Return a workload with the hash of what its pods read; anything else, and one that reads nothing, as it is.

    ``renewed_in_place`` are Secrets whose readers take up a new content without a restart.
    """
    if item["kind"] not in ROLLED:
        return item
    template, namespace = item["spec"]["template"], item["metadata"].get("namespace")
    read = sorted({(kind, namespace, name) for kind, name in _references(template["spec"])} & known.keys())
    hashed = [
        [kind, name, known[kind, namespace, name]]
        for kind, _, name in read
        if kind == "ConfigMap" or name not in renewed_in_place
    ]
    if not hashed:
        return item
    digest = hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:16]
    metadata = template.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), CONTENT_HASH: digest}
    template = {**template, "metadata": {**metadata, "annotations": annotations}}
    return {**item, "spec": {**item["spec"], "template": template}}


def _references(pod: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield kind and name of each ConfigMap and Secret that a pod mounts or reads into its environment."""
    for volume in pod.get("volumes") or ():
        for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
            yield from _named(source, "configMap", "secret")
    for container in (*(pod.get("initContainers") or ()), *pod["containers"]):
        for source in container.get("envFrom") or ():
            yield from _named(source, "configMapRef", "secretRef")
        for variable in container.get("env") or ():
            yield from _named(variable.get("valueFrom") or {}, "configMapKeyRef", "secretKeyRef")


def _named(source: Mapping[str, Any], config_map: str, secret: str) -> Iterator[tuple[str, str]]:
    for kind, key in (("ConfigMap", config_map), ("Secret", secret)):
        part = source.get(key)
        if isinstance(part, dict):
            # A volume of a secret has another key for its name than all others.
            name = part.get("name") or part.get("secretName")
            if name:
                yield kind, name
