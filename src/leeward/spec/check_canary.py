"""What a canary asks for and nothing applies: weights without a mesh, judgements without metrics, unread keys."""

import math
from collections.abc import Iterator

from leeward.base.problem import Problem
from leeward.spec.application import Application
from leeward.spec.fleet import Fleet
from leeward.spec.loaded import Loaded
from leeward.spec.platform import MeshKind
from leeward.spec.spec import pods_min
from leeward.spec.workload import Canary

FLAGGERS = {
    "interval_s": "interval",
    "deadline_s": "deadline",
    "threshold": "threshold",
    "step": "step",
    "max": "max",
    "success": "success",
    "duration_s": "duration",
}
LEEWARDS = {"image": "image", "weight": "weight"}
NOTICED = 1.0
"""Percent by which the users' share may differ from the weight without a word."""


def canary_pods(application: Application, canary: Canary) -> int:
    """Return how many pods the new version gets, with ``by: leeward``."""
    return max(1, math.ceil(application.spec.service.replicas * canary.weight / 100))


def check_canary_keys(application: Loaded[Application]) -> Iterator[Problem]:
    """Yield a warning for each key that is for the other way to run a canary."""
    canary = application.model.spec.rollout.canary
    if canary is None:
        return
    keys, other = (FLAGGERS, "flagger") if canary.by == "leeward" else (LEEWARDS, "leeward")
    for name, key in keys.items():
        if name in canary.model_fields_set:
            yield application.warning(
                "no-effect",
                *("spec", "rollout", "canary", key),
                key=True,
                what=f"rollout.canary.{key} has no effect with by: {canary.by}",
                why=f"only by: {other} reads it",
                fix=f"leave it out, or set by: {other}",
            )


def check_canary(application: Loaded[Application], fleet: Fleet) -> Iterator[Problem]:
    """Yield what is wrong, or other than it seems, with a canary in this fleet."""
    canary = application.model.spec.rollout.canary
    if canary is not None and canary.by == "leeward" and canary.image is not None:
        yield from _weight(application, fleet, canary)
    elif canary is not None and canary.by == "flagger":
        yield from _judged(application, fleet, canary)


def _weight(application: Loaded[Application], fleet: Fleet, canary: Canary) -> Iterator[Problem]:
    if fleet.spec.mesh.kind is MeshKind.NONE:
        yield application.problem(
            "canary-without-weights",
            *("spec", "rollout", "canary", "by"),
            what=f"nothing gives the new version {canary.weight} percent of the requests",
            why="without a mesh, requests are spread evenly over the pods of both versions",
            fix="set mesh in the Fleet to istio or gateway-api, or use by: flagger, which swaps versions",
        )
        return
    new = canary_pods(application.model, canary)
    share = 100 * new / (new + pods_min(application.model))
    if abs(share - canary.weight) > NOTICED:
        yield application.warning(
            "canary-share-by-pods",
            *("spec", "rollout", "canary", "weight"),
            what=f"users who come by Leeward's gateways reach the new version with {share:.0f} percent, not"
            f" {canary.weight}",
            why=f"these gateways spread requests evenly over pods, {new} of {new + pods_min(application.model)} are"
            " new; the weight holds for requests through the mesh",
            fix="choose replicas and weight so that the share of the pods is the weight, or use by: flagger",
        )


def _judged(application: Loaded[Application], fleet: Fleet, canary: Canary) -> Iterator[Problem]:
    if fleet.spec.mesh.kind is MeshKind.NONE:
        for name in ("success", "duration_s"):
            if name in canary.model_fields_set:
                yield application.warning(
                    "no-effect",
                    *("spec", "rollout", "canary", FLAGGERS[name]),
                    key=True,
                    what=f"rollout.canary.{FLAGGERS[name]} has no effect without a mesh",
                    why="the new version gets no requests before it is promoted: Flagger waits for ready pods only",
                    fix="leave it out, or set mesh in the Fleet",
                )
    elif fleet.spec.mesh.kind is MeshKind.GATEWAY_API and (
        application.model.spec.sidecars.envoy is None or fleet.spec.monitoring is None
    ):
        yield application.problem(
            "canary-without-metrics",
            *("spec", "rollout", "canary", "by"),
            what="no metric tells Flagger how the new version does",
            why="with the Gateway API it asks Prometheus for what the Envoy beside each pod counts",
            fix="add sidecars: {envoy: {}} to the application and monitoring: {} to the Fleet",
        )
