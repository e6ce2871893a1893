"""Every alert that is rendered fires when it should and only then: the real promtool evaluates it."""

import json
import re
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from leeward.agent.machine.machine import Machine
from leeward.agent.runtime.metrics import exposition
from leeward.compile import KubeObject, agent_settings, compile_cluster
from leeward.compile.target import Images, kubernetes_target
from leeward.spec import Spec
from leeward.spec.load import documents_of, resolve
from leeward.world.objects import engine_commands
from tests.compile.promtool.prepare import binary

FNP = Path(__file__).parents[3] / "examples" / "fnp"
COMMANDS = engine_commands()
ENDS_S = 60
Series = dict[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """Series in Prometheus' notation (start + step x times, one every 15 s), when to look, and what is told then."""

    series: Series
    after: str
    value: str | None = None
    """What the alert's description names; None: it is silent."""
    labels: dict[str, str] = field(default_factory=dict)


US, EU = ('{application="fnp",region="us-east-1"}', '{application="fnp",region="europe-west1"}')
OF = '{application="fnp"}'
SERVICE = 'namespace="fnp-production",envoy_cluster_name="service"'
ADMIN = 'namespace="fnp-production",envoy_cluster_name="admin"'
INFEASIBLE = 'leeward_condition{application="fnp",type="ObjectivesFeasible",status="False"}'
WEAKENED = 'leeward_condition{application="fnp",type="DurabilityAsPromised",status="False"}'
FILLING = 'leeward_condition{application="fnp",type="DiskHasRoom",status="False"}'
BROKEN = 'leeward_condition{application="fnp",type="GatewaysConnected",status="False"}'
AT_THE_GATEWAY = '{namespace="leeward-system",envoy_listener_address="a"}'
GATEWAY = 'namespace="leeward-system",envoy_http_conn_manager_prefix="users"'


def requests(metric: str, chosen: str, good: int, bad: int) -> Series:
    """Return counters that grow by so many answers every 15 s."""
    return {
        f'{metric}{{{chosen},envoy_response_code_class="2"}}': f"0+{good}x40",
        f'{metric}{{{chosen},envoy_response_code_class="5"}}': f"0+{bad}x40",
    }


CASES = {
    "LeewardNoPrimary": [
        Case({f"leeward_primary{US}": "1x8 0x20", f"leeward_primary{EU}": "0x28"}, "4m", "0"),
        Case({}, "1m", "1", {"application": "fnp"}),  # nobody tells of one
        Case({f"leeward_primary{US}": "1x8 0x20", f"leeward_primary{EU}": "0x8 1x20"}, "4m"),
        # Away for less than the RTO of 30 s.
        Case({f"leeward_primary{US}": "1x8 0x0 1x20", f"leeward_primary{EU}": "0x28"}, "2m30s"),
    ],
    "LeewardReplicationLag": [
        Case({f"leeward_replication_lag_seconds{EU}": "0x8 6x20"}, "4m", "6"),
        Case({f"leeward_replication_lag_seconds{EU}": "4x28"}, "4m"),
        Case({f"leeward_replication_lag_seconds{EU}": "0x8 6x2 0x20"}, "4m"),
    ],
    "LeewardFailedOver": [
        Case({f"leeward_epoch{OF}": "1x8 2x20"}, "4m", "1"),
        Case({f"leeward_epoch{OF}": "1x28"}, "4m"),
        Case({f"leeward_epoch{OF}": "1x8 2x80"}, "20m"),  # long ago
    ],
    "LeewardFailoverNeedless": [
        Case({f"leeward_needless_failovers_total{OF}": "0x8 1x40"}, "4m", "1"),
        Case({f"leeward_needless_failovers_total{OF}": "1x48"}, "4m"),
    ],
    "LeewardFailoverWithheld": [
        Case({f"leeward_failovers_withheld_total{OF}": "0x8 1x40"}, "4m", "1"),
        Case({f"leeward_failovers_withheld_total{OF}": "1x48"}, "4m"),
    ],
    "LeewardRegionLost": [
        # What the Prometheus of one region knows; then what one for the whole fleet does.
        Case({'leeward_region_serving{region="japaneast"}': "1x8 0x20"}, "4m", "0", {"region": "japaneast"}),
        Case(
            {f'leeward_region_serving{{region="japaneast",pod="{pod}"}}': "0x28" for pod in ("us", "eu")},
            "4m",
            "0",
            {"region": "japaneast"},
        ),
        # The way from one region to it is cut, and nothing else.
        Case(
            {
                'leeward_region_serving{region="japaneast",pod="us"}': "0x28",
                'leeward_region_serving{region="japaneast",pod="eu"}': "1x28",
            },
            "4m",
        ),
        Case({'leeward_region_serving{region="japaneast"}': "1x8 0x2 1x20"}, "4m"),
    ],
    "LeewardQuorumUnheard": [
        Case({"leeward_quorum_age_seconds": "0x8 11x8"}, "3m", "11"),
        Case({"leeward_quorum_age_seconds": "9x16"}, "3m"),
    ],
    "LeewardStoreBackupOld": [
        Case(
            {"leeward_store_backup_period_seconds": "600x40", "leeward_store_backup_timestamp_seconds": "-1800x40"},
            "6m",
            "2160",
        ),
        Case(
            {"leeward_store_backup_period_seconds": "600x40", "leeward_store_backup_timestamp_seconds": "-1000x40"},
            "6m",
        ),
        # Old for a moment, as after an hour without the agent.
        Case(
            {
                "leeward_store_backup_period_seconds": "600x40",
                "leeward_store_backup_timestamp_seconds": "-1800x8 100x32",
            },
            "6m",
        ),
    ],
    "LeewardStoreFilling": [
        Case({"leeward_store_quota_bytes": "100x40", "leeward_store_db_bytes": "70x8 81x32"}, "8m", "81"),
        Case({"leeward_store_quota_bytes": "100x40", "leeward_store_db_bytes": "80x40"}, "8m"),
        Case({"leeward_store_quota_bytes": "100x40", "leeward_store_db_bytes": "90x8 20x32"}, "8m"),  # defragmented
    ],
    "LeewardClientsRefused": [
        Case(
            {'leeward_clients_refused_total{server="agent",reason="expired"}': "0+1x120"},
            "30m",
            "60",
            {"server": "agent", "reason": "expired"},
        ),
        Case({'leeward_clients_refused_total{server="agent",reason="expired"}': "0x8 1x112"}, "30m"),  # once
        Case(
            {
                f"envoy_listener_ssl_fail_verify_error{AT_THE_GATEWAY}": "0+1x120",
                f"envoy_listener_ssl_fail_verify_san{AT_THE_GATEWAY}": "0x120",
            },
            "30m",
            "60",
            {"envoy_listener_address": "a"},
        ),
        Case(
            {
                'envoy_listener_ssl_fail_verify_error{namespace="else",envoy_listener_address="a"}': "0+1x120",
                'envoy_listener_ssl_fail_verify_san{namespace="else",envoy_listener_address="a"}': "0+1x120",
            },
            "30m",
        ),
    ],
    "LeewardCertificateExpiring": [
        Case(
            {
                'leeward_certificate_expiry_timestamp_seconds{certificate="agent"}': "1000x40",
                'leeward_certificate_renewal_overdue_seconds{certificate="agent"}': "700x40",
            },
            "11m",
            "340",
            {"certificate": "agent"},
        ),
        Case(
            {
                'leeward_certificate_expiry_timestamp_seconds{certificate="agent"}': "2000x40",
                'leeward_certificate_renewal_overdue_seconds{certificate="agent"}': "700x40",
            },
            "11m",
        ),
        # Renewed late, and in time.
        Case(
            {
                'leeward_certificate_expiry_timestamp_seconds{certificate="agent"}': "1000x30 90000x10",
                'leeward_certificate_renewal_overdue_seconds{certificate="agent"}': "900x40",
            },
            "11m",
        ),
    ],
    "LeewardPodsMissing": [
        Case({f"leeward_pods_ready{OF}": "5x8 0x20"}, "4m", "0"),
        Case({f"leeward_pods_ready{OF}": "5x8 1x20"}, "4m"),
    ],
    "LeewardDiskFilling": [
        Case({FILLING: "0x8 1x40"}, "8m", "1"),
        Case({FILLING: "0x8 1x8 0x40"}, "8m"),  # a copy that was removed again
    ],
    "LeewardGatewayOverflow": [
        Case({f"leeward_gateway_overflows_total{OF}": "0x8 3x40"}, "4m", "3", {"application": "fnp"}),
        Case({f"leeward_gateway_limit_used_ratio{OF}": "0.2x8 0.9x40"}, "4m", "0.9", {"application": "fnp"}),
        Case({f"leeward_gateway_overflows_total{OF}": "3x48", f"leeward_gateway_limit_used_ratio{OF}": "0.2x48"}, "4m"),
    ],
    "LeewardGatewayPathBroken": [
        Case({BROKEN: "0x8 1x40"}, "4m", "1"),
        Case({BROKEN: "0x8 1x2 0x40"}, "4m"),  # a failover
        Case({BROKEN.replace("Gateways", "Instances"): "1x48"}, "4m"),
    ],
    "LeewardDurabilityNotAsPromised": [
        Case({WEAKENED: "0x8 1x40"}, "4m", "1"),
        Case({WEAKENED: "0x8 1x2 0x40"}, "4m"),  # one session, which ended
        Case({WEAKENED.replace("False", "Unknown"): "1x48"}, "4m"),  # no heartbeat from a primary
    ],
    "LeewardErrorBudgetBurn": [
        # 99.95 % allow 0.05 % of failures; the alert is for 14.4 times as many, 0.72 %.
        Case(requests("envoy_cluster_upstream_rq_xx", SERVICE, 99, 1), "8m", "0.01"),
        Case(requests("envoy_cluster_upstream_rq_xx", SERVICE, 199, 1), "8m"),
        Case(requests("envoy_cluster_upstream_rq_xx", ADMIN, 0, 1), "8m"),  # the sidecar's own pages are no users
        Case({}, "8m"),
    ],
    "LeewardObjectivesInfeasible": [
        Case({INFEASIBLE: "0x8 1x60"}, "14m", "1"),
        Case({INFEASIBLE: "0x8 1x20 0x60"}, "14m"),  # a region was restarted
        Case({INFEASIBLE.replace("Objectives", "Capacity"): "1x60"}, "14m"),
    ],
    "LeewardDrillOverdue": [
        Case({f"leeward_drill_last_success_timestamp_seconds{OF}": "-8640100+0x500"}, "2h", "8.6473e+06"),
        Case({f"leeward_drill_last_success_timestamp_seconds{OF}": "0+0x500"}, "2h"),
        Case({}, "2h"),  # where drills cannot be, nobody is told that there was none
    ],
    "LeewardDeepHealthFailing": [
        Case({f"leeward_deep_healthy{OF}": "1x8 0x40"}, "8m", "0"),
        Case({f"leeward_deep_healthy{OF}": "1x8 0x4 1x40"}, "8m"),  # a failover
    ],
}
WITHOUT_SIDECAR = {
    "LeewardErrorBudgetBurn": [
        Case(requests("envoy_http_downstream_rq_xx", GATEWAY, 99, 1), "8m", "0.01"),
        Case(requests("envoy_http_downstream_rq_xx", GATEWAY, 199, 1), "8m"),
    ]
}


@cache
def spec_of(sidecar: bool) -> Spec:
    documents, problems = documents_of(FNP)
    for document in documents:
        if document.data["kind"] == "Application":
            document.data["spec"]["service"].setdefault("probes", {})["deep"] = "/healthz/deep"
        if document.data["kind"] == "Application" and not sidecar:
            del document.data["spec"]["sidecars"]["envoy"]
            # Without it there is nobody to limit.
            del document.data["spec"]["environments"][0]["spec"]["traffic"]
    return resolve(str(FNP), documents, problems)


def rules_of(sidecar: bool = True, cluster: str = "fnp-us") -> KubeObject:
    """Return a cluster's rules, as Prometheus' own file has them."""
    items = compile_cluster(spec_of(sidecar), cluster, engines=COMMANDS)
    (found,) = (item for item in items if item["kind"] == "PrometheusRule")
    spec: KubeObject = found["spec"]
    return spec


def promtool(directory: Path, rules: KubeObject, tests: list[KubeObject] | None = None) -> tuple[int, str]:
    """Return promtool's status and words. JSON is YAML to it."""
    (directory / "rules.json").write_text(json.dumps(rules), "utf-8")
    whole = {"rule_files": ["rules.json"], "evaluation_interval": "15s", "tests": tests}
    (directory / "tests.json").write_text(json.dumps(whole), "utf-8")
    command = ["check", "rules", "rules.json"] if tests is None else ["test", "rules", "tests.json"]
    ran = subprocess.run(
        [binary(), *command], cwd=directory, capture_output=True, text=True, check=False, timeout=ENDS_S
    )
    return ran.returncode, ran.stdout + ran.stderr


def tried(rule: KubeObject, case: Case) -> dict[str, Any]:
    """Return promtool's test of one case: the alert with every label and every word, or none."""
    told = []
    if case.value is not None:
        words = {key: text.replace("{{ $value }}", case.value) for key, text in rule["annotations"].items()}
        told = [{"exp_labels": {**rule["labels"], **case.labels}, "exp_annotations": words}]
    looked = {"eval_time": case.after, "alertname": rule["alert"], "exp_alerts": told}
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    return {"interval": "15s", "input_series": series, "alert_rule_test": [looked]}


@pytest.mark.parametrize("cluster", ["fnp-us", "fnp-eu", "fnp-jp"])
def test_the_rules_are_correct(cluster: str, tmp_path: Path) -> None:
    status, said = promtool(tmp_path, rules_of(cluster=cluster))
    assert status == 0, said
    assert "20 rules found" in said


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should_and_only_then(name: str, tmp_path: Path) -> None:
    rules = rules_of()
    (rule,) = (each for group in rules["groups"] for each in group["rules"] if each["alert"] == name)
    assert {case.value is None for case in CASES[name]} == {True, False}, "show it firing and silent"
    status, said = promtool(tmp_path, rules, [tried(rule, case) for case in CASES[name]])
    assert status == 0, said


@pytest.mark.parametrize("name", WITHOUT_SIDECAR)
def test_without_a_sidecar_the_gateway_counts(name: str, tmp_path: Path) -> None:
    rules = rules_of(sidecar=False)
    (rule,) = (each for group in rules["groups"] for each in group["rules"] if each["alert"] == name)
    status, said = promtool(tmp_path, rules, [tried(rule, case) for case in WITHOUT_SIDECAR[name]])
    assert status == 0, said


def test_every_alert_is_tried() -> None:
    rendered = {rule["alert"] for group in rules_of()["groups"] for rule in group["rules"]}
    assert rendered == CASES.keys()


def test_a_wrong_threshold_is_heard(tmp_path: Path) -> None:
    rules = json.loads(json.dumps(rules_of()))
    (rule,) = (each for each in rules["groups"][0]["rules"] if each["alert"] == "LeewardReplicationLag")
    rule["expr"] = rule["expr"].replace("> 5", "> 50")
    status, said = promtool(tmp_path, rules, [tried(rule, case) for case in CASES[rule["alert"]]])
    assert status != 0
    assert "LeewardReplicationLag" in said


def test_the_agents_show_what_the_alerts_ask_for() -> None:
    spec = spec_of(sidecar=True)
    target = kubernetes_target(spec, "us-east-1", engines=COMMANDS, images=Images())
    shown = exposition(Machine(agent_settings(spec, "us-east-1", target), incarnation="test"), 0.0, {}).decode()
    asked = set(
        re.findall(r"\bleeward_[a-z_]+", json.dumps([rule["expr"] for rule in rules_of()["groups"][0]["rules"]]))
    )
    assert len(asked) == 20
    kinds = dict(re.findall(r"# TYPE (\S+) (\S+)", shown))
    counted = {name for name in asked if name.endswith("_total")}
    assert {name: kinds.get(name) for name in asked} == {
        name: "counter" if name in counted else "gauge" for name in asked
    }
