"""Canaries that nothing would carry out are refused, and what is otherwise than it seems is said."""

from pathlib import Path

import pytest

from leeward.spec import load
from tests.spec.files import APPLICATION, DIGEST, FLEET, problems_of, write
from tests.spec.test_problems import marked, one_problem

IMAGE = f'"shop:2@{DIGEST}"'
ISTIO, GATEWAY_API = "  mesh: {kind: istio}\n", "  mesh: {kind: gateway-api}\n"


def canary(keys: str, replicas: int = 2) -> str:
    return APPLICATION + f"    replicas: {replicas}\n  rollout: {{canary: {{{keys}}}}}\n"


def test_a_weight_that_nothing_applies_is_refused(tmp_path: Path) -> None:
    application, place = marked(canary(f"by: @leeward, image: {IMAGE}, weight: 5"))
    code, found, text = one_problem(write(tmp_path, application=application))
    assert (code, found) == ("canary-without-weights", place), text
    assert "5 percent" in text
    at_rest = canary("by: leeward, weight: 5")
    assert problems_of(write(tmp_path, application=at_rest)) == ()


@pytest.mark.parametrize(
    ("replicas", "weight", "share"),
    [
        pytest.param(5, 10, "17", id="one pod of six"),
        pytest.param(2, 5, "33", id="one pod of three"),
        pytest.param(3, 25, None, id="one of four, as asked"),
        pytest.param(9, 10, None, id="one of ten, as asked"),
    ],
)
@pytest.mark.parametrize("mesh", [ISTIO, GATEWAY_API])
def test_the_share_of_the_users_is_said_where_it_is_not_the_weight(
    tmp_path: Path, mesh: str, replicas: int, weight: int, share: str | None
) -> None:
    application = canary(f"by: leeward, image: {IMAGE}, weight: {weight}", replicas)
    warnings = load(write(tmp_path, fleet=FLEET + mesh, application=application)).warnings
    assert [each.code for each in warnings] == (["canary-share-by-pods"] if share else [])
    assert all(f"with {share} percent, not {weight}" in each.what for each in warnings)


@pytest.mark.parametrize("key", ["interval: 1m", "deadline: 1m", "threshold: 2", "step: 1", "max: 9", "success: 90"])
def test_what_only_flagger_reads_is_warned_about(tmp_path: Path, key: str) -> None:
    application = canary(f"by: leeward, image: {IMAGE}, weight: 34, {key}")
    (warning,) = load(write(tmp_path, fleet=FLEET + ISTIO, application=application)).warnings
    assert (warning.code, warning.what) == (
        "no-effect",
        f"rollout.canary.{key.partition(':')[0]} has no effect with by: leeward",
    )


def test_what_flagger_does_not_read_is_warned_about(tmp_path: Path) -> None:
    warnings = load(write(tmp_path, fleet=FLEET + ISTIO, application=canary("by: flagger, weight: 5"))).warnings
    assert [each.what for each in warnings] == ["rollout.canary.weight has no effect with by: flagger"]
    warnings = load(write(tmp_path, application=canary("by: flagger, success: 99, duration: 1s"))).warnings
    assert [each.what for each in warnings] == [
        f"rollout.canary.{key} has no effect without a mesh" for key in ("success", "duration")
    ]


def test_a_judgement_without_metrics_is_refused(tmp_path: Path) -> None:
    application, place = marked(canary("by: @flagger"))
    code, found, text = one_problem(write(tmp_path, fleet=FLEET + GATEWAY_API, application=application))
    assert (code, found) == ("canary-without-metrics", place), text
    beside = application + "  sidecars: {envoy: {}}\n"
    assert problems_of(write(tmp_path, fleet=f"{FLEET}{GATEWAY_API}  monitoring: {{}}\n", application=beside)) == ()
