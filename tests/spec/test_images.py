"""Container images in the files: what a reference is, and what is said of one without a digest."""

from pathlib import Path

import pytest

from leeward.spec import Severity, load
from tests.spec.files import APPLICATION, DIGEST, FLEET, PLACES, problems_of, write

REQUIRED = f"{PLACES}  images: {{digestsRequired: true}}\n"
CANARY = '  rollout: {canary: {image: "shop:2", weight: 33}}\n'
SIDECAR = '  sidecars: {logging: {image: "log:1"}, envoy: {}}\n'


def with_image(image: str) -> str:
    return APPLICATION.replace("image: shop:1", f"image: {image}")


@pytest.mark.parametrize(
    "image",
    [
        "shop:1.4-rc_1",
        "localhost:5000/team/shop:2",
        "registry.example.com:5000/a/b__c/d-e.f:V1",
        f"shop@{DIGEST}",
        f"ghcr.io/acme/shop:1@{DIGEST}",
    ],
)
def test_references_as_registries_know_them(tmp_path: Path, image: str) -> None:
    assert problems_of(write(tmp_path, application=with_image(f'"{image}"'))) == ()


@pytest.mark.parametrize("image", ["shop", "ghcr.io/acme/shop", "localhost:5000/team/shop"])
def test_an_image_without_a_tag_is_refused(tmp_path: Path, image: str) -> None:
    application = with_image(f'"{image}"')
    (problem,) = problems_of(write(tmp_path, application=application))
    assert problem.code == "image-without-tag"
    pinned = f"{PLACES}  images: {{digests: {{'{image}': '{DIGEST}'}}}}\n"
    assert problems_of(write(tmp_path, fleet=pinned, application=application)) == ()


@pytest.mark.parametrize(
    "image",
    [
        "",
        "Shop:1",
        "shop:1\\n",
        "shop 1",
        "shop:",
        "shop:1:2",
        "/shop",
        "a//b",
        "shop;curl",
        "$(SHOP)",
        "shop@sha256:abc",
        f"shop@{DIGEST}0",
        f"shop@{DIGEST.replace('0', 'A')}",
        f"shop@{DIGEST}\\n",
        "a" * 513,
    ],
)
def test_what_no_registry_has_is_refused(tmp_path: Path, image: str) -> None:
    problems = problems_of(write(tmp_path, application=with_image(f'"{image}"')))
    assert [problem.code for problem in problems] == ["bad-image"]


@pytest.mark.parametrize("digest", ["", "sha256:0", "0" * 64, f"{DIGEST}\\n", DIGEST.replace("sha256", "sha1")])
def test_what_is_no_digest_is_refused(tmp_path: Path, digest: str) -> None:
    fleet = f'{PLACES}  images: {{digests: {{"shop:1": "{digest}"}}}}\n'
    codes = {problem.code for problem in problems_of(write(tmp_path, fleet=fleet))}
    assert "bad-digest" in codes


def test_each_image_of_the_files_that_is_named_by_a_tag_is_warned_about(tmp_path: Path) -> None:
    fleet = PLACES + "  mesh: {kind: istio}\n"
    spec = load(write(tmp_path, fleet=fleet, application=APPLICATION + CANARY + SIDECAR))
    assert {(each.code, each.severity) for each in spec.warnings} == {("image-by-tag", Severity.WARNING)}
    assert [each.what for each in spec.warnings] == [
        f"image {image} has no digest" for image in ("shop:1", "shop:2", "log:1")
    ]
    assert "application.yaml, line 8, column 12" in spec.warnings[0].where
    assert "shop:1@sha256:..." in spec.warnings[0].fix


@pytest.mark.parametrize(
    ("fleet", "application"),
    [(FLEET, APPLICATION), (PLACES, with_image(f"shop:1@{DIGEST}")), (REQUIRED, with_image(f"shop:1@{DIGEST}"))],
    ids=["in the Fleet", "in the reference", "required"],
)
def test_a_digest_in_either_place_will_do(tmp_path: Path, fleet: str, application: str) -> None:
    assert load(write(tmp_path, fleet=fleet, application=application)).warnings == ()


def test_a_fleet_that_requires_digests_refuses_tags_also_in_an_override(tmp_path: Path) -> None:
    override = '  overrides: [{regions: [eu], spec: {service: {image: "shop:2"}}}]\n'
    fleet = f'{PLACES}  images: {{digestsRequired: true, digests: {{"shop:1": "{DIGEST}"}}}}\n'
    (problem,) = problems_of(write(tmp_path, fleet=fleet, application=APPLICATION + override))
    assert (problem.code, problem.severity) == ("image-by-tag", Severity.ERROR)
    assert "shop:2" in problem.what
    assert "override of eu" in problem.why
