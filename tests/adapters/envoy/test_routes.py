"""Writes while no pod is ready beside the primary: other pods take them, and only those whose turn it is."""

from dataclasses import replace

from tests.adapters.envoy.test_render import EU, JP, US, route, writes


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
