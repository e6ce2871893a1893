"""Who is let in where, in a running world: every identity at every port, from inside a region's network."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from leeward.core.codec import decode
from leeward.core.identities import CA, CERTIFICATE, KEY, PEER_CA, PEER_CERTIFICATE, PEER_KEY, instance_host
from leeward.world import identity
from leeward.world.identity import Files
from leeward.world.model import WorldConfig
from tests.world.running import Running, patient, running

pytestmark = [pytest.mark.world, pytest.mark.timeout(600)]

US, EU = "us-east-1", "europe-west1"
REFUSED = "refused"
NOBODY = "no certificate"
# What a connection is for: the first bytes of the answer say how it went. Envoy's gateways speak HTTP/2 only.
ASK = """
import json, socket, ssl, sys, tempfile
from pathlib import Path
def ask(host, port, name, request, files):
    protocol = "h2" if request.startswith("PRI") else "http/1.1"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    if files:
        with tempfile.TemporaryDirectory() as directory:
            for file in ("tls.crt", "tls.key"):
                Path(directory, file).write_text(files[file])
            context.load_cert_chain(Path(directory, "tls.crt"), Path(directory, "tls.key"))
    try:
        with socket.create_connection((host, port), timeout=20) as raw:
            with context.wrap_socket(raw, server_hostname=name) as tls:
                tls.sendall(request.encode("latin-1"))
                answer = b""
                while len(answer) < 12 and (chunk := tls.recv(4096)):
                    answer += chunk
    except (ssl.SSLError, ConnectionError):
        return "refused"
    if protocol == "h2":
        return "accepted" if answer[3:4] == b"\\x04" else "refused"
    return answer[9:12].decode() or "refused"
print(json.dumps([ask(*each) for each in json.load(sys.stdin)]))
"""


def http(method: str, path: str, body: str = "", headers: str = "") -> str:
    length = f"Content-Length: {len(body)}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{length}{headers}Connection: close\r\n\r\n{body}"


def on_store(verb: str, **body: str) -> str:
    return http("POST", f"/v3/kv/{verb}", json.dumps({"key": "AA==", **body}))


SWITCH = '{"to": "europe-west1"}'
SETTINGS = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
ENDPOINTS = {
    "2379 range": (3, 2379, US, on_store("range", range_end="AA==")),
    "2379 put": (3, 2379, US, on_store("put", value="AA==")),
    "2379 deleterange": (3, 2379, US, on_store("deleterange")),
    "2380": (3, 2380, US, http("GET", "/version")),
    "7443 read": (4, 7443, US, http("GET", "/v1/vantage")),
    "7443 switchover": (4, 7443, US, http("POST", "/v1/apps/payments/switchover", SWITCH)),
    "7443 passed on": (
        4,
        7443,
        US,
        http("POST", "/v1/apps/payments/switchover", SWITCH, "X-Leeward-Forwarded: x\r\n"),
    ),
    "8008": (5, 8008, instance_host("payments", US), http("GET", "/v1/status")),
    **{f"8443 {name}": (2, 8443, f"{name}.{US}", SETTINGS) for name in ("http", "postgres", "services")},
}
EITHER = (US, EU)
STORE = {"2379 range": "200", "2379 put": "200", "2379 deleterange": "200"}
OPEN = {
    "operator": {"7443 read": "200"},
    **{f"agent {region}": {"7443 read": "200"} for region in EITHER},
    **{f"store_client {region}": STORE for region in EITHER},
    # Its own JSON gateway shows the member's certificate to the member.
    **{f"store_member {region}": STORE for region in EITHER},
    **{f"store_peer {region}": {"2380": "200"} for region in EITHER},
    f"gateway {EU}": dict.fromkeys(("8443 http", "8443 postgres", "8443 services"), "accepted"),
}
"""By identity: where it is let in (a gateway at those of other regions), and how it is answered.

Everywhere else it is refused before a request is read.
"""
ANSWERED = {
    # Who may read is answered that an operator has to sign.
    **{
        (who, endpoint): "403"
        for who in (f"agent {US}", f"agent {EU}", "operator")
        for endpoint in ("7443 switchover", "7443 passed on")
    },
    (f"agent {US}", "8008"): "200",
    ("operator", "8008"): "200",
    # Another region's agent is of the fleet, and gives no orders here.
    (f"agent {EU}", "8008"): "403",
}


@pytest.fixture(scope="module")
def world() -> Iterator[Running]:
    with running("identities", patient) as found:
        yield found


def everybody(world: Running) -> dict[str, Files]:
    """Return every identity there is in two regions, and those that nobody should have made."""
    config = decode(WorldConfig, (world.directory / "config.json").read_text("utf-8"))
    made, stranger = identity.read(config), identity.create(config.fleet, {US: 1})
    found: dict[str, Files] = {NOBODY: {}, "operator": made.operator, "stranger": stranger.regions[US].agent}
    for region in EITHER:
        each = made.regions[region]
        member = each.store_member
        found |= {
            f"agent {region}": each.agent,
            f"store_client {region}": each.store_client,
            f"store_member {region}": member,
            f"store_peer {region}": {
                CA: member[PEER_CA],
                CERTIFICATE: member[PEER_CERTIFICATE],
                KEY: member[PEER_KEY],
            },
            f"gateway {region}": each.gateway,
            f"cluster {region}": each.cluster,
            f"payments {region}": secret_of(world, region, "payments", "payments-identity"),
            f"shop {region}": made.instance("shop", region),
        }
    return found


def secret_of(world: Running, region: str, namespace: str, name: str) -> Files:
    path = world.directory / "regions" / region / "manifests" / "objects.json"
    (found,) = (
        item["stringData"]
        for item in json.loads(path.read_text("utf-8"))
        if (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) == ("Secret", namespace, name)
    )
    return dict(found)


def ask(world: Running, asked: list[tuple[str, int, str, str, Files]]) -> list[str]:
    info = json.loads((world.directory / "world.json").read_text("utf-8"))
    (here,) = (each for each in info["regions"] if each["name"] == US)
    user = ["--user", "--preserve-credentials"] if info["isolation"] == "user-namespace" else []
    done = subprocess.run(
        ["nsenter", "--target", str(here["pid"]), *user, "--net", sys.executable, "-c", ASK],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[str] = json.loads(done.stdout)
    return answers


def test_every_identity_is_let_in_for_its_purpose_only(world: Running) -> None:
    before = world.settled()
    known = everybody(world)
    table = [(who, endpoint) for who in known for endpoint in ENDPOINTS]
    asked = [(f"127.10.1.{ENDPOINTS[endpoint][0]}", *ENDPOINTS[endpoint][1:], known[who]) for who, endpoint in table]
    found = dict(zip(table, ask(world, asked), strict=True))
    expected = {each: ANSWERED.get(each, OPEN.get(each[0], {}).get(each[1], REFUSED)) for each in table}
    assert found == expected
    after = world.settled()
    assert (after["primary"], after["epoch"]) == (before["primary"], before["epoch"])


def test_no_pod_of_an_application_holds_another_key_than_its_instances(world: Running) -> None:
    known = everybody(world)
    path = world.directory / "regions" / US / "manifests" / "objects.json"
    secrets: list[dict[str, Any]] = [item for item in json.loads(path.read_text("utf-8")) if item["kind"] == "Secret"]
    holding = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): {
            who for who, files in known.items() if files.get(KEY, "none") in item["stringData"].values()
        }
        for item in secrets
    }
    assert {key: who for key, who in holding.items() if who} == {
        ("leeward-system", "leeward-agent"): {f"agent {US}"},
        ("leeward-system", "leeward-store-client"): {f"store_client {US}"},
        ("leeward-system", "leeward-store-member"): {f"store_member {US}", f"store_peer {US}"},
        ("leeward-system", "leeward-gateway"): {f"gateway {US}"},
        ("payments", "payments-identity"): {f"payments {US}"},
    }
