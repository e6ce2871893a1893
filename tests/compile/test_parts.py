"""The small parts: the YAML writer, policies and federated objects translated, patches, the tree's bytes."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.core import TyperGroup
from typer.main import get_command

from leeward.compile import Images
from leeward.compile.app.pod_security import translate
from leeward.compile.kube.kustomize import difference
from leeward.compile.kube.patching import PatchError, json_patch
from leeward.compile.kube.yaml_text import document
from leeward.compile.platform.federation import is_federated, propagate
from leeward.compile.site import site_of
from leeward.compile.tree.tree import tree
from leeward.spec import ProblemsError, Spec, load
from leeward.world.objects import engine_commands
from tests.compile.varieties import specs

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = engine_commands()
TRICKY = [
    "yes",
    "No",
    "0x1f",
    "1e3",
    "12:30",
    "~",
    "null",
    "a: b",
    "# a",
    "- a",
    "a #b",
    "'",
    '"',
    "{a}",
    "*a",
    "é",
    ".5",
]
TEXTS = st.one_of(st.sampled_from(TRICKY), st.text(max_size=12), st.text(alphabet="ab \n\t:#-", max_size=20))
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=300)
@given(PLAIN)
def test_what_is_written_reads_back(data: Any) -> None:
    text = document(data)
    assert yaml.load(text, yaml.CSafeLoader) == data or _as_floats(yaml.load(text, yaml.CSafeLoader)) == _as_floats(
        data
    )


def _as_floats(data: Any) -> Any:
    """Return data with numbers as PyYAML cannot read them: 1e+16 has no dot, so YAML 1.1 takes it for text."""
    if isinstance(data, str) and re.fullmatch(r"-?[0-9]+e[-+]?[0-9]+", data):
        return float(data)
    if isinstance(data, list):
        return [_as_floats(each) for each in data]
    return {key: _as_floats(each) for key, each in data.items()} if isinstance(data, dict) else data


def test_yaml_reads_well() -> None:
    item = {"a": "plain", "b": ["x", {"c": 1, "d": []}], "e": "two\nlines\n", "f": "8000", "g": {}, "h": "a: b"}
    assert document(item) == ('a: plain\nb:\n- x\n- c: 1\n  d: []\ne: |\n  two\n  lines\nf: "8000"\ng: {}\nh: "a: b"\n')


@settings(max_examples=200)
@given(PLAIN.filter(lambda each: isinstance(each, dict)), PLAIN.filter(lambda each: isinstance(each, dict)))
def test_a_difference_applied_gives_the_other(one: dict[str, Any], other: dict[str, Any]) -> None:
    result = json_patch(one, list(difference(one, other)))
    assert json.dumps(result, sort_keys=True) == json.dumps(other, sort_keys=True)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/b"},
        {"op": "replace", "path": "/a/5", "value": 1},
        {"op": "add", "path": "/a/9", "value": 1},
        {"op": "test", "path": "/a/0", "value": 2},
        {"op": "add", "path": "/a/0/x", "value": 2},
    ],
)
def test_a_patch_that_cannot_apply_is_reported(operation: dict[str, Any]) -> None:
    with pytest.raises(PatchError):
        json_patch({"a": [1]}, [operation])


STRICT = {
    "allowPrivilegeEscalation": False,
    "requiredDropCapabilities": ["ALL"],
    "runAsUser": {"rule": "MustRunAsNonRoot"},
    "volumes": ["configMap", "secret", "emptyDir"],
}


@pytest.mark.parametrize(
    ("change", "level", "reason"),
    [
        pytest.param({}, "restricted", None, id="as strict as can be"),
        pytest.param({"runAsUser": {"rule": "RunAsAny"}}, "baseline", "root", id="root"),
        pytest.param({"runAsUser": {"rule": "MustRunAs", "ranges": [{"min": 0, "max": 9}]}}, "baseline", "root"),
        pytest.param({"requiredDropCapabilities": []}, "baseline", "dropped", id="capabilities kept"),
        pytest.param({"allowedCapabilities": ["NET_BIND_SERVICE"]}, "restricted", None, id="a port below 1024"),
        pytest.param({"allowedCapabilities": ["CHOWN"]}, "baseline", "NET_BIND_SERVICE", id="a harmless one"),
        pytest.param({"allowedCapabilities": ["NET_ADMIN"]}, "privileged", "NET_ADMIN", id="a dangerous one"),
        pytest.param({"hostNetwork": True}, "privileged", "hostNetwork", id="the node's network"),
        pytest.param({"volumes": ["*"]}, "privileged", "hostPath", id="every volume"),
        pytest.param({"volumes": ["nfs"]}, "baseline", "nfs", id="a volume of another kind"),
    ],
)
def test_a_pod_security_policy_becomes_a_standard(change: dict[str, Any], level: str, reason: str | None) -> None:
    result = translate({"kind": "PodSecurityPolicy", "metadata": {"name": "p"}, "spec": {**STRICT, **change}})
    assert result.level == level
    assert (reason is None) == (not result.reasons)
    assert reason is None or reason in " ".join(result.reasons)
    assert set(result.labels.values()) == {level}


FEDERATED = {
    "apiVersion": "types.kubefed.io/v1beta1",
    "kind": "FederatedDeployment",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"replicas": 2}},
        "placement": {"clusterSelector": {"matchLabels": {"topology.kubernetes.io/region": "europe-west1"}}},
        "overrides": [
            {
                "clusterName": "fnp-eu",
                "clusterOverrides": [
                    {"path": "/spec/replicas", "value": 5},
                    {"path": "/metadata/annotations", "op": "add", "value": {"a": "b"}},
                ],
            }
        ],
    },
}


def test_a_federated_object_reaches_its_clusters() -> None:
    spec = load(EXAMPLES / "fnp")
    sites = {name: site_of(spec, name, engines=COMMANDS, images=Images()) for name in ("fnp-us", "fnp-eu")}
    assert is_federated(FEDERATED)
    assert propagate(sites["fnp-us"], FEDERATED) is None
    assert propagate(sites["fnp-eu"], FEDERATED) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "labels": {"app": "web", "app.kubernetes.io/managed-by": "leeward"},
            "annotations": {"a": "b"},
        },
        "spec": {"replicas": 5},
    }
    nowhere = {**FEDERATED, "spec": {**FEDERATED["spec"], "placement": {}}}  # type: ignore[dict-item]
    assert propagate(sites["fnp-eu"], nowhere) is None


@pytest.mark.parametrize("example", ["hello", "payments", "fnp"])
def test_the_same_files_give_the_same_bytes(example: str) -> None:
    one, other = (tree(load(EXAMPLES / example), engines=engine_commands()) for _ in range(2))
    assert list(one.items()) == list(other.items())
    assert list(one) == sorted(one)


@settings(max_examples=10)
@given(specs())
def test_every_kustomization_names_files_that_are_there(spec: Spec) -> None:
    files = tree(spec, engines=COMMANDS)
    for name, text in files.items():
        if not name.endswith("kustomization.yaml"):
            continue
        folder = Path("/") / Path(name).parent
        named = [
            *yaml.safe_load(text)["resources"],
            *(each.get("path") for each in yaml.safe_load(text).get("patches", ())),
        ]
        for path in filter(None, named):
            found = str((folder / path).resolve().relative_to("/"))
            assert found in files or f"{found}/kustomization.yaml" in files, (name, path)


def test_every_runbooks_command_is_understood() -> None:
    from leeward.cli.main import build

    files = tree(load(EXAMPLES / "payments"), engines=COMMANDS)
    pages = [text for name, text in files.items() if "/runbooks/" in name]
    commands = [
        line.strip()
        for text in pages
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line.strip()
    ]
    assert len(pages) == 5
    assert len(commands) >= 8
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "leeward"
        verb = get_command(build())
        while isinstance(verb, TyperGroup):
            found = verb.get_command(typer.Context(verb), arguments[0])
            assert found is not None, command
            verb = found
            del arguments[0]
        verb.make_context(command, arguments)


def test_a_patch_of_nothing_is_one_clear_problem(tmp_path: Path) -> None:
    for name in ("fleet.yaml", "application.yaml"):
        (tmp_path / name).write_text((EXAMPLES / "hello" / name).read_text("utf-8"), "utf-8")
    with (tmp_path / "application.yaml").open("a", encoding="utf-8") as file:
        file.write("  overrides: [{patches: [{target: {kind: Deploymint}, merge: {spec: {replicas: 1}}}]}]\n")
    with pytest.raises(ProblemsError) as caught:
        tree(load(tmp_path), engines=COMMANDS)
    (problem,) = caught.value.problems
    assert problem.code == "patch-failed"
    assert "the existing kinds are Deployment, LimitRange" in problem.why
    assert problem.fix == "did you mean Deployment?"
