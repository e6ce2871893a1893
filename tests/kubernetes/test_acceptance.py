"""What Leeward compiles is accepted by a real API server with the real definitions, without a warning."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings

from leeward.compile import Images, KubeObject, compile_parts
from leeward.compile.cluster import APPLICATION_CONCERNS, FLEET_CONCERNS
from leeward.compile.kube import yaml_text
from leeward.compile.regional import compile_application
from leeward.compile.site import all_clusters, site_of
from leeward.spec import Spec, load
from leeward.spec.load import documents_of
from leeward.world.objects import engine_commands
from tests.compile.sealing import sealed_for, with_secrets
from tests.compile.varieties import specs
from tests.kubernetes.acceptance import complaints
from tests.kubernetes.api import Api
from tests.kubernetes.definitions import unchecked
from tests.kubernetes.everything import VARIETIES, everything

pytestmark = [pytest.mark.kubernetes, pytest.mark.engine, pytest.mark.timeout(300)]

EXAMPLES = sorted(found.parent for found in (Path(__file__).parents[2] / "examples").glob("*/fleet.yaml"))
PAYMENTS = Path(__file__).parents[2] / "examples" / "payments"
COMMANDS = engine_commands()


def everything_of(spec: Spec, foreign: Iterable[dict[str, Any]] = ()) -> Iterator[KubeObject]:
    """Yield all that is written for every cluster of a fleet, what makes the clusters included, as it is read again."""
    documents = list(foreign)
    for _, cluster in all_clusters(spec):
        for part in compile_parts(spec, cluster.name, engines=COMMANDS, foreign=documents):
            yield from yaml.load_all(yaml_text.documents(part.objects), yaml.CSafeLoader)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_accepted(api: Api, example: Path) -> None:
    foreign = [document.data for document in documents_of(example)[0]]
    assert complaints(api, everything_of(load(example), foreign)) == []


def test_sealed_secrets_are_accepted(api: Api) -> None:
    fnp = PAYMENTS.parent / "fnp"
    items = list(everything_of(with_secrets(fnp, "sealed"), sealed_for(fnp)))
    assert "SealedSecret" in {item["kind"] for item in items}
    assert complaints(api, items) == []


@pytest.mark.parametrize("variety", VARIETIES)
def test_every_word_of_the_files_leads_to_what_is_accepted(api: Api, variety: str) -> None:
    assert complaints(api, everything_of(everything(variety))) == []


def test_every_concern_is_held_against_the_server() -> None:
    """A concern that none of the varieties asks for would go unnoticed."""
    idle = {*FLEET_CONCERNS, *(concern.name for concern in APPLICATION_CONCERNS)}
    for spec in map(everything, VARIETIES):
        for _, cluster in all_clusters(spec):
            site = site_of(spec, cluster.name, engines=COMMANDS, images=Images())
            idle -= {name for name, concern in FLEET_CONCERNS.items() if concern(site)}
            (application,) = site.spec.applications
            items = compile_application(site.spec, application, site.region.name, site.target, home=site.home)
            for concern in APPLICATION_CONCERNS:
                before = json.dumps(items)
                items = concern.apply(site, application, items)
                if json.dumps(items) != before:
                    idle.discard(concern.name)
    assert idle == set()


@pytest.mark.parametrize(("api_version", "kind"), sorted(unchecked()))
def test_what_is_left_out_could_not_be_checked(api: Api, api_version: str, kind: str) -> None:
    assert not api.serves(api_version, kind)


# Unshrunk: what the server says names the object and the field already, and shrinking asks it for minutes.
@settings(
    max_examples=15,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(spec=specs())
def test_every_correct_file_is_accepted(api: Api, spec: Spec) -> None:
    assert complaints(api, everything_of(spec)) == []


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
        (_deprecated, "spec.nodeSelector[beta.kubernetes.io/arch]: deprecated"),
        (_privileged, "violate"),
        (_unknown_kind, "no kind Deploymint in apps/v1 is served"),
    ],
)
def test_a_mistake_is_heard(api: Api, spoil: Callable[[KubeObject], None], said: str) -> None:
    namespace, spoilt = (
        next(item for item in everything_of(load(PAYMENTS)) if item["kind"] == kind)
        for kind in ("Namespace", "Deployment")
    )
    assert complaints(api, [namespace, spoilt]) == []
    spoil(spoilt)
    heard = complaints(api, [namespace, spoilt])
    assert heard
    assert [complaint for complaint in heard if said not in complaint] == []
