"""What Leeward compiles is accepted by a real API server with the real definitions, without a warning."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from leeward.compile import Images, KubeObject, compile_region, kubernetes_target
from leeward.spec import Spec, load
from leeward.world.objects import engine_commands
from tests.compile.varieties import specs
from tests.kubernetes.acceptance import complaints
from tests.kubernetes.api import Api

pytestmark = [pytest.mark.kubernetes, pytest.mark.engine, pytest.mark.timeout(300)]

EXAMPLES = sorted(found.parent for found in (Path(__file__).parents[2] / "examples").glob("*/fleet.yaml"))
COMMANDS = engine_commands()


def compiled(spec: Spec, region: str) -> list[KubeObject]:
    return compile_region(spec, region, kubernetes_target(spec, region, engines=COMMANDS, images=Images()))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_accepted(api: Api, example: Path) -> None:
    spec = load(example)
    for region in spec.regions:
        assert complaints(api, compiled(spec, region.name)) == []


# Unshrunk: what the server says names the object and the field already, and shrinking asks it for minutes.
@settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(spec=specs(), data=st.data())
def test_every_correct_file_is_accepted(api: Api, spec: Spec, data: st.DataObject) -> None:
    region = data.draw(st.sampled_from([region.name for region in spec.regions]))
    assert complaints(api, compiled(spec, region)) == []


def _unknown_field(item: KubeObject) -> None:
    item["spec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "Always"


def _wrong_type(item: KubeObject) -> None:
    item["spec"]["template"]["spec"]["containers"][0]["image"] = 1


def _deprecated(item: KubeObject) -> None:
    item["spec"]["template"]["spec"]["nodeSelector"] = {"beta.kubernetes.io/arch": "amd64"}


def _privileged(item: KubeObject) -> None:
    item["spec"]["template"]["spec"]["hostNetwork"] = True


def _unknown_kind(item: KubeObject) -> None:
    item["kind"] = "Deploymint"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_unknown_field, ".imagePolicy: field not declared in schema"),
        (_wrong_type, ".image: expected string, got &value.valueUnstructured{Value:1}"),
        (_deprecated, "warning: spec.template.spec.nodeSelector[beta.kubernetes.io/arch]: deprecated"),
        (_privileged, "warning: would violate PodSecurity"),
        (_unknown_kind, "no kind Deploymint in apps/v1 is served"),
    ],
)
def test_a_mistake_is_heard(api: Api, spoil: Callable[[KubeObject], None], said: str) -> None:
    spec = load(EXAMPLES[0])
    items = copy.deepcopy(compiled(spec, spec.regions[0].name))
    spoilt = next(item for item in items if item["kind"] == "Deployment")
    spoil(spoilt)
    heard = complaints(api, items)
    assert heard
    assert all(said in complaint for complaint in heard), heard
