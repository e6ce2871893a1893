"""docs/concerns: for each concern what one writes and what clusters get, from the compiler itself."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from leeward.compile import KubeObject, compile_parts
from leeward.compile.kube.kustomize import difference
from leeward.compile.kube.yaml_text import document, documents
from leeward.spec import Spec
from leeward.spec.load import resolve
from leeward.spec.platform import SecretsBy
from leeward.spec.source import read
from leeward.spec.variants import merged
from leeward.world.objects import engine_commands
from tests.compile.sealing import sealed_answers
from tests.conftest import Golden

ROOT = Path(__file__).parents[2]
COMMANDS = engine_commands()
FLEET = yaml.safe_load((ROOT / "examples" / "fnp" / "fleet.yaml").read_text("utf-8"))
PLAIN = (
    "mesh",
    "network",
    "dns",
    "entry",
    "secrets",
    "monitoring",
    "tracing",
    "logging",
    "gitops",
    "nodePools",
    "clusterAPI",
    "images",
)
SCALED = {
    "service": {"resources": {"requests": {"cpu": "250m", "memory": "256Mi"}}, "autoscaling": {"min": 2, "max": 6}}
}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the documentation."""

    module: str
    fleet: str = ""
    """What is written in the Fleet's spec."""
    application: str = ""
    """What is written in the Application's spec."""
    beside: str = ""
    """What stands beside the two, of other tools."""
    cluster: str = "fnp-us"
    kinds: tuple[str, ...] = ()
    """Show these kinds only. Empty: all that is new."""
    always: bool = False
    """The concern is there without a word in the files: show its kinds."""


PAGES = {
    "disruption": Page("app.disruption", kinds=("PodDisruptionBudget",), always=True),
    "quota": Page("app.quota", kinds=("ResourceQuota", "LimitRange"), always=True),
    "pod-security": Page("app.pod_security", kinds=("Namespace",), always=True),
    "network-policy": Page(
        "traffic.network_policy",
        application=(
            "network:\n"
            "  tiers: [{name: frontend, pods: {tier: frontend}, port: 3000, allows: [internet]}]\n"
            "  callers: [frontend]"
        ),
        kinds=("NetworkPolicy",),
    ),
    "vertical": Page("app.vertical", application="service: {autoscaling: {vertical: recommend}}"),
    "sidecars": Page(
        "app.sidecars", application="sidecars: {logging: {}, metrics: {}, envoy: {}}", kinds=("Deployment",)
    ),
    "canary": Page(
        "traffic.canaries",
        fleet="mesh: {kind: istio}",
        application="rollout: {canary: {by: flagger}}",
        kinds=("Canary", "Service"),
    ),
    "istio": Page(
        "traffic.istio",
        fleet="mesh: {kind: istio}",
        application="traffic: {prefix: /api/}",
        kinds=("VirtualService", "DestinationRule", "PeerAuthentication"),
    ),
    "istio-gateways": Page(
        "traffic.istio_gateways", fleet="mesh: {kind: istio}", kinds=("Gateway", "PodDisruptionBudget")
    ),
    "gateway-api": Page("traffic.gateway_api", fleet="mesh: {kind: gateway-api}"),
    "storage": Page("app.storage", kinds=("StorageClass",), always=True),
    "secrets": Page(
        "app.secrets",
        fleet="secrets: {by: external-secrets}",
        application="service: {secrets: [{env: API_KEY, secret: shop-keys, key: api-key}]}",
        kinds=("ExternalSecret",),
    ),
    "sealed-secrets": Page(
        "platform.sealed",
        fleet="secrets: {by: sealed}",
        application="service: {secrets: [{env: API_KEY, secret: shop-keys, key: api-key}]}",
        beside=(
            "apiVersion: bitnami.com/v1alpha1\n"
            "kind: SealedSecret\n"
            "metadata:\n"
            "  name: shop-keys\n"
            "  namespace: shop\n"
            "  annotations: {leeward.dev/clusters: fnp-us}\n"
            "spec:\n"
            "  encryptedData: {api-key: AgBy3i4OJSWK...}\n"
            "  template: {metadata: {name: shop-keys, namespace: shop}}"
        ),
        kinds=("SealedSecret",),
    ),
    "federation": Page(
        "platform.federation",
        beside=(
            "apiVersion: types.kubefed.io/v1beta1\n"
            "kind: FederatedConfigMap\n"
            "metadata: {name: banner, namespace: shop}\n"
            "spec:\n"
            "  template: {data: {text: hello}}\n"
            "  placement: {clusters: [{name: fnp-us}, {name: fnp-eu}]}\n"
            "  overrides:\n"
            "    - clusterName: fnp-eu\n"
            "      clusterOverrides: [{path: /data/text, value: bonjour}]"
        ),
        cluster="fnp-eu",
    ),
    "machines": Page(
        "platform.nodes",
        fleet="nodePools:\n  - {name: steady, capacity: [on-demand]}\n  - {name: cheap, capacity: [spot, on-demand]}",
        application="service: {interruptible: true}",
    ),
    "telemetry": Page("observe.telemetry", fleet="monitoring: {}\ntracing: {}", kinds=("PodMonitor", "PrometheusRule")),
    "joining": Page(
        "traffic.joining",
        fleet="network: {join: wireguard, names: true, exports: true}",
        kinds=("ConfigMap", "ServiceExport"),
    ),
    "entries": Page(
        "traffic.records",
        fleet="dns: {provider: route53, zoneId: Z0123456789}",
        application="traffic: {dns: latency}",
        kinds=("Service", "HealthCheck", "RecordSet", "DNSEndpoint"),
    ),
    "global-entry": Page("traffic.entries", fleet="entry: {address: shop-global}", cluster="fnp-eu"),
    "clusters": Page(
        "platform.cluster_api", fleet="clusterAPI: {}", kinds=("Cluster", "KubeadmControlPlane", "MachineDeployment")
    ),
    "delivery": Page(
        "platform.delivery", fleet='gitops: {repository: "https://git.example.com/shop.git"}', kinds=("ApplicationSet",)
    ),
    "overrides": Page(
        "app.overrides",
        application=(
            "overrides:\n"
            "  - clusters: [fnp-us]\n"
            "    spec: {service: {env: {LEVEL: debug}}}\n"
            "    patches:\n"
            "      - {target: {kind: Deployment}, merge: {spec: {minReadySeconds: 5}}}"
        ),
    ),
    "images": Page(
        "app.images",
        fleet=f"images:\n  digestsRequired: false\n  digests:\n    example.com/shop:1: sha256:{'0' * 64}",
        kinds=("Deployment",),
    ),
    "cloudnative-pg": Page(
        "app.cloudnative_pg", application="database: {operator: cloudnative-pg, instances: 3}", kinds=("Cluster",)
    ),
    "cockroachdb": Page(
        "app.cockroachdb", application="database: {engine: cockroachdb}", kinds=("StatefulSet", "Service", "Job")
    ),
}


def spec_of(fleet: dict[str, Any], application: dict[str, Any]) -> Spec:
    """Return the three-cloud fleet without its luxuries, with these; and a shop with these."""
    bare = {key: value for key, value in FLEET["spec"].items() if key not in PLAIN}
    service = {"service": {"image": "example.com/shop:1", "command": ["shop"], **SCALED["service"]}}
    shop = {
        "apiVersion": FLEET["apiVersion"],
        "kind": "Application",
        "metadata": {"name": "shop"},
        "spec": merged(service, application),
    }
    text = yaml.safe_dump_all([{**FLEET, "spec": {**bare, **fleet}}, shop], sort_keys=False)
    return resolve("page.yaml", *read("page.yaml", text))


def compiled(page: Page, *, plain: bool) -> dict[tuple[str, str, str], KubeObject]:
    written = ({}, {}) if plain else (yaml.safe_load(page.fleet) or {}, yaml.safe_load(page.application) or {})
    foreign = [] if plain else [each for each in yaml.safe_load_all(page.beside) if each]
    spec = spec_of(*written)
    if spec.fleet.spec.secrets.by is SecretsBy.SEALED:
        shown = {each["metadata"]["name"] for each in foreign}
        foreign += [each for each in _sealed(*written) if each["metadata"]["name"] not in shown]
    parts = compile_parts(spec, page.cluster, engines=COMMANDS, foreign=foreign)
    return {
        (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]): item
        for part in parts
        for item in part.objects
    }


def _sealed(fleet: dict[str, Any], application: dict[str, Any]) -> list[KubeObject]:
    """Return the sealed secrets that everything here needs."""
    return sealed_answers(spec_of({**fleet, "secrets": {"by": "external-secrets"}}, application))


def text_of(name: str, page: Page) -> str:
    """Return a page as Markdown."""
    module = import_module(f"leeward.compile.{page.module}")
    assert module.__doc__
    title, _, rest = module.__doc__.partition("\n")
    lines = [f"# {name.replace('-', ' ')}", "", title, *([rest.strip("\n")] if rest.strip() else []), ""]
    for kind, snippet in (("Fleet", page.fleet), ("Application", page.application)):
        if snippet:
            lines += [f"In the {kind}'s `spec`:", "", "```yaml", snippet, "```", ""]
    if page.beside:
        lines += ["Beside them:", "", "```yaml", page.beside, "```", ""]
    before, after = compiled(page, plain=True), compiled(page, plain=False)
    new = [item for key, item in after.items() if page.always or key not in before]
    shown = [item for item in new if not page.kinds or item["kind"] in page.kinds]
    if page.module == "platform.sealed":
        # One tells what all are like.
        shown = [item for item in shown if item["metadata"]["name"] in page.beside]
    if page.always:
        lines += ["Without a word in the files.", ""]
    if shown:
        lines += [f"What cluster {page.cluster} gets:", "", "```yaml", documents(shown).rstrip(), "```", ""]
    for key, item in after.items():
        steps = [] if page.always or key not in before else list(difference(before[key], item))
        if steps and (not page.kinds or item["kind"] in page.kinds):
            lines += [f"What changes in {item['kind']} {item['metadata']['name']}:", ""]
            lines += ["```yaml", document(steps).rstrip(), "```", ""]
    path = page.module.replace(".", "/")
    where = f"{path}/" if hasattr(module, "__path__") else f"{path}.py"
    lines += [f"Generated by `pytest tests/compile/test_concern_pages.py --rewrite`; the code is `compile/{where}`."]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_current(name: str, golden: Golden) -> None:
    text = text_of(name, PAGES[name])
    assert "```yaml\n---" in text or "What changes" in text, "the page shows nothing"
    golden(ROOT / "docs" / "concerns" / f"{name}.md", text)


def test_the_list_of_pages_is_current(golden: Golden) -> None:
    rows = []
    for name, page in PAGES.items():
        module = import_module(f"leeward.compile.{page.module}")
        rows.append(f"- [{name.replace('-', ' ')}]({name}.md): {(module.__doc__ or '').partition(chr(10))[0]}\n")
    golden(ROOT / "docs" / "concerns" / "README.md", "# What clusters get, concern by concern\n\n" + "".join(rows))
