"""Images in an application's files that are named by a tag alone: the registry decides what runs."""

from collections.abc import Iterator

from leeward.base.problem import Problem
from leeward.spec.application import Application
from leeward.spec.fleet import Fleet
from leeward.spec.loaded import Loaded
from leeward.spec.source import Place
from leeward.spec.values import has_digest, has_tag

BY_TAG = "whoever may write to its registry can move the tag, and nodes that pull later run something else"


def check_images(application: Loaded[Application], fleet: Fleet) -> Iterator[Problem]:
    """Yield an error for each image without a tag, or without a digest where the fleet requires one; else a warning."""
    images = fleet.spec.images
    report = application.problem if images.digests_required else application.warning
    for place, image in _named(application.model):
        if not has_tag(image) and image not in images.digests:
            yield application.problem(
                "image-without-tag",
                *place,
                what=f"image {image} has neither tag nor digest",
                why="its registry's tag latest would run: another version on each node, by when it pulled",
                fix=f"write {image}:VERSION, or {image}@sha256:...",
            )
        elif not has_digest(image) and image not in images.digests:
            yield report(
                "image-by-tag",
                *place,
                what=f"image {image} has no digest",
                why=BY_TAG,
                fix=f"write {image}@sha256:..., or add it to images.digests in the Fleet; "
                f"crane digest {image} prints the digest",
            )


def _named(application: Application) -> Iterator[tuple[Place, str]]:
    """Yield the images that the application's files name, not those that Leeward adds."""
    spec = application.spec
    yield ("spec", "service", "image"), spec.service.image
    canary = spec.rollout.canary
    if canary is not None and canary.image is not None:
        yield ("spec", "rollout", "canary", "image"), canary.image
    sidecars = {"logging": spec.sidecars.logging, "metrics": spec.sidecars.metrics, "envoy": spec.sidecars.envoy}
    for name, sidecar in sidecars.items():
        if sidecar is not None and "image" in sidecar.model_fields_set:
            yield ("spec", "sidecars", name, "image"), sidecar.image
