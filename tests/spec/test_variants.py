"""Environments, overrides, and what a cluster makes of them: mistakes found, values merged."""

from pathlib import Path

import pytest

from leeward.spec import Severity, load
from tests.spec.files import APPLICATION, FLEET, problems_of, replaced, write
from tests.spec.test_problems import marked, one_problem

IMAGE = "    image: shop:1\n"
CLUSTER = "      clusters: [{name: us-a, podCIDR: 10.1.0.0/16"
US = "    - name: us\n"

IN_THE_FLEET = [
    pytest.param("  network: {join: @peering}", "peering-across-providers", "wireguard", id="peering across clouds"),
    pytest.param(
        "  nodePools@: [{name: a, capacity: [spot, on-demand]}]", "spot-for-primary", "on-demand", id="only spot"
    ),
    pytest.param("  entry@: {address: a}", "entry-without-gcp", "gcp", id="an entry without Google"),
    pytest.param("  mesh: {kind: @isto}", "bad-value", "did you mean istio?", id="a misspelt mesh"),
    pytest.param(
        "  nodePools: [{name: a}, {name: @a}]", "duplicate-name", "node pools called a", id="two pools of a name"
    ),
]


@pytest.mark.parametrize(("added", "code", "words"), IN_THE_FLEET)
def test_a_mistake_in_what_the_fleet_shares(tmp_path: Path, added: str, code: str, words: str) -> None:
    clouds = replaced(FLEET, US, US + "      provider: aws\n").replace(
        "- name: eu", "- name: eu\n      provider: azure"
    )
    # A key is found at its beginning: the mark stands behind it.
    at_key = "@:" in added
    fleet, place = marked(clouds + added + "\n")
    found_code, found_place, text = one_problem(write(tmp_path, fleet=fleet))
    if at_key:
        place = f"{place.partition(':')[0]}:3"
    assert (found_code, found_place) == (code, place), text
    assert words in text


@pytest.mark.parametrize(
    ("cluster", "network", "code", "words"),
    [
        pytest.param("}", "{join: wireguard}", "not-joinable", "tunnel", id="no end of a tunnel"),
        pytest.param("}", "{names: true}", "not-joinable", "dnsAddress", id="no address for names"),
        pytest.param(
            ", tunnel: {endpoint: a, publicKey: HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=}}",
            "{join: wireguard, tunnelCIDR: 10.1.0.0/24}",
            "overlapping-cidrs",
            "tunnels",
            id="tunnels among the pods",
        ),
        pytest.param(", vpcCIDR: 10.1.8.0/24}", "{}", "overlapping-cidrs", "10.1.0.0/16", id="machines among the pods"),
        pytest.param(", version: latest}", "{}", "bad-value", "pattern", id="no version"),
    ],
)
def test_a_cluster_that_cannot_be_joined(tmp_path: Path, cluster: str, network: str, code: str, words: str) -> None:
    fleet = replaced(FLEET, US, f"{US}{CLUSTER}{cluster}]\n") + f"  network: {network}\n"
    found, _, text = one_problem(write(tmp_path, fleet=fleet))
    assert found == code, text
    assert words in text


def test_an_even_number_of_api_servers(tmp_path: Path) -> None:
    fleet = replaced(FLEET, US, f"{US}{CLUSTER}, controlPlaneReplicas: 2}}]\n") + "  clusterAPI: {}\n"
    assert one_problem(write(tmp_path, fleet=fleet))[0] == "even-control-plane"


IN_THE_APPLICATION = [
    pytest.param("  overrides: [{regions: [@jpp]}]", "unknown-region", "did you mean jp?", id="an unknown region"),
    pytest.param("  overrides: [{clusters: [@uss]}]", "unknown-cluster", "did you mean us?", id="an unknown cluster"),
    pytest.param(
        "  overrides: [{spec: {@placement: {primary: eu}}}]", "global-key", "all regions", id="what cannot differ"
    ),
    pytest.param(
        "  overrides: [{spec: {service: {replicas: @two}}}]", "wrong-type", "whole number", id="a wrong value there"
    ),
    pytest.param(
        "  overrides: [{spec: {service: {@replica: 2}}}]", "unknown-key", "replicas", id="a misspelt key there"
    ),
    pytest.param(
        "  overrides: [{patches: [@{target: {kind: Service}}]}]", "bad-patch", "merge or json", id="no change"
    ),
    pytest.param("  environments: [{name: a}, {name: @a}]", "duplicate-name", "two environments", id="a name twice"),
    pytest.param(
        "  environments: [{name: a, spec: {service: {replicas: @0}}}]",
        "bad-value",
        "1",
        id="an environment without pods",
    ),
    pytest.param("  network: {callers: [@fronted]}", "unknown-tier", "declared", id="an unknown tier"),
    pytest.param(
        "  network: {tiers: [{name: @service, pods: {a: b}}]}", "duplicate-name", "another tier", id="a taken tier"
    ),
    pytest.param(
        "  network: {@imports: [{name: catalogue, port: 80}]}",
        "import-without-addresses",
        "podCIDR",
        id="imports from nobody knows where",
    ),
    pytest.param("  quota: {pods: @2}", "quota-below-autoscaling", "2", id="a quota without room"),
    pytest.param(
        "  database: {engine: cockroachdb, operator: @cloudnative-pg}", "operator-of-another-engine", "PostgreSQL"
    ),
]


@pytest.mark.parametrize(("added", "code", "words"), IN_THE_APPLICATION)
def test_a_mistake_in_a_variety(tmp_path: Path, added: str, code: str, words: str) -> None:
    application, place = marked(APPLICATION + added + "\n")
    found_code, found_place, text = one_problem(write(tmp_path, application=application))
    assert (found_code, found_place) == (code, place), text
    assert words in text


@pytest.mark.parametrize(
    "line",
    [
        "    env: {@DATABASE_PASSWORD_2: hunter2}",
        "    config: {@API_KEY: abc-123}",
        '    env: {@UPSTREAM: "postgres://user:pw@host/db"}',
        '    config: {@PEM: "-----BEGIN RSA PRIVATE KEY-----"}',
        "  environments: [{name: a, spec: {service: {command: [shop, @--db-password=hunter2]}}}]",
        "  overrides: [{patches: [@{target: {kind: A}, json: [{op: add, path: /a, value: {name: TOKEN, value: x}}]}]}]",
        "  overrides: [{patches: [@{target: {kind: A}, merge: {spec: {env: [{name: A_TOKEN, value: abc}]}}}]}]",
    ],
)
def test_a_secret_in_the_file_is_refused(tmp_path: Path, line: str) -> None:
    application, place = marked(APPLICATION + line.replace("pw@host", "pw%host", 1) + "\n")
    application = application.replace("pw%host", "pw@host")
    code, found_place, text = one_problem(write(tmp_path, application=application))
    assert (code, found_place) == ("inline-secret", place), text
    assert "service.secrets" in text


@pytest.mark.parametrize("line", ["    env: {TOKEN_FILE: /etc/token}", "    env: {TOKEN_URL: https://a.example/t}"])
def test_the_place_of_a_secret_may_be_given(tmp_path: Path, line: str) -> None:
    assert problems_of(write(tmp_path, application=APPLICATION + line + "\n")) == ()


def test_a_secret_in_an_environment_is_refused_too(tmp_path: Path) -> None:
    application = APPLICATION + "  environments: [{name: a, spec: {service: {env: {A_TOKEN: abc}}}}]\n"
    assert one_problem(write(tmp_path, application=application))[0] == "inline-secret"


def test_an_autoscaler_beyond_the_quota_of_an_environment(tmp_path: Path) -> None:
    application = replaced(APPLICATION, IMAGE, IMAGE + "    resources: {requests: {cpu: 1}}\n")
    application += "  quota: {cpu: 8}\n"
    assert problems_of(write(tmp_path, application=application)) == ()
    application += "  environments: [{name: a, spec: {service: {autoscaling: {min: 2, max: 9}}}}]\n"
    code, _, text = one_problem(write(tmp_path, application=application))
    assert code == "quota-below-autoscaling"
    assert "10 pods of 1" in text


SCALING = "    resources: {requests: {cpu: 1}}\n    autoscaling: {min: 2, max: 4}\n"
BECOMES = [
    pytest.param("service: {autoscaling: {@min: 5}}", "bad-autoscaling", "no number", id="no number of pods"),
    pytest.param("service: {resources: {limits: {cpu: 500m}}}@", "request-above-limit", "may use", id="above a limit"),
    pytest.param("service: {autoscaling: {max: 9}}@", "quota-below-autoscaling", "have 11", id="beyond the quota"),
    pytest.param("network: {callers: [@nobody]}", "unknown-tier", "declared", id="a caller nobody knows"),
    pytest.param("traffic: {dnsTTL: @60s}", "dns-ttl-exceeds-rto", "63.", id="answers kept too long"),
]


@pytest.mark.parametrize("where", ["environments: [{name: a, spec: {%s}}]", "overrides: [{regions: [eu], spec: {%s}}]"])
@pytest.mark.parametrize(("change", "code", "words"), BECOMES)
def test_what_an_application_becomes_somewhere_is_judged(
    tmp_path: Path, where: str, change: str, code: str, words: str
) -> None:
    application = APPLICATION + SCALING + "  quota: {pods: 8}\n"
    assert problems_of(write(tmp_path, application=application)) == ()
    text, place = marked(application + f"  {where % change}\n")
    found, found_place, said = one_problem(write(tmp_path, application=text))
    assert found == code, said
    assert words in said
    assert "this applies with " + ("environment a" if "environments" in where else "override of eu") in said
    # What is wrong together with something else may be shown there.
    assert change.endswith("@") or "min" in change or found_place == place, said


def test_incompatible_layers_are_reported(tmp_path: Path) -> None:
    application = APPLICATION + SCALING + "  environments: [{name: a, spec: {service: {autoscaling: null}}}]\n"
    assert problems_of(write(tmp_path, application=application)) == ()
    application += "  overrides: [{regions: [eu], spec: {service: {autoscaling: {max: 6}}}}]\n"
    code, _, text = one_problem(write(tmp_path, application=application))
    assert code == "missing-key", text
    assert "environment a and override of eu" in text


def test_a_problem_that_applies_everywhere_is_reported_once(tmp_path: Path) -> None:
    line = "  sidecars: {envoy: {}}\n  traffic: {breaker: {errors: 1}}\n"
    line += "  environments: [{name: a}, {name: b, spec: {service: {replicas: 3}}}]\n"
    spec = load(write(tmp_path, application=APPLICATION + line))
    assert [each.code for each in spec.warnings] == ["aggressive-ejection"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("  traffic: {breaker: {ejectedMax: 100}}", "aggressive-ejection"),
        ("  traffic: {breaker: {errors: 1}}", "aggressive-ejection"),
    ],
)
def test_what_may_cascade_is_warned_about(tmp_path: Path, line: str, code: str) -> None:
    meshed = FLEET + "  mesh: {kind: istio}\n"
    spec = load(write(tmp_path, fleet=meshed, application=APPLICATION + line + "\n"))
    assert [(each.code, each.severity) for each in spec.warnings] == [(code, Severity.WARNING)]


TRAFFIC = (
    "traffic: {affinity: true, rateLimit: {perMinute: 60}, breaker: {errors: 5}, retries: {attempts: 1}, warmup: 1s,"
    " failover: [{from: us, to: jp}]}"
)


@pytest.mark.parametrize(
    ("mesh", "sidecars", "without_effect"),
    [
        ("none", "{}", ["rateLimit", "breaker", "retries", "affinity", "failover", "warmup"]),
        ("none", "{envoy: {}}", ["affinity", "failover", "warmup"]),
        ("istio", "{}", ["rateLimit"]),
        ("istio", "{envoy: {}}", []),
    ],
)
def test_a_traffic_setting_without_effect_is_warned_about(
    tmp_path: Path, mesh: str, sidecars: str, without_effect: list[str]
) -> None:
    application = f"{APPLICATION}  {TRAFFIC}\n  sidecars: {sidecars}\n"
    spec = load(write(tmp_path, fleet=f"{FLEET}  mesh: {{kind: {mesh}}}\n", application=application))
    assert {each.code for each in spec.warnings} <= {"no-effect"}
    assert [each.what for each in spec.warnings] == [f"traffic.{key} has no effect here" for key in without_effect]


@pytest.mark.parametrize(("promote", "codes"), [("true", []), ("false", ["every-region-at-once"])])
def test_a_change_for_every_region_at_once_is_warned_about(tmp_path: Path, promote: str, codes: list[str]) -> None:
    fleet = f"{FLEET}  gitops: {{repository: 'https://git.example.com/shop.git', promote: {promote}}}\n"
    assert [each.code for each in load(write(tmp_path, fleet=fleet)).warnings] == codes


def test_a_limit_that_few_pods_take_a_part_of_is_warned_about(tmp_path: Path) -> None:
    scaled = APPLICATION + "    replicas: 5\n    resources: {requests: {cpu: 1}}\n    autoscaling: {min: 5, max: %s}\n"
    limited = scaled + "  sidecars: {envoy: {}}\n  traffic: {rateLimit: {perMinute: 10000}}\n"
    (warning,) = load(write(tmp_path, application=limited % 10)).warnings
    assert warning.code == "rate-limit-in-shares"
    assert "a region with 5 pods takes 5000 of 10000 requests" in warning.what
    assert load(write(tmp_path, application=limited % 5)).warnings == ()


def test_names_that_a_clusters_dns_may_not_import_are_warned_about(tmp_path: Path) -> None:
    clouds = FLEET.replace("      location", "      provider: azure\n      location") + "  network: {names: true}\n"
    assert load(write(tmp_path, fleet=clouds)).warnings == ()
    (warning,) = load(write(tmp_path, fleet=clouds.replace("provider: azure", "provider: aws", 1))).warnings
    assert (warning.code, "CoreDNS of us does not" in warning.what) == ("names-to-import", True)


def test_monitoring_calls_only_where_the_fleet_has_it(tmp_path: Path) -> None:
    application, place = marked(APPLICATION + "  network: {callers: [@monitoring]}\n")
    code, found, text = one_problem(write(tmp_path, application=application))
    assert (code, found) == ("unknown-tier", place), text
    assert problems_of(write(tmp_path, fleet=FLEET + "  monitoring: {}\n", application=application)) == ()


def test_one_cluster_for_tier_1_is_refused(tmp_path: Path) -> None:
    application, place = marked(APPLICATION + "  placement: {tier: @1, regions: [us]}\n")
    code, found_place, text = one_problem(write(tmp_path, application=application))
    assert (code, found_place) == ("one-cluster-tier-1", place), text


def test_one_provider_for_tier_1_is_warned_about(tmp_path: Path) -> None:
    fleet = FLEET.replace("      location", "      provider: aws\n      location")
    spec = load(write(tmp_path, fleet=fleet, application=APPLICATION + "  placement: {tier: 1}\n"))
    assert [each.code for each in spec.warnings] == ["one-provider-tier-1"]


def test_layers_merge_in_order(tmp_path: Path) -> None:
    application = (
        APPLICATION
        + """\
    replicas: 3
    env: {A: one, B: two}
  environments:
    - {name: production, namespace: shop-live, spec: {service: {replicas: 5, env: {B: three}}}}
    - {name: test, spec: {service: {replicas: 1}}}
  overrides:
    - {regions: [eu], spec: {service: {replicas: 7}}}
    - {clusters: [eu], spec: {service: {env: {A: null}}}}
"""
    )
    spec = load(write(tmp_path, application=application))
    us, eu = (spec.on(cluster)[0] for cluster in ("us", "eu"))
    assert (us.namespace, us.spec.service.replicas, us.spec.service.env) == ("shop-live", 5, {"A": "one", "B": "three"})
    assert (eu.spec.service.replicas, eu.spec.service.env) == (7, {"B": "three"})
    assert spec.applications[0].namespace == "shop"


RANGES = {"us1": 1, "us2": 2, "eu1": 3, "eu2": 4}


def cluster(name: str, environment: str) -> str:
    return f"{{name: {name}, environment: {environment}, podCIDR: 10.{RANGES[name]}.0.0/16}}"


US1, US2 = cluster("us1", "live"), cluster("us2", "trial")
EU1, EU2 = cluster("eu1", "live"), cluster("eu2", "trial")


def with_clusters(**regions: str) -> str:
    """Return the Fleet with these clusters in its regions."""
    fleet = FLEET
    for region, clusters in regions.items():
        fleet = replaced(fleet, f"- name: {region}\n", f"- name: {region}\n      clusters: [{clusters}]\n")
    return fleet


SHARED = [
    pytest.param({"us": f"{US1}, {US2}"}, "us2", id="a second cluster of the region"),
    pytest.param({"us": US1, "eu": EU2}, "eu2", id="another region, whose standby would be theirs"),
    pytest.param({"us": f"{US1}, {US2}", "eu": f"{EU1}, {EU2}"}, "us2, eu2", id="both"),
]


@pytest.mark.parametrize(("clusters", "theirs"), SHARED)
@pytest.mark.parametrize("trial", ["spec: {service: {replicas: 1}}", "spec: {database: {replication: sync}}"])
def test_an_environment_never_gets_anothers_database(
    tmp_path: Path, clusters: dict[str, str], theirs: str, trial: str
) -> None:
    line = f"  environments: [{{name: live, namespace: shop-live}}, {{name: @trial, namespace: shop-trial, {trial}}}]\n"
    application, place = marked(APPLICATION + line)
    fleet = with_clusters(**clusters)
    code, found, text = one_problem(write(tmp_path, fleet=fleet, application=application))
    assert (code, found) == ("environments-share-database", place), text
    assert f"environment trial ({theirs}) would use the database of environment live (us1)" in text
    assert f"put {theirs} into a Fleet of its own" in text
    load(write(tmp_path, fleet=fleet.replace("environment: trial", "environment: live"), application=application))


def test_an_application_without_environments_is_not_run_in_two_of_the_fleet(tmp_path: Path) -> None:
    fleet = with_clusters(us=f"{US1}, {US2}")
    assert one_problem(write(tmp_path, fleet=fleet))[0] == "environments-share-database"
    elsewhere = APPLICATION + "  placement: {regions: [eu, jp]}\n"
    assert problems_of(write(tmp_path, fleet=fleet, application=elsewhere)) == ()


def test_clusters_that_name_no_environment_run_the_first(tmp_path: Path) -> None:
    application = APPLICATION + "  environments: [{name: live}, {name: trial}]\n"
    unnamed = "{name: us2, podCIDR: 10.2.0.0/16}"
    assert problems_of(write(tmp_path, fleet=with_clusters(us=f"{US1}, {unnamed}"), application=application)) == ()
    shared = with_clusters(us=f"{US2}, {{name: us3, podCIDR: 10.9.0.0/16}}")
    assert one_problem(write(tmp_path, fleet=shared, application=application))[0] == "environments-share-database"


def test_clusters_of_one_region_reach_each_other_by_address(tmp_path: Path) -> None:
    fleet, place = marked(with_clusters(us="{name: us1, podCIDR: 10.1.0.0/16}, @{name: us2}"))
    code, found, text = one_problem(write(tmp_path, fleet=fleet))
    assert (code, found) == ("cluster-without-addresses", place), text
    assert problems_of(write(tmp_path, fleet=with_clusters(us="{name: us1}", eu="{name: eu1}"))) == ()
