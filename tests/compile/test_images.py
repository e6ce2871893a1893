"""Images by digest: what the Fleet gives is in every object, and what is missing is listed or refused."""

import copy
from pathlib import Path
from typing import Any

import pytest

from leeward.compile import compile_parts
from leeward.compile.app.images import by_tag, with_digests
from leeward.compile.kube.objects import KubeObject
from leeward.compile.site import all_clusters
from leeward.compile.tree.tree import tree
from leeward.spec import ProblemsError, Spec, load
from leeward.spec.platform import Images
from leeward.world.objects import engine_commands

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = engine_commands()
DIGEST = f"sha256:{'5' * 64}"
KNOWN_BY_DIGEST = ("gcr.io/etcd-development/etcd", "docker.io/otel/opentelemetry-collector-contrib")
"""Images that Leeward names and whose digest could be verified; the others are in docs/concepts/security.md."""


def with_images(spec: Spec, tags: list[str]) -> Spec:
    """Return the spec with a digest for each of these images, and a fleet that requires one for all."""
    images = Images.model_validate({"digests": dict.fromkeys(tags, DIGEST), "digestsRequired": True})
    fleet = spec.fleet.model_copy(update={"spec": spec.fleet.spec.model_copy(update={"images": images})})
    return Spec(fleet, spec.applications)


def objects(spec: Spec) -> list[KubeObject]:
    return [
        item
        for _, cluster in all_clusters(spec)
        for part in compile_parts(spec, cluster.name, engines=COMMANDS)
        for item in part.objects
    ]


@pytest.mark.parametrize("example", ["fnp", "hello", "payments"])
def test_every_image_gets_its_digest_and_then_nothing_is_refused(example: str) -> None:
    spec = load(EXAMPLES / example)
    tags = by_tag(objects(spec))
    assert "ghcr.io/leeward/leeward:0.1.0" in tags
    pinned = with_images(spec, tags)
    assert by_tag(objects(pinned)) == []
    files = tree(pinned, engines=COMMANDS)
    named = [line for text in files.values() for line in text.splitlines() if line.strip().startswith("image: ")]
    assert named
    assert [line for line in named if "@sha256:" not in line and not line.endswith("image: auto")] == []
    assert "Every image is referenced by digest." in files["README.md"]


def test_one_that_is_missing_is_refused_by_name() -> None:
    spec = load(EXAMPLES / "hello")
    tags = by_tag(objects(spec))
    left = "docker.io/envoyproxy/envoy:v1.40.0"
    with pytest.raises(ProblemsError) as caught:
        objects(with_images(spec, [tag for tag in tags if tag != left]))
    (problem,) = caught.value.problems
    assert problem.code == "image-by-tag"
    assert problem.what == f"the Fleet requires digests, and these images have none: {left}"


def test_the_tree_lists_what_is_named_by_a_tag() -> None:
    spec = load(EXAMPLES / "fnp")
    text = tree(spec, engines=COMMANDS)["README.md"]
    section = text.partition("## Images")[2].partition("\n## ")[0]
    assert [line.strip("- `") for line in section.splitlines() if line.startswith("- ")] == by_tag(objects(spec))


def test_upstream_images_whose_digest_is_known_are_named_by_it() -> None:
    tags = by_tag(objects(load(EXAMPLES / "fnp")))
    assert [tag for tag in tags if tag.partition(":")[0] in KNOWN_BY_DIGEST] == []
    assert [tag for tag in tags if tag.rpartition(":")[2] in ("latest", "")] == []


POD: dict[str, Any] = {
    "containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": f"b:1@{DIGEST}"}],
    "initContainers": [{"name": "c", "image": "c:1"}],
    "ephemeralContainers": [{"name": "d", "image": "d:1"}],
    "volumes": [{"name": "e", "image": {"reference": "e:1"}}, {"name": "none", "emptyDir": {}}],
}


def test_images_are_found_wherever_a_pod_names_one() -> None:
    job = {"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": POD}}}}}
    database = {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "spec": {"imageName": "f:1"}}
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "data": {"image": "a:1", "imageName": "a:1", "containers": "a"},
    }
    items = [job, database, settings]
    before = copy.deepcopy(items)
    assert by_tag(items) == ["a:1", "c:1", "d:1", "e:1", "f:1"]
    found = with_digests(items, dict.fromkeys(("a:1", "b:1", "c:1", "d:1", "e:1", "f:1"), DIGEST))
    assert by_tag(found) == []
    assert found[2] == settings
    assert items == before, "the objects given were changed"
    pod = found[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["containers"][1]["image"] == f"b:1@{DIGEST}"
