"""Objects as a kustomize base and overlays: what is common once, what differs as JSON patches, exactly.

Always true: building an overlay gives the compiled objects, no more and no less; a test holds the real kustomize to it.
Two things are left to kustomize's own transformers, which need one line for them: the namespace and the region label.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from leeward.compile.kube.objects import KubeObject
from leeward.compile.kube.yaml_text import document

REGION = "topology.kubernetes.io/region"
TEMPLATED = ("Deployment", "StatefulSet")
API = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
Files = dict[str, str]


def base(items: Sequence[KubeObject]) -> Files:
    """Return a folder with the objects, a file each."""
    files = {file_of(item): document(item) for item in items}
    return {"kustomization.yaml": document({**API, "resources": list(files)}), **files}


def overlay(
    under: str, before: Sequence[KubeObject], after: Sequence[KubeObject], *, region: str | None = None
) -> Files:
    """Return a folder that makes the objects ``after`` of those that the folder ``under`` builds, ``before``.

    With ``region``, the label of the region is put on everything; the objects are compared without it.
    """
    old = {_key(item): item for item in before}
    wanted = [without_region(item) if region else item for item in after]
    moved = _namespaces(before) != _namespaces(wanted)
    namespace = next(iter(_namespaces(wanted)), None) if moved else None
    if namespace is not None:
        old = {key: _moved(item, namespace) for key, item in old.items()}
    files: Files = {}
    patches: list[KubeObject] = []
    resources = [under]
    for item in wanted:
        existing = old.pop(_key(item), None)
        name = file_of(item)
        if existing is None:
            resources.append(name)
            files[name] = document(item)
            continue
        steps = list(difference(existing, item))
        if steps:
            files[f"patches/{name}"] = _patch_text(existing, steps)
            patches.append({"path": f"patches/{name}", "target": _target(item)})
    originals = {_key(item): item for item in before}
    for key in old:
        gone = originals[key]
        patch = {"$patch": "delete", **{field: gone[field] for field in ("apiVersion", "kind")}}
        patch["metadata"] = {
            field: gone["metadata"][field] for field in ("name", "namespace") if field in gone["metadata"]
        }
        patches.append({"patch": document(patch), "target": _target(gone)})
    kustomization: KubeObject = {**API, "resources": resources}
    if namespace is not None:
        kustomization["namespace"] = namespace
    if region is not None:
        # Named, since includeTemplates would also label claims, which cannot be changed later.
        fields = [{"kind": kind, "path": "spec/template/metadata/labels"} for kind in TEMPLATED]
        kustomization["labels"] = [{"pairs": {REGION: region}, "fields": fields}]
    if patches:
        kustomization["patches"] = patches
    return {"kustomization.yaml": document(kustomization), **files}


def collection(resources: Iterable[str]) -> Files:
    """Return a folder that only gathers others, in this order."""
    return {"kustomization.yaml": document({**API, "sortOptions": {"order": "fifo"}, "resources": list(resources)})}


def file_of(item: KubeObject) -> str:
    """Return the name of an object's file."""
    return f"{item['kind'].lower()}-{item['metadata']['name']}.yaml"


def without_region(item: KubeObject) -> KubeObject:
    """Return the object without the labels that kustomize puts on."""
    result = {**item, "metadata": _unlabelled(item["metadata"])}
    if item["kind"] in TEMPLATED:
        template = item["spec"]["template"]
        template = {**template, "metadata": _unlabelled(template["metadata"])}
        result["spec"] = {**item["spec"], "template": template}
    return result


def difference(old: Any, new: Any, path: str = "") -> Iterator[KubeObject]:
    """Yield the JSON patch that makes new of old."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in old:
            if key not in new:
                yield {"op": "remove", "path": f"{path}/{_escaped(key)}"}
        for key, value in new.items():
            if key in old:
                yield from difference(old[key], value, f"{path}/{_escaped(key)}")
            else:
                yield {"op": "add", "path": f"{path}/{_escaped(key)}", "value": value}
    elif isinstance(old, list) and isinstance(new, list):
        yield from _list_difference(old, new, path)
    elif old != new or type(old) is not type(new):
        yield {"op": "replace", "path": path, "value": new}


def _list_difference(old: list[Any], new: list[Any], path: str) -> Iterator[KubeObject]:
    if len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from difference(one, other, f"{path}/{index}")
        return
    shorter = min(len(old), len(new))
    first = next((index for index in range(shorter) if _name(old[index]) != _name(new[index])), shorter)
    last = 0
    while last < shorter - first and _name(old[-1 - last]) == _name(new[-1 - last]):
        last += 1
    for index in range(first):
        yield from difference(old[index], new[index], f"{path}/{index}")
    for _ in range(first, len(old) - last):
        yield {"op": "remove", "path": f"{path}/{first}"}
    for index in range(first, len(new) - last):
        yield {"op": "add", "path": f"{path}/{index}", "value": new[index]}
    for index in range(len(new) - last, len(new)):
        yield from difference(old[index - len(new)], new[index], f"{path}/{index}")


def _name(element: Any) -> Any:
    """Return what makes two elements of a list the same one: their name, else all of them."""
    return element["name"] if isinstance(element, Mapping) and "name" in element else element


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _patch_text(item: KubeObject, steps: list[KubeObject]) -> str:
    """Return a patch's file: each step under a comment that gives names for the numbers of its path."""
    return "".join(f"# {_spoken(item, step['path'])}\n{document([step])}" for step in steps)


def _spoken(item: Any, path: str) -> str:
    words: list[str] = []
    current: Any = item
    for raw in path.split("/")[1:]:
        step = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(current, list):
            index = int(step)
            current = current[index] if index < len(current) else None
            words[-1] += f"[{current['name'] if isinstance(current, Mapping) and 'name' in current else step}]"
        else:
            current = current.get(step) if isinstance(current, Mapping) else None
            words.append(step)
    return ".".join(words) or "all"


def _key(item: KubeObject) -> tuple[str, str]:
    # A namespace is the same one under its new name.
    return item["kind"], "" if item["kind"] == "Namespace" else item["metadata"]["name"]


def _namespaces(items: Iterable[KubeObject]) -> set[str]:
    return {item["metadata"]["namespace"] for item in items if "namespace" in item["metadata"]}


def _moved(item: KubeObject, namespace: str) -> KubeObject:
    """Return what kustomize's namespace transformer makes of an object."""
    result = copy.deepcopy(item)
    result["metadata"]["name" if item["kind"] == "Namespace" else "namespace"] = namespace
    return result


def _unlabelled(metadata: Mapping[str, Any]) -> dict[str, Any]:
    labels = {key: value for key, value in metadata.get("labels", {}).items() if key != REGION}
    return {**metadata, "labels": labels} if "labels" in metadata else dict(metadata)


def _target(item: KubeObject) -> KubeObject:
    return {"kind": item["kind"], **({} if item["kind"] == "Namespace" else {"name": item["metadata"]["name"]})}
