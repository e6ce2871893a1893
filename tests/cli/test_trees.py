"""render, diff, diagram and explain, as a user runs them."""

import re
from pathlib import Path

import pytest

from .conftest import Run

EXAMPLES = Path(__file__).parents[2] / "examples"
FNP = str(EXAMPLES / "fnp")
EXPECTED = {"image-by-tag", "names-to-import", "rate-limit-in-shares", "canary-share-by-pods"}
"""The example is warned about these."""


def codes(stderr: str) -> set[str]:
    """Return the codes of the problems in a command's stderr."""
    return set(re.findall(r"^[a-z]+\[([a-z-]+)\]", stderr, re.MULTILINE))


def test_a_tree_is_written_once_and_then_has_no_difference(leeward: Run, tmp_path: Path) -> None:
    out = tmp_path / "deploy"
    first, again = (leeward("render", "-f", FNP, "--out", str(out)) for _ in range(2))
    assert (first.returncode, codes(first.stderr)) == (0, EXPECTED)
    assert ", 0 written, 0 removed" in again.stdout
    same = leeward("diff", "-f", FNP, str(out))
    assert (same.returncode, same.stdout) == (0, "")


def test_a_difference_is_shown_and_what_is_not_ours_stays(leeward: Run, tmp_path: Path) -> None:
    out = tmp_path / "deploy"
    files = tmp_path / "files"
    files.mkdir()
    for name in ("fleet.yaml", "application.yaml"):
        (files / name).write_text((EXAMPLES / "hello" / name).read_text("utf-8"), "utf-8")
    assert leeward("render", "-f", str(files), "--out", str(out)).returncode == 0
    (out / "notes.txt").write_text("mine", "utf-8")
    application = files / "application.yaml"
    application.write_text(application.read_text("utf-8").replace("name: hello", "name: hallo"), "utf-8")
    changed = leeward("diff", "-f", str(files), str(out), "--cluster", "us")
    assert changed.returncode == 1
    assert "--- tree/clusters/us/kustomization.yaml" in changed.stdout
    assert "+- ../../apps/hallo/overlays/us" in changed.stdout
    assert "clusters/eu" not in changed.stdout
    assert leeward("render", "-f", str(files), "--out", str(out)).returncode == 0
    assert not (out / "apps/hello/base/kustomization.yaml").exists()
    assert (out / "notes.txt").read_text("utf-8") == "mine"


def test_one_cluster_is_printed(leeward: Run) -> None:
    result = leeward("render", "-f", FNP, "--cluster", "fnp-eu")
    assert (result.returncode, codes(result.stderr)) == (0, EXPECTED)
    assert result.stdout.count("\nkind: ") == result.stdout.count("---\n")
    assert "kind: VirtualService" in result.stdout


def test_a_cluster_there_is_not(leeward: Run) -> None:
    result = leeward("render", "-f", FNP, "--cluster", "fnp-us-1")
    assert (result.returncode, result.stdout) == (2, "")
    assert "did you mean fnp-us?" in result.stderr


def test_values_are_explained(leeward: Run) -> None:
    def lines(field: str) -> dict[str, str]:
        result = leeward("explain", field, "-f", FNP)
        assert (result.returncode, result.stderr) == (0, "")
        return {line.split()[0]: " ".join(line.split()[1:]) for line in result.stdout.splitlines()[1:]}

    replicas = lines("spec.service.replicas")["fnp-eu"]
    assert replicas.startswith("5 environment production, ")
    assert "application.yaml, line " in replicas
    assert lines("spec.traffic.warmup")["fnp-us"] == "30s default"
    assert "override of europe-west1" in lines("spec.rollout.canary.by")["fnp-eu"]
    assert lines("spec.rollout.canary.by")["fnp-us"].startswith("flagger application, ")
    most = lines("HorizontalPodAutoscaler/fnp.spec.maxReplicas")
    assert most == {
        "fnp-us": "10 compiled (apps/fnp)",
        "fnp-eu": "10 compiled (apps/fnp)",
        "fnp-jp": "8 patch in overrides",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("spec.service.replicas", "1", id="a one"),
        pytest.param("spec.database.walRetention", "0", id="a zero"),
        pytest.param("spec.traffic.affinity", "true", id="true"),
        pytest.param("spec.service.interruptible", "false", id="false"),
        pytest.param("Deployment/hello.spec.replicas", "1", id="a one in an object"),
        pytest.param("Deployment/hello.spec.template.spec.enableServiceLinks", "false", id="false in an object"),
    ],
)
def test_numbers_are_explained_as_numbers_and_truths_as_truths(
    leeward: Run, tmp_path: Path, field: str, value: str
) -> None:
    for name in ("fleet.yaml", "application.yaml"):
        (tmp_path / name).write_text((EXAMPLES / "hello" / name).read_text("utf-8"), "utf-8")
    application = tmp_path / "application.yaml"
    text = application.read_text("utf-8").replace("  service:\n", "  service:\n    replicas: 1\n")
    application.write_text(f"{text}  database: {{walRetention: 0}}\n  traffic: {{affinity: true}}\n", "utf-8")
    result = leeward("explain", field, "-f", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert {line.split()[1] for line in result.stdout.splitlines()[1:]} == {value}


def test_a_field_there_is_not(leeward: Run) -> None:
    result = leeward("explain", "spec.servis", "-f", FNP)
    assert (result.returncode, result.stdout) == (2, "")
    assert "error[unknown-field]" in result.stderr


def test_the_deployment_is_drawn(leeward: Run) -> None:
    result = leeward("diagram", "-f", FNP)
    assert result.stdout.startswith("flowchart TB\n")


def test_other_tools_objects_are_read_in(leeward: Run, tmp_path: Path) -> None:
    for name in ("fleet.yaml", "application.yaml"):
        (tmp_path / name).write_text((EXAMPLES / "hello" / name).read_text("utf-8"), "utf-8")
    (tmp_path / "federated.yaml").write_text(
        """\
apiVersion: types.kubefed.io/v1beta1
kind: FederatedConfigMap
metadata: {name: banner, namespace: hello}
spec:
  template: {data: {text: hello}}
  placement: {clusters: [{name: us}, {name: eu}]}
  overrides:
    - clusterName: eu
      clusterOverrides: [{path: /data/text, value: bonjour}]
---
apiVersion: policy/v1beta1
kind: PodSecurityPolicy
metadata: {name: old}
spec: {privileged: false, allowPrivilegeEscalation: true, readOnlyRootFilesystem: true}
""",
        "utf-8",
    )
    seen = {cluster: leeward("render", "-f", str(tmp_path), "--cluster", cluster) for cluster in ("us", "eu", "jp")}
    assert "text: hello" in seen["us"].stdout
    assert "text: bonjour" in seen["eu"].stdout
    assert "banner" not in seen["jp"].stdout
    assert "PodSecurityPolicy old is the standard baseline: privilege escalation is allowed" in seen["us"].stderr
    assert "readOnlyRootFilesystem" in seen["us"].stderr


def test_kubefeds_placements_are_kept(leeward: Run, tmp_path: Path) -> None:
    for name in ("fleet.yaml", "application.yaml"):
        (tmp_path / name).write_text((EXAMPLES / "hello" / name).read_text("utf-8"), "utf-8")
    (tmp_path / "federated.yaml").write_text(
        """\
apiVersion: types.kubefed.io/v1beta1
kind: FederatedConfigMap
metadata: {name: everywhere, namespace: legacy}
spec:
  template: {data: {a: b}}
  placement: {clusterSelector: {}}
---
apiVersion: types.kubefed.io/v1beta1
kind: FederatedConfigMap
metadata: {name: only-eu, namespace: legacy}
spec:
  template: {data: {a: b}}
  placement:
    clusterSelector:
      matchExpressions: [{key: topology.kubernetes.io/region, operator: In, values: [eu]}]
---
apiVersion: types.kubefed.io/v1beta1
kind: FederatedConfigMap
metadata: {name: not-eu, namespace: legacy}
spec:
  template: {data: {a: b}}
  placement:
    clusterSelector:
      matchExpressions:
        - {key: topology.kubernetes.io/region, operator: NotIn, values: [eu]}
        - {key: leeward.dev/cluster, operator: Exists}
        - {key: no-such-label, operator: DoesNotExist}
---
apiVersion: types.kubefed.io/v1beta1
kind: FederatedNamespace
metadata: {name: legacy, namespace: legacy}
spec:
  placement: {clusters: [{name: us}, {name: eu}]}
---
apiVersion: scheduling.kubefed.io/v1alpha1
kind: ReplicaSchedulingPreference
metadata: {name: nginx, namespace: legacy}
spec: {targetKind: FederatedDeployment, totalReplicas: 9}
""",
        "utf-8",
    )
    seen = {cluster: leeward("render", "-f", str(tmp_path), "--cluster", cluster) for cluster in ("us", "eu", "jp")}
    names = ("name: legacy\n", "everywhere", "only-eu", "not-eu")
    found = {cluster: [name.split()[-1] for name in names if name in run.stdout] for cluster, run in seen.items()}
    assert found == {"us": ["legacy", "everywhere", "not-eu"], "eu": ["legacy", "everywhere", "only-eu"], "jp": []}
    # The namespace comes first, and is in none.
    text = seen["us"].stdout
    head = text[: text.index("name: everywhere")]
    assert "kind: Namespace\nmetadata:\n  name: legacy\n  labels:" in head
    assert "ReplicaSchedulingPreference nginx of KubeFed has no effect" in seen["us"].stderr


def test_a_warning_is_shown_and_stops_nothing(leeward: Run, tmp_path: Path) -> None:
    for name in ("fleet.yaml", "application.yaml"):
        (tmp_path / name).write_text((EXAMPLES / "hello" / name).read_text("utf-8"), "utf-8")
    with (tmp_path / "application.yaml").open("a", encoding="utf-8") as file:
        file.write("  traffic: {breaker: {ejectedMax: 90}}\n")
    result = leeward("validate", str(tmp_path))
    assert result.returncode == 0
    assert result.stderr.startswith("warning[aggressive-ejection]")
    assert "application/hello valid" in result.stdout


def files_of(example: str, directory: Path) -> Path:
    directory.mkdir()
    for name in ("fleet.yaml", "application.yaml"):
        (directory / name).write_text((EXAMPLES / example / name).read_text("utf-8"), "utf-8")
    return directory


def test_what_somebody_else_wrote_is_not_overwritten(leeward: Run, tmp_path: Path) -> None:
    files = files_of("hello", tmp_path / "files")
    (files / "README.md").write_text("mine", "utf-8")
    result = leeward("render", "-f", str(files), "--out", str(files))
    assert (result.returncode, result.stdout) == (6, "")
    assert "error[files-in-the-way]: README.md would be overwritten" in result.stderr
    assert (files / "README.md").read_text("utf-8") == "mine"
    assert {path.name for path in files.iterdir()} == {"README.md", "fleet.yaml", "application.yaml"}


def test_folders_that_are_empty_then_go(leeward: Run, tmp_path: Path) -> None:
    files, out = files_of("hello", tmp_path / "files"), tmp_path / "deploy"
    assert leeward("render", "-f", str(files), "--out", str(out)).returncode == 0
    application = files / "application.yaml"
    application.write_text(application.read_text("utf-8").replace("name: hello", "name: hallo"), "utf-8")
    assert leeward("render", "-f", str(files), "--out", str(out)).returncode == 0
    assert not (out / "apps" / "hello").exists()
    assert (out / "apps" / "hallo" / "base").is_dir()


def test_a_tree_that_cannot_be_is_said(leeward: Run, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("", "utf-8")
    written = leeward("render", "-f", FNP, "--out", str(file))
    assert (written.returncode, "error[out-unwritable]" in written.stderr) == (2, True)
    compared = leeward("diff", "-f", FNP, str(tmp_path / "dpeloy"))
    assert (compared.returncode, compared.stdout) == (2, "")
    assert "error[no-tree]" in compared.stderr


USAGE = [
    (("render", "-f", FNP), "give either --out or --cluster"),
    (("render", "-f", FNP, "--out", "x", "-o", "json"), "-o is for --cluster"),
    (("diff", "-f", FNP), "give a TREE or a --cluster to compare with"),
    (("diff", "-f", FNP, "x", "--context", "y"), "leave out TREE"),
]


@pytest.mark.parametrize(("arguments", "words"), USAGE)
def test_options_that_do_not_go_together(leeward: Run, arguments: tuple[str, ...], words: str) -> None:
    result = leeward(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert words in result.stderr


def test_an_object_there_is_not(leeward: Run) -> None:
    result = leeward("explain", "HorizontalPodAutoscaler/fpn.spec.maxReplicas", "-f", FNP)
    assert (result.returncode, result.stdout) == (2, "")
    assert "error[unknown-object]" in result.stderr
    assert "did you mean HorizontalPodAutoscaler/fnp?" in result.stderr
    left_out = leeward("explain", "Deployment/fnp.spec.replicas", "-f", FNP, "--cluster", "fnp-us")
    assert left_out.stdout.splitlines()[1].split() == ["fnp-us", "-", "left", "out", "(apps/fnp)"]


THING = """\
apiVersion: types.kubefed.io/v1beta1
kind: FederatedThing
metadata: {name: x}
spec: {template: {}, placement: {clusters: [{name: us}]}}
"""
FOREIGN = [
    (
        "apiVersion: policy/v1beta1\nkind: PodSecurityPolicy\nmetadata: {name: old}\nspec: {volumes: 5}\n",
        "policy-unreadable",
    ),
    ("apiVersion: policy/v1beta1\nkind: PodSecurityPolicy\nmetadata: {}\nspec: {}\n", "not-an-object"),
    ("apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: 4\n", "not-an-object"),
    (THING, "federated-unreadable"),
]


@pytest.mark.parametrize(("text", "code"), FOREIGN)
def test_other_tools_objects_that_cannot_be_read(leeward: Run, tmp_path: Path, text: str, code: str) -> None:
    files = files_of("hello", tmp_path / "files")
    (files / "foreign.yaml").write_text(text, "utf-8")
    result = leeward("render", "-f", str(files), "--cluster", "us")
    assert (result.returncode, result.stdout) == (2, "")
    assert f"error[{code}]" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_federated_object_for_nobody_is_told(leeward: Run, tmp_path: Path) -> None:
    files = files_of("hello", tmp_path / "files")
    text = "apiVersion: types.kubefed.io/v1beta1\nkind: FederatedConfigMap\nmetadata: {name: x, namespace: hello}\n"
    (files / "foreign.yaml").write_text(
        text + "spec: {template: {data: {a: b}}, placement: {clusters: [{name: uss}]}}\n", "utf-8"
    )
    result = leeward("render", "-f", str(files), "--cluster", "us")
    assert result.returncode == 0
    assert "FederatedConfigMap x is placed on uss, which is not a cluster of this fleet" in result.stderr
