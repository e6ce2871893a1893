"""Fleets and applications of every shape that the checks let through, for property tests."""

from typing import Any

import yaml
from hypothesis import strategies as st

from leeward.compile import DatabasePasswords, SecretValues
from leeward.spec import Spec
from leeward.spec.load import resolve
from leeward.spec.source import read

NAMES = st.from_regex(r"\A[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,6})?\Z")
PARTS = st.sampled_from(["100m", "0.5", "2"])
ORDER = ["64Mi", "256Mi", "1Gi"]
SIZES = st.sampled_from(ORDER)


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Draw a correct spec: three to six regions, perhaps a witness, an application somewhere in it."""
    regions = draw(st.lists(NAMES, min_size=3, max_size=6, unique=True))
    witness = draw(st.sampled_from([None, *regions]))
    fleet = {
        "apiVersion": "leeward.dev/v1alpha1",
        "kind": "Fleet",
        "metadata": {"name": draw(NAMES)},
        "spec": {"regions": [_region(draw, name, name == witness) for name in regions]},
    }
    workable = [name for name in regions if name != witness]
    application = {
        "apiVersion": "leeward.dev/v1alpha1",
        "kind": "Application",
        "metadata": {"name": draw(NAMES.filter(lambda name: name not in {"default", *regions}))},
        "spec": {
            "objectives": {"rto": "60s", "rpo": "5s"},
            "service": _service(draw),
            **_optional(draw, "database", {"replication": draw(st.sampled_from(["async", "sync", "quorum"]))}),
            **_optional(draw, "placement", _placement(draw, workable)),
        },
    }
    text = yaml.safe_dump_all([fleet, application], sort_keys=False)
    documents, problems = read("drawn.yaml", text)
    return resolve("drawn.yaml", documents, problems)


def secret_values(spec: Spec) -> SecretValues:
    """Return values that are recognizable."""
    return SecretValues(
        agent=_files("agent", "instance-ca.crt"),
        store_client=_files("store-client"),
        store_member=_files("store-member", "peer-ca.crt", "peer.crt", "peer.key"),
        gateway=_files("gateway"),
        instances={each.metadata.name: _files(f"instance-{each.metadata.name}") for each in spec.applications},
        cluster_token="token-value",
        cluster_ca="cluster-authority",
        databases={
            application.metadata.name: DatabasePasswords(owner="owner-value", replication="replication-value")
            for application in spec.applications
        },
    )


def _files(purpose: str, *more: str) -> dict[str, str]:
    return {name: f"{purpose} {name}" for name in ("ca.crt", "tls.crt", "tls.key", *more)}


def _optional(draw: st.DrawFn, key: str, value: Any) -> dict[str, Any]:
    return {key: value} if draw(st.booleans()) else {}


def _region(draw: st.DrawFn, name: str, witness: bool) -> dict[str, Any]:
    location = {"latitude": draw(st.integers(-90, 90)), "longitude": draw(st.integers(-180, 180))}
    return {"name": name, "location": location, "witness": witness}


def _placement(draw: st.DrawFn, workable: list[str]) -> dict[str, Any]:
    regions = draw(st.permutations(workable))[: draw(st.integers(2, len(workable)))]
    return {"regions": regions, **_optional(draw, "primary", draw(st.sampled_from(regions)))}


def _service(draw: st.DrawFn) -> dict[str, Any]:
    service: dict[str, Any] = {
        "image": "example.com/image:1",
        "command": ["serve", "$(POD_IP)"],
        **_optional(draw, "port", draw(st.integers(1024, 65535))),
        **_optional(draw, "env", {draw(st.sampled_from(["LEVEL", "MODE_2"])): draw(st.text("abc $()", max_size=5))}),
    }
    if draw(st.booleans()):
        promised, allowed = sorted(draw(st.tuples(SIZES, SIZES)), key=ORDER.index)
        requests = {"cpu": draw(PARTS), "memory": promised}
        service["resources"] = {"requests": requests, **_optional(draw, "limits", {"memory": allowed})}
        service |= _optional(draw, "autoscaling", {"min": 1, "max": draw(st.integers(2, 9))})
    return service
