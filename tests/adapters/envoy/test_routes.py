"""Writes while no pod is ready beside the primary: other pods take them, and only those whose turn it is."""

import re
from dataclasses import replace

import pytest

from leeward.adapters.envoy.bootstrap import CLUSTERS_FILE
from leeward.adapters.envoy.listeners import routes_file
from leeward.adapters.envoy.render import keep_services, render
from leeward.adapters.envoy.routes import HIDDEN_DOTS, withheld
from leeward.ports.gateway import Exported
from tests.adapters.envoy.test_render import EU, JP, SETTINGS, US, route, writes


def cluster(where: object) -> str:
    assert isinstance(where, dict)
    return str(where["route"]["cluster"])


def test_our_own_pods_stand_in_and_take_what_peers_send_here() -> None:
    ours = replace(route(EU), stand_in=US)
    assert cluster(writes("users", ours)) == "pods.payments"
    assert cluster(writes("peers", ours)) == "pods.payments"


def test_a_peers_pods_stand_in_and_what_others_send_here_is_refused() -> None:
    theirs = replace(route(US), stand_in=JP)
    assert cluster(writes("users", theirs)) == "http.jp"
    assert "wrong-region" in writes("peers", theirs)["direct_response"]["body"]["inline_string"]


@pytest.mark.parametrize(
    ("named", "asked", "refused"),
    [
        ("/metrics", "/metrics", True),
        ("/metrics/", "/metrics", True),
        ("/a//b", "/a/b", True),
        ("/%6detrics", "/metrics", True),
        ("/caf\u00e9", "/caf%C3%A9", True),
        ("/caf%c3%a9", "/caf%C3%A9", True),
        ("/a.b", "/a.b", True),
        ("/a.b", "/a%2Eb", True),
        ("/a.b", "/axb", False),
        ("/a+b", "/a%2Bb", True),
        ("/a+b", "/aab", False),
        ("/a(b", "/a(b", True),
        ("/metrics", "/metricsx", False),
        ("/a/b", "/ab", False),
    ],
)
def test_a_path_is_withheld_as_it_is_named(named: str, asked: str, refused: bool) -> None:
    assert bool(re.fullmatch(withheld(named), asked)) is refused


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("/x/..%2fmetrics", True),
        ("/x/..;/metrics", True),
        ("/..;a=b/metrics", True),
        ("/.;/metrics", True),
        ("/x%2f..", True),
        ("/x%5c%2e%2e/y", True),
        ("/a%2F.%C3%A9tat", False),
        ("/a..b%2fc", False),
        ("/v1.2/x", False),
        ("/x/.well-known/y", False),
        ("/x/...%2fy", False),
    ],
)
def test_dots_that_a_server_may_resolve_are_refused(path: str, refused: bool) -> None:
    assert bool(re.fullmatch(HIDDEN_DOTS, path)) is refused


def test_services_that_are_half_written_are_not_kept() -> None:
    files = render(SETTINGS, (route(EU),))
    assert keep_services(files, {}) == files
    assert keep_services(files, {CLUSTERS_FILE: ""}) == files
    alone = {CLUSTERS_FILE: files[CLUSTERS_FILE], "eds.reports.shop.json": "{}"}
    assert set(keep_services(files, alone)) == set(files), "no cluster refers to the list"
    shared = render(SETTINGS, (route(US),), (Exported("reports", "shop", (), (US,)),))
    kept = keep_services(files, shared)
    assert {name for name in kept if "reports" in name} == {"eds.reports.shop.json"}
    assert kept[routes_file("services")] == shared[routes_file("services")]
    assert kept[routes_file("users")] == files[routes_file("users")]
