"""Container images by digest: a registry decides what a tag stands for; a digest stands for one content.

``images.digests`` of the Fleet gives the digest of each image that is named by a tag, in every object of every cluster:
the application's, sidecars, Leeward's own parts. The tag stays beside it for people; nodes go by the digest. With
``digestsRequired`` an image without one is refused. The image of Istio's gateways, ``auto``, is chosen by istiod.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from leeward.base.problem import Problem, ProblemsError
from leeward.compile.kube.objects import KubeObject
from leeward.compile.site import Site
from leeward.spec.application import Application
from leeward.spec.check_images import BY_TAG
from leeward.spec.values import has_digest

CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
CHOSEN_BY_ISTIOD = "auto"
CLOUDNATIVE_PG = "postgresql.cnpg.io/"


def by_digest(site: Site, _application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return an application's objects with the digests that the Fleet gives."""
    return with_digests(items, site.fleet.images.digests)


def with_digests(items: Iterable[KubeObject], digests: Mapping[str, str]) -> list[KubeObject]:
    """Return the objects with the digests of those images that name none."""
    return [_with_digests(item, digests) for item in items] if digests else list(items)


def by_tag(items: Iterable[KubeObject]) -> list[str]:
    """Return the images without a digest, sorted, each once."""
    named = {holder[key] for item in items for holder, key in _holders(item)}
    return sorted(image for image in named if image != CHOSEN_BY_ISTIOD and not has_digest(image))


def require_digests(cluster: str, items: Iterable[KubeObject]) -> None:
    """Raise ProblemsError if one image of the cluster's names no digest."""
    found: Sequence[str] = by_tag(items)
    if found:
        raise ProblemsError(
            [
                Problem(
                    code="image-by-tag",
                    where=f"cluster {cluster}",
                    what=f"the Fleet requires digests, and these images have none: {', '.join(found)}",
                    why=BY_TAG,
                    fix="add each to images.digests in the Fleet, as IMAGE: sha256:...; crane digest IMAGE prints it",
                )
            ]
        )


def _with_digests(item: KubeObject, digests: Mapping[str, str]) -> KubeObject:
    if not any(holder[key] in digests for holder, key in _holders(item)):
        return item
    result = copy.deepcopy(item)
    for holder, key in list(_holders(result)):
        digest = digests.get(holder[key])
        if digest is not None and not has_digest(holder[key]):
            holder[key] = f"{holder[key]}@{digest}"
    return result


def _holders(item: KubeObject) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each mapping of an object that names an image, with the key that does."""
    if item.get("apiVersion", "").startswith(CLOUDNATIVE_PG) and "imageName" in item.get("spec", {}):
        yield item["spec"], "imageName"
    yield from _in_pods(item)


def _in_pods(value: object) -> Iterator[tuple[dict[str, Any], str]]:
    if isinstance(value, list):
        for each in value:
            yield from _in_pods(each)
    elif isinstance(value, dict):
        for key, inner in value.items():
            rows = [each for each in inner if isinstance(each, dict)] if isinstance(inner, list) else []
            if key in CONTAINERS:
                yield from ((each, "image") for each in rows if isinstance(each.get("image"), str))
            elif key == "volumes":
                sources = (each.get("image") for each in rows)
                yield from ((each, "reference") for each in sources if isinstance(each, dict) and "reference" in each)
            yield from _in_pods(inner)
