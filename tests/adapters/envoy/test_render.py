"""What the files say, without Envoy."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leeward.adapters.envoy.bootstrap import bootstrap, command
from leeward.adapters.envoy.render import render, version
from leeward.adapters.envoy.routes import TIMEOUT
from leeward.adapters.envoy.settings import READY_HOST, GatewayApp, GatewaySettings, Limits
from leeward.core.values import App, Region
from leeward.ports.gateway import Address, Route

GOLDEN = Path(__file__).with_name("golden_primary_eu.json")
US, EU, JP = Region("us"), Region("eu"), Region("jp")
PAY, SHOP = App("payments"), App("shop")
PAYMENTS = GatewayApp(
    name=PAY,
    host="pay.example.com",
    postgres_port=5432,
    egress={US: 15001, EU: 15002, JP: 15003},
    withheld_paths=("/metrics",),
)
# It has no database in the United States.
SHOPPING = GatewayApp(name=SHOP, host="shop.example.com", postgres_port=5433, egress={EU: 15102, JP: 15103})
SETTINGS = GatewaySettings(
    region=US,
    apps=(PAYMENTS,),
    host="127.10.1.2",
    peers={EU: Address("127.10.2.2", 8443), JP: Address("127.10.3.2", 8443)},
    identity_dir="/etc/leeward/identity",
    config_dir="/var/gateway",
    limits=Limits(groups=2),
)
POD = Address("127.10.1.10", 8000)
POSTGRES = Address("127.10.1.5", 5432)


BOTH = replace(SETTINGS, apps=(PAYMENTS, SHOPPING))


def route(primary: Region | None = US, *, app: App = PAY, instance: Address | None = POSTGRES) -> Route:
    return Route(app, 7, (POD,), instance, primary, (EU, JP))


def resources(*routes: Route, file: str) -> list[Any]:
    settings = BOTH if {each.app for each in routes} == {PAY, SHOP} else SETTINGS
    return list(json.loads(render(settings, routes)[file])["resources"])


def listener(name: str, *routes: Route) -> Any:
    return next(each for each in resources(*routes, file="lds.json") if each["name"] == name)


def tcp_target(name: str, *routes: Route) -> str:
    return str(listener(name, *routes)["filter_chains"][0]["filters"][-1]["typed_config"]["cluster"])


def writes(table: str, *routes: Route, app: App = PAY) -> Any:
    (config,) = resources(*routes, file=f"rds.{table}.json")
    return next(host for host in config["virtual_hosts"] if host["name"] == app)["routes"][-1]


def test_golden_files() -> None:
    """To accept a change that you can explain: delete the golden file and run twice."""
    files = {name: json.loads(document) for name, document in render(SETTINGS, (route(EU),)).items()}
    actual = json.dumps(files, indent=1) + "\n"
    if not GOLDEN.exists():
        GOLDEN.write_text(actual)
        pytest.fail(f"wrote {GOLDEN}; look at it and run again")
    assert actual == GOLDEN.read_text()


def test_same_routes_give_the_same_files_in_any_order() -> None:
    one, two = route(), route(app=SHOP)
    assert render(BOTH, (one, two)) == render(BOTH, (two, one))


def test_a_change_of_primary_touches_only_routes_and_the_primary_listener() -> None:
    before, after = render(SETTINGS, (route(US),)), render(SETTINGS, (route(EU),))
    changed = [name for name in after if before[name] != after[name]]
    assert changed == ["rds.users.json", "rds.peers.json", "lds.json"]
    assert version(before["lds.json"]) != version(after["lds.json"])
    old, new = resources(route(US), file="lds.json"), resources(route(EU), file="lds.json")
    assert [b["name"] for a, b in zip(old, new, strict=True) if a != b] == ["primary.payments"]


def test_ready_pods_touch_only_their_own_file() -> None:
    more = Route(PAY, 7, (POD, Address("127.10.1.11", 8000)), POSTGRES, US, (EU, JP))
    before, after = render(SETTINGS, (route(),)), render(SETTINGS, (more,))
    assert [name for name in after if before[name] != after[name]] == ["eds.payments.json"]


@pytest.mark.parametrize(
    ("primary", "target"),
    [
        pytest.param(US, "local.payments", id="here: directly"),
        pytest.param(EU, "spare.payments.eu", id="elsewhere: through a tunnel"),
        pytest.param(None, "nowhere", id="nobody: closed at once"),
        pytest.param(Region("mars"), "nowhere", id="a region that is no peer"),
    ],
)
def test_primary_port(primary: Region | None, target: str) -> None:
    assert tcp_target("primary.payments", route(primary)) == target


def test_a_region_without_replica_has_no_local_postgres() -> None:
    assert tcp_target("egress.payments.us", route(EU, instance=None)) == "nowhere"
    assert tcp_target("egress.payments.eu", route(EU, instance=None)) == "spare.payments.eu"
    names = [cluster["name"] for cluster in resources(route(EU, instance=None), file="cds.json")]
    assert not {"local.payments", "late.payments"} & set(names)


def test_each_application_has_ports_that_lead_to_its_own_database() -> None:
    both = (route(EU), route(JP, app=SHOP, instance=None))
    ports = {
        each["address"]["socket_address"]["port_value"]: tcp_target(each["name"], *both)
        for each in resources(*both, file="lds.json")
        if each["name"].startswith(("primary.", "egress."))
    }
    assert ports == {
        5432: "spare.payments.eu",
        15001: "local.payments",
        15002: "spare.payments.eu",
        15003: "spare.payments.jp",
        5433: "spare.shop.jp",
        15102: "spare.shop.eu",
        15103: "spare.shop.jp",
    }


def test_a_tunnel_asks_for_its_application_and_ends_at_no_other() -> None:
    both = (route(EU), route(JP, app=SHOP, instance=None))
    proxy = listener("tunnel.shop.eu", *both)["filter_chains"][0]["filters"][0]["typed_config"]
    assert (proxy["cluster"], proxy["tunneling_config"]["hostname"]) == ("postgres.eu", "shop.postgres")
    (streams,) = (
        chain["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
        for chain in listener("peers", *both)["filter_chains"]
        if chain["name"] == "postgres.us"
    )
    ends = [(host["domains"], host["routes"][0]["route"]["cluster"]) for host in streams]
    assert ends == [(["payments.postgres"], "late.payments")]  # shop has no database here


def test_a_failover_of_one_leaves_the_others_listeners_alone() -> None:
    other = route(EU, app=SHOP, instance=None)
    old, new = (resources(route(primary), other, file="lds.json") for primary in (US, EU))
    assert [b["name"] for a, b in zip(old, new, strict=True) if a != b] == ["primary.payments"]


@pytest.mark.parametrize("table", ["users", "peers"])
def test_writes_are_repeated_only_when_nothing_was_sent(table: str) -> None:
    policy = writes(table, route(US))["route"]["retry_policy"]
    assert policy["retry_on"] == "connect-failure,refused-stream"


def test_a_forwarded_write_does_not_wait_for_a_black_hole_again_and_again() -> None:
    policy = writes("users", route(EU))["route"]["retry_policy"]
    assert policy["retry_on"] == "refused-stream"


def test_peers_never_make_this_gateway_forward() -> None:
    refused = writes("peers", route(EU))["direct_response"]
    assert refused["status"] == 503
    assert json.loads(refused["body"]["inline_string"])["code"] == "wrong-region"
    (config,) = resources(route(EU), file="rds.peers.json")
    targets = {
        each["route"]["cluster"] for host in config["virtual_hosts"] for each in host["routes"] if "route" in each
    }
    assert targets == {"pods.payments"}


def test_several_applications_are_told_apart_by_host() -> None:
    (config,) = resources(route(), route(EU, app=SHOP), file="rds.users.json")
    # DNS providers check each region by its own name.
    regional = {
        app: [f"{app}-{region}.example.com{port}" for region in (EU, JP, US) for port in ("", ":*")]
        for app in ("pay", "shop")
    }
    assert [host["domains"] for host in config["virtual_hosts"]] == [
        ["payments", "payments.*", "payments:*", "pay.example.com", "pay.example.com:*", *regional["pay"]],
        ["shop", "shop.*", "shop:*", *regional["shop"]],
    ]
    assert writes("users", route(), route(EU, app=SHOP), app=SHOP)["route"]["cluster"] == "http.eu"


def test_only_peers_certificates_are_accepted() -> None:
    for chain in listener("peers", route())["filter_chains"]:
        tls = chain["transport_socket"]["typed_config"]
        assert tls["require_client_certificate"] is True
        trusted = tls["common_tls_context"]["combined_validation_context"]
        names = trusted["default_validation_context"]["match_typed_subject_alt_names"]
        assert [name["matcher"]["exact"] for name in names] == ["eu", "jp"]


def test_what_is_shown_and_trusted_is_read_again_when_its_directory_changes() -> None:
    watched = {"path": SETTINGS.identity_dir}
    for name, field in (("identity", "tls_certificate"), ("trust", "validation_context")):
        (secret,) = resources(route(), file=f"sds.{name}.json")
        assert (secret["name"], secret[field]["watched_directory"]) == (name, watched)
    assert [name for name in render(SETTINGS, (route(),)) if name.startswith("sds.")] == list(render(SETTINGS, ()))[:2]


def test_a_fleet_of_one_region_opens_no_port_to_peers() -> None:
    only = replace(PAYMENTS, egress={US: 15001})
    alone = GatewaySettings(region=US, apps=(only,), host="127.10.1.2", peers={}, identity_dir="/i", config_dir="/c")
    files = render(alone, (route(),))
    assert [name for name in files if name.startswith("sds.")] == [], "Envoy would not confirm them"
    listeners = json.loads(files["lds.json"])["resources"]
    assert [each["name"] for each in listeners] == ["users", "services", "primary.payments", "egress.payments.us"]


def test_bootstrap_watches_the_listeners_apart_from_all_that_changes_more_often() -> None:
    dynamic = bootstrap(SETTINGS)["dynamic_resources"]
    assert dynamic["lds_config"]["path_config_source"] == {
        "path": "/var/gateway/lds.json",
        "watched_directory": {"path": "/var/gateway/listeners"},
    }
    assert dynamic["cds_config"]["path_config_source"]["watched_directory"] == {"path": "/var/gateway"}
    assert "mkdir -p /var/gateway/listeners" in command(SETTINGS, "/etc/gateway/bootstrap.json")[2]


def test_the_administration_is_a_socket_of_the_pod() -> None:
    document = bootstrap(SETTINGS)
    assert document["admin"] == {"address": {"pipe": {"path": "/var/gateway/admin.sock", "mode": 0o600}}}
    ports = [port for port in _ports([document]) if port == SETTINGS.metrics_port]
    assert ports == [9901], "one listener shows the two pages"
    assert json.dumps(document).count('"admin.sock') == 0
    assert json.dumps(render(SETTINGS, (route(),))).count("admin.sock") == 0, "no route of users or peers leads there"


def test_only_two_pages_lead_to_the_administration() -> None:
    (listener,) = bootstrap(SETTINGS)["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (host,) = manager["route_config"]["virtual_hosts"]
    leading = [each for each in host["routes"] if "route" in each]
    assert [
        {header["name"]: header["string_match"]["exact"] for header in each["match"]["headers"]} for each in leading
    ] == [{":method": "GET", ":path": "/ready"}, {":method": "GET", ":path": "/stats/prometheus"}]
    assert host["routes"][-1]["match"] == {"prefix": "/"}
    assert host["routes"][-1]["direct_response"]["status"] == 403


def test_users_and_pods_share_a_number_of_connections_and_nobody_else() -> None:
    limited = [
        each["name"]
        for each in resources(route(), file="lds.json")
        if "internal_listener" not in each and not each["ignore_global_conn_limit"]
    ]
    assert limited == ["users", "services"]
    found = bootstrap(SETTINGS)["overload_manager"]["resource_monitors"]
    monitors = {each["name"]: each["typed_config"] for each in found}
    connections = monitors["envoy.resource_monitors.global_downstream_max_connections"]
    assert connections["max_active_downstream_connections"] == SETTINGS.limits.connections_max


def test_whoever_fills_a_port_leaves_replication_and_other_applications_what_they_need() -> None:
    both = (route(US), route(EU, app=SHOP))
    found = {each["name"]: each for each in resources(*both, file="lds.json")}
    regions = 1 + len(BOTH.peers)

    def lets_in(name: str) -> int:
        return int(found[name]["filter_chains"][0]["filters"][0]["typed_config"]["max_connections"])

    def carries(name: str, what: str) -> int:
        (cluster,) = (each for each in resources(*both, file="cds.json") if each["name"] == name)
        return int(cluster["circuit_breakers"]["thresholds"][0][what])

    one_region = lets_in("primary.payments") + lets_in("egress.payments.eu")
    assert carries("spare.payments.eu", "max_connections") > one_region
    assert carries("local.payments", "max_connections") >= regions * one_region
    assert carries("late.payments", "max_connections") >= len(BOTH.peers) * carries(
        "spare.payments.eu", "max_connections"
    )
    tunnels = sum(carries(f"spare.{app}.eu", "max_connections") for app in (PAY, SHOP))
    assert carries("postgres.eu", "max_requests") >= tunnels
    assert carries("postgres.eu", "max_pending_requests") >= tunnels


@pytest.mark.parametrize("name", ["users", "services"])
def test_nothing_of_users_waits_for_ever(name: str) -> None:
    manager = listener(name, route())["filter_chains"][0]["filters"][-1]["typed_config"]
    waits = (
        manager["request_headers_timeout"],
        manager["request_timeout"],
        manager["stream_idle_timeout"],
        manager["common_http_protocol_options"]["idle_timeout"],
    )
    assert waits == ("10s", "300s", "60s", "60s")
    assert SETTINGS.limits.silent_s > float(TIMEOUT.removesuffix("s")), "a slow pod is a 504, and no fault of the user"


@pytest.mark.parametrize("name", ["users", "services"])
def test_an_upload_is_no_slower_than_a_long_way_allows(name: str) -> None:
    manager = listener(name, route())["filter_chains"][0]["filters"][-1]["typed_config"]
    per_round_trip = manager["http2_protocol_options"]["initial_stream_window_size"]
    assert per_round_trip / 0.2 >= 10**6, "bytes per second, 200 ms away"
    assert manager["http2_protocol_options"]["initial_connection_window_size"] >= 4 * per_round_trip


def test_what_is_asked_of_the_users_port_is_no_request_of_users() -> None:
    ready, *_, router = listener("users", route())["filter_chains"][0]["filters"][-1]["typed_config"]["http_filters"]
    assert ready["name"] == "envoy.filters.http.health_check"
    assert ready["typed_config"]["headers"] == [{"name": ":authority", "string_match": {"exact": READY_HOST}}]
    assert router["name"] == "envoy.filters.http.router"


def _ports(documents: list[Any]) -> list[int]:
    """Return every port number anywhere in the documents."""
    found = []
    for each in documents:
        if isinstance(each, dict):
            found += [value for key, value in each.items() if key == "port_value"]
            found += _ports(list(each.values()))
        elif isinstance(each, list):
            found += _ports(each)
    return found


def test_command_becomes_envoy() -> None:
    shell, flag, script, envoy, *options = command(SETTINGS, "/etc/gateway/bootstrap.json", envoy="/opt/envoy")
    assert (shell, flag, envoy) == ("/bin/sh", "-c", "/opt/envoy")
    assert script.endswith('exec "$0" "$@"; }')
    assert options[:2] == ["-c", "/etc/gateway/bootstrap.json"]
