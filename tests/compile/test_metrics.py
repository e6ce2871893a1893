"""Dashboards and alerts ask for what is there to be asked, and every alert has a section that says what to do."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from leeward.agent.machine.machine import Machine
from leeward.agent.runtime.metrics import exposition
from leeward.compile import agent_settings, compile_cluster
from leeward.compile.observe.alerts import GATEWAY_REFUSED
from leeward.compile.site import all_clusters
from leeward.compile.target import Images, kubernetes_target
from leeward.compile.tree.tree import tree
from leeward.spec import Spec
from leeward.spec.load import documents_of, resolve
from leeward.world.objects import engine_commands

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = engine_commands()
# What others export: Envoy (its documentation's statistics, as Prometheus sees them) and the kubelet's cAdvisor.
ENVOY = {
    f"envoy_{of}_{kind}"
    for of in ("http_downstream_rq", "cluster_upstream_rq")
    for kind in ("total", "xx", "time_bucket")
}
OTHERS = {*ENVOY, *GATEWAY_REFUSED, "container_cpu_usage_seconds_total"}
WORDS = {"or", "and", "unless"}


def spec_of(name: str, *, sidecar: bool = True) -> Spec:
    """An example, monitored, whose service tells of its deep health."""
    documents, problems = documents_of(EXAMPLES / name)
    for document in documents:
        if document.data["kind"] == "Fleet":
            document.data["spec"].setdefault("monitoring", {})
        else:
            document.data["spec"]["service"].setdefault("probes", {})["deep"] = "/healthz/deep"
            if not sidecar and "sidecars" in document.data["spec"]:
                document.data["spec"]["sidecars"].pop("envoy", None)
                for environment in document.data["spec"].get("environments", []):
                    environment.get("spec", {}).pop("traffic", None)
    return resolve(name, documents, problems)


def metrics_in(expression: str) -> set[str]:
    """Return the metrics of a PromQL expression: names that are no function, label, text, range or word."""
    for other in (r'"[^"]*"', r"\{[^}]*\}", r"\[[^\]]*\]", r"\b(?:by|without)\s*\([^)]*\)"):
        expression = re.sub(other, " ", expression)
    return set(re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", expression)) - WORDS


def exported(spec: Spec) -> set[str]:
    region = spec.regions[0].name
    target = kubernetes_target(spec, region, engines=COMMANDS, images=Images())
    text = exposition(Machine(agent_settings(spec, region, target), incarnation="test"), 0.0, {}).decode()
    return set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))


def compiled(spec: Spec) -> list[dict[str, Any]]:
    return [
        item
        for _, cluster in all_clusters(spec)
        for item in compile_cluster(spec, cluster.name, engines=COMMANDS)
        if item["kind"] in ("PrometheusRule", "ConfigMap")
    ]


def rules_in(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [item for item in items if item["kind"] == "PrometheusRule"]
    return [rule for item in found for group in item["spec"]["groups"] for rule in group["rules"]]


def panels_in(items: list[dict[str, Any]]) -> list[str]:
    texts = [
        text
        for item in items
        if item["kind"] == "ConfigMap" and "grafana_dashboard" in item["metadata"]["labels"]
        for text in item["data"].values()
    ]
    return [target["expr"] for text in texts for panel in json.loads(text)["panels"] for target in panel["targets"]]


@pytest.mark.parametrize(
    ("name", "sidecar"), [("fnp", True), ("fnp", False), ("payments", True), ("hello", True)], ids=str
)
def test_what_is_asked_for_is_exported(name: str, sidecar: bool) -> None:
    spec = spec_of(name, sidecar=sidecar)
    items = compiled(spec)
    rules, panels = rules_in(items), panels_in(items)
    assert rules
    assert panels
    asked = set().union(*map(metrics_in, [*(rule["expr"] for rule in rules), *panels]))
    assert {each for each in asked if each.startswith("leeward_")}
    assert asked - exported(spec) - OTHERS == set()


def test_a_metric_that_no_component_exports_would_be_found() -> None:
    found = metrics_in('sum by (le) (rate(made_up_total{application="x y"}[5m])) > 0.5 or absent(leeward_epoch)')
    assert found == {"made_up_total", "leeward_epoch"}
    assert "made_up_total" not in exported(spec_of("hello")) | OTHERS


def test_every_alert_has_a_severity_and_a_remedy() -> None:
    spec = spec_of("fnp")
    pages = {name: text for name, text in tree(spec, engines=COMMANDS).items() if "/runbooks/" in name}
    rules = rules_in(compiled(spec))
    assert len({rule["alert"] for rule in rules}) == 20
    for rule in rules:
        notes = rule["annotations"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert notes["summary"]
        assert notes["description"].startswith(notes["summary"])
        page, _, anchor = notes["runbook_url"].rpartition("/")[2].partition("#")
        headings = re.findall(r"^## (\w+)$", pages[f"apps/fnp/runbooks/{page}.md"], re.MULTILINE)
        assert anchor in {heading.lower() for heading in headings}
        assert rule["alert"] in headings


def test_links_between_runbooks_lead_somewhere() -> None:
    pages = {
        Path(name).name: text for name, text in tree(spec_of("fnp"), engines=COMMANDS).items() if "/runbooks/" in name
    }
    for name, text in pages.items():
        for linked in re.findall(r"\]\(([\w-]+\.md)\)", text):
            assert linked in pages, f"{name} leads to {linked}"
