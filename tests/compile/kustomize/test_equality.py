"""What the real kustomize builds from our tree is what we compile; what it patches is what we patch."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings

from leeward.compile import KubeObject, compile_cluster
from leeward.compile.kube.patching import json_patch, strategic_merge
from leeward.compile.kube.yaml_text import document
from leeward.compile.tree.tree import tree
from leeward.spec import Spec, load
from leeward.world.objects import engine_commands
from tests.compile.kustomize.prepare import binary
from tests.compile.sealing import sealed_for, with_secrets
from tests.compile.varieties import specs

EXAMPLES = Path(__file__).parents[3] / "examples"
COMMANDS = engine_commands()
Key = tuple[str, str, str | None, str]


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: a lone equals sign is text."""


_Loader.add_constructor("tag:yaml.org,2002:value", yaml.CSafeLoader.construct_yaml_str)


def build(folder: Path) -> dict[Key, KubeObject]:
    """Return what kustomize builds."""
    ran = subprocess.run([binary(), "build", folder], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return by_key([item for item in yaml.load_all(ran.stdout, _Loader) if item])


def by_key(items: list[KubeObject]) -> dict[Key, KubeObject]:
    plain = json.loads(json.dumps(items))
    keys = {
        (each["apiVersion"], each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]): each
        for each in plain
    }
    assert len(keys) == len(plain)
    return keys


def lay_out(spec: Spec, out: Path, foreign: Sequence[KubeObject] = ()) -> None:
    for name, text in tree(spec, engines=COMMANDS, foreign=foreign).items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text, "utf-8")


@pytest.mark.parametrize("example", ["hello", "payments", "fnp"])
def test_every_cluster_built_is_what_render_prints(example: str, tmp_path: Path) -> None:
    spec = load(EXAMPLES / example)
    lay_out(spec, tmp_path)
    for region in spec.regions:
        for cluster in spec.clusters(region.name):
            assert build(tmp_path / "clusters" / cluster.name) == by_key(
                compile_cluster(spec, cluster.name, engines=COMMANDS)
            )


def test_sealed_secrets_are_in_what_is_built(tmp_path: Path) -> None:
    spec, sealed = with_secrets(EXAMPLES / "fnp", "sealed"), sealed_for(EXAMPLES / "fnp")
    lay_out(spec, tmp_path, sealed)
    printed = by_key(compile_cluster(spec, "fnp-eu", engines=COMMANDS, foreign=sealed))
    assert "SealedSecret" in {kind for _, kind, _, _ in printed}
    assert build(tmp_path / "clusters" / "fnp-eu") == printed


@pytest.mark.parametrize("example", ["hello", "payments", "fnp"])
def test_every_folder_with_a_kustomization_builds(example: str, tmp_path: Path) -> None:
    lay_out(load(EXAMPLES / example), tmp_path)
    folders = sorted(each.parent for each in tmp_path.glob("apps/**/kustomization.yaml"))
    folders += [each.parent for each in tmp_path.glob("management/kustomization.yaml")]
    assert len(folders) >= 2
    for folder in folders:
        assert build(folder)


@settings(max_examples=5, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spec=specs())
def test_any_spec_built_is_what_render_prints(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("tree")
    lay_out(spec, out)
    cluster = spec.clusters(spec.regions[-1].name)[0].name
    assert build(out / "clusters" / cluster) == by_key(compile_cluster(spec, cluster, engines=COMMANDS))


DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: app, labels: {a: b}, annotations: {gone: "1"}}
spec:
  replicas: 2
  selector: {matchLabels: {a: b}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1}}
  template:
    metadata: {labels: {a: b}}
    spec:
      nodeSelector: {disk: ssd}
      tolerations: [{key: one, operator: Exists}]
      containers:
        - name: app
          image: app:1
          args: [one, two]
          env: [{name: A, value: "1"}, {name: B, value: "2"}]
          ports: [{name: http, containerPort: 8000}, {name: metrics, containerPort: 9000}]
          volumeMounts: [{name: data, mountPath: /data}]
        - {name: side, image: side:1}
      volumes: [{name: data, emptyDir: {}}]
"""
RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app, namespace: app}
spec:
  host: app
  subsets: [{name: stable, labels: {v: stable}}, {name: canary, labels: {v: canary}}]
  trafficPolicy: {tls: {mode: ISTIO_MUTUAL}, outlierDetection: {interval: 10s}}
"""
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: app, namespace: app}
spec:
  podSelector: {}
  policyTypes: [Ingress]
  ingress: [{ports: [{port: 8000, protocol: TCP}]}]
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: app, namespace: app}
spec: {selector: {a: b}, ports: [{name: http, port: 80, targetPort: http}, {name: more, port: 81}]}
"""
MERGES = [
    pytest.param(DEPLOYMENT, "spec: {replicas: 5}", id="a scalar"),
    pytest.param(DEPLOYMENT, "spec: {strategy: null, minReadySeconds: 5}", id="null removes"),
    pytest.param(
        DEPLOYMENT,
        "spec: {template: {spec: {containers: [{name: app, image: 'app:2', env: [{name: B, value: '3'}]}]}}}",
        id="containers and variables merge by name",
    ),
    pytest.param(
        DEPLOYMENT,
        "spec: {template: {spec: {containers: [{name: new, image: n}, {name: app, env: [{name: C, value: '3'}]}]}}}",
        id="new elements",
    ),
    pytest.param(
        DEPLOYMENT,
        "spec: {template: {spec: {containers: [{name: side, $patch: delete}]}}}",
        id="an element deleted",
    ),
    pytest.param(DEPLOYMENT, "spec: {template: {spec: {containers: [{name: app, args: [three]}]}}}", id="plain lists"),
    pytest.param(
        DEPLOYMENT, "spec: {template: {spec: {tolerations: [{key: two, operator: Exists}]}}}", id="atomic lists"
    ),
    pytest.param(
        DEPLOYMENT,
        "spec: {template: {spec: {nodeSelector: {$patch: replace, zone: a}}}}",
        id="a mapping replaced",
    ),
    pytest.param(DEPLOYMENT, "spec: {strategy: {$patch: delete}}", id="a mapping deleted"),
    pytest.param(
        DEPLOYMENT,
        "spec: {template: {spec: {containers: [{name: app, ports: [{containerPort: 9000, name: m}]}]}}}",
        id="ports merge by number",
    ),
    pytest.param(
        DEPLOYMENT,
        "spec: {template: {spec: {volumes: [{name: data, emptyDir: {sizeLimit: 1Gi}}, {name: tmp, emptyDir: {}}]}}}",
        id="volumes",
    ),
    pytest.param(SERVICE, "spec: {ports: [{port: 81, name: other}]}", id="a service's ports"),
    pytest.param(POLICY, "spec: {ingress: [{ports: [{port: 9000, protocol: TCP}]}]}", id="rules of a policy"),
    pytest.param(RULE, "spec: {subsets: [{name: stable, labels: {v: other}}]}", id="lists of custom resources"),
    pytest.param(RULE, "spec: {trafficPolicy: {outlierDetection: null, tls: {mode: SIMPLE}}}", id="null there"),
]


def patched(folder: Path, item: KubeObject, patch: str) -> KubeObject:
    """Return what kustomize makes of an object."""
    target = {"kind": item["kind"], "name": item["metadata"]["name"]}
    (folder / "item.yaml").write_text(document(item), "utf-8")
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["item.yaml"],
        "patches": [{"target": target, "patch": patch}],
    }
    (folder / "kustomization.yaml").write_text(document(kustomization), "utf-8")
    (built,) = build(folder).values()
    return built


@pytest.mark.parametrize(("text", "change"), MERGES)
def test_a_merge_is_kustomizes(text: str, change: str, tmp_path: Path) -> None:
    item, plain = yaml.safe_load(text), yaml.safe_load(change)
    head = {
        "apiVersion": item["apiVersion"],
        "kind": item["kind"],
        "metadata": {"name": "app", "namespace": "app", **plain.get("metadata", {})},
    }
    ours = strategic_merge(item, plain)
    assert ours == patched(tmp_path, item, document({**plain, **head}))
    assert ours != item


OPERATIONS: list[list[dict[str, Any]]] = [
    [{"op": "replace", "path": "/spec/replicas", "value": 4}],
    [{"op": "add", "path": "/spec/template/spec/containers/0/args/1", "value": "between"}],
    [{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "last"}],
    [{"op": "remove", "path": "/spec/template/spec/containers/1"}],
    [{"op": "move", "from": "/metadata/labels/a", "path": "/metadata/labels/c"}],
    [{"op": "copy", "from": "/spec/replicas", "path": "/spec/minReadySeconds"}],
    [
        {"op": "test", "path": "/spec/replicas", "value": 2},
        {"op": "add", "path": "/metadata/labels/x~1y", "value": "z"},
    ],
]


@pytest.mark.parametrize("operations", OPERATIONS, ids=lambda each: each[-1]["op"] + each[-1]["path"])
def test_a_json_patch_is_kustomizes(operations: list[dict[str, Any]], tmp_path: Path) -> None:
    item = yaml.safe_load(DEPLOYMENT)
    assert json_patch(item, operations) == patched(tmp_path, item, json.dumps(operations))
