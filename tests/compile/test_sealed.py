"""Sealed secrets: put where references would be, for the cluster they are sealed for; and nothing forgotten."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest

from leeward.compile import compile_cluster
from leeward.compile.tree.tree import tree
from leeward.spec import ProblemsError
from leeward.world.objects import engine_commands
from tests.compile.evaluate import kind
from tests.compile.sealing import CIPHERTEXT, Document, sealed_for, with_secrets

FNP = Path(__file__).parents[2] / "examples" / "fnp"
COMMANDS = engine_commands()
SPEC = with_secrets(FNP, "sealed")
SEALED = sealed_for(FNP)


def names(documents: list[Document]) -> list[tuple[str, str]]:
    return sorted((each["metadata"]["namespace"], each["metadata"]["name"]) for each in documents)


def test_each_cluster_gets_its_own_as_they_are() -> None:
    for cluster in ("fnp-us", "fnp-eu", "fnp-jp"):
        items = compile_cluster(SPEC, cluster, engines=COMMANDS, foreign=SEALED)
        assert kind(items, "ExternalSecret") == []
        own = [each for each in SEALED if each["metadata"]["annotations"]["leeward.dev/clusters"] == cluster]
        found = kind(items, "SealedSecret")
        assert names(found) == names(own)
        by_name = {(each["metadata"]["namespace"], each["metadata"]["name"]): each["spec"] for each in own}
        assert {(each["metadata"]["namespace"], each["metadata"]["name"]): each["spec"] for each in found} == by_name


def test_the_tree_has_ciphertext_and_nothing_else() -> None:
    files = tree(SPEC, engines=COMMANDS, foreign=SEALED)
    text = "".join(files.values())
    assert "kind: Secret\n" not in text
    assert "kind: ExternalSecret" not in text
    assert text.count("kind: SealedSecret") == len(SEALED)
    assert CIPHERTEXT not in "".join(text for name, text in files.items() if "/base/" in name)
    assert "Bring these into each cluster yourself" not in files["README.md"]


def test_an_unreferenced_secret_is_kept_in_its_namespace() -> None:
    more = copy.deepcopy(SEALED[0])
    more["metadata"] = {"name": "more", "namespace": "fnp-production"}
    far = copy.deepcopy(more)
    far["metadata"]["namespace"] = "nowhere"
    found = kind(compile_cluster(SPEC, "fnp-us", engines=COMMANDS, foreign=[*SEALED, more, far]), "SealedSecret")
    assert "more" in {each["metadata"]["name"] for each in found}
    assert "nowhere" not in {each["metadata"]["namespace"] for each in found}


def _without(documents: list[Document]) -> None:
    del documents[0]


def _without_a_key(documents: list[Document]) -> None:
    documents[0]["spec"]["encryptedData"].popitem()


def _readable(documents: list[Document]) -> None:
    documents[0]["spec"] = {"data": {"password": "hunter2"}}


def _twice(documents: list[Document]) -> None:
    documents.append(copy.deepcopy(documents[0]))


def _elsewhere(documents: list[Document]) -> None:
    documents[0]["metadata"]["annotations"]["leeward.dev/clusters"] = "fnp-su"


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_without, "secret-not-sealed"),
        (_without_a_key, "sealed-without-key"),
        (_readable, "sealed-malformed"),
        (_twice, "sealed-twice"),
        (_elsewhere, "unknown-cluster"),
    ],
)
def test_problems_are_reported(spoil: Callable[[list[Document]], None], code: str) -> None:
    documents = copy.deepcopy(SEALED)
    spoil(documents)
    with pytest.raises(ProblemsError) as error:
        compile_cluster(SPEC, "fnp-us", engines=COMMANDS, foreign=documents)
    assert [problem.code for problem in error.value.problems] == [code]
    assert "hunter2" not in str(error.value)


def test_a_value_in_a_federated_secret_is_refused() -> None:
    federated = {
        "apiVersion": "types.kubefed.io/v1beta1",
        "kind": "FederatedSecret",
        "metadata": {"name": "keys", "namespace": "fnp-production"},
        "spec": {"template": {"data": {"password": "aHVudGVyMg=="}}, "placement": {"clusters": [{"name": "fnp-eu"}]}},
    }
    with pytest.raises(ProblemsError) as error:
        compile_cluster(SPEC, "fnp-us", engines=COMMANDS, foreign=[*SEALED, federated])
    assert [problem.code for problem in error.value.problems] == ["inline-secret"]
    assert "aHVudGVyMg" not in str(error.value)
