"""A world that outlives its certificates: whoever serves shows renewed ones, and nothing else changes."""

import asyncio
import datetime
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from leeward.core.identities import CERTIFICATE, KEY, PEER_CERTIFICATE, PEER_KEY, instance_host
from leeward.operate import assemble
from tests.world.running import STALL_MAX_S, Running, Writer, copied, patient

pytestmark = [pytest.mark.world, pytest.mark.timeout(600)]

US, EU = "us-east-1", "europe-west1"
VALID_S = 60.0
MEMBER = "leeward-store-member"
ENDPOINTS = {
    "API server": (1, 6443, US, None),
    "gateway": (2, 8443, f"http.{US}", None),
    "store, for clients": (3, 2379, US, (MEMBER, CERTIFICATE, KEY)),
    "store, for members": (3, 2380, US, (MEMBER, PEER_CERTIFICATE, PEER_KEY)),
    "agent": (4, 7443, US, None),
    "instance manager": (5, 8008, instance_host("payments", US), None),
}
"""Address, port, name; and what to show to etcd, which over TLS 1.2 refuses who shows nothing."""
SHOWN = """
import json, socket, ssl, sys, tempfile
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_alpn_protocols(["h2", "http/1.1"])
def shown(last, port, name, pair):
    if pair is not None:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("".join(pair))
            file.flush()
            context.load_cert_chain(file.name)
    with socket.create_connection((f"127.10.1.{last}", port), timeout=20) as raw:
        with context.wrap_socket(raw, server_hostname=name) as tls:
            return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True))
print(json.dumps({who: shown(*endpoint) for who, endpoint in json.load(sys.stdin).items()}))
"""


def certificates(world: Running) -> dict[str, x509.Certificate]:
    """Return what each server of a region shows in a new handshake."""
    info = json.loads((world.directory / "world.json").read_text("utf-8"))
    (here,) = (each for each in info["regions"] if each["name"] == US)
    # One file, replaced in one step: a certificate is found with its own key.
    path = world.directory / "regions" / US / "manifests" / "objects.json"
    secrets = {
        item["metadata"]["name"]: item["stringData"]
        for item in json.loads(path.read_text("utf-8"))
        if item["kind"] == "Secret"
    }
    asked = {
        who: (*endpoint, None if pair is None else [secrets[pair[0]][file] for file in pair[1:]])
        for who, (*endpoint, pair) in ENDPOINTS.items()
    }
    user = ["--user", "--preserve-credentials"] if info["isolation"] == "user-namespace" else []
    done = subprocess.run(
        ["nsenter", "--target", str(here["pid"]), *user, "--net", sys.executable, "-c", SHOWN],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {who: x509.load_pem_x509_certificate(pem.encode()) for who, pem in json.loads(done.stdout).items()}


def outlives(world: Running, made_at: datetime.datetime) -> None:
    """Watch a world until every server shows a certificate that was issued after the first ones had expired."""
    before = world.settled()
    # And while somebody writes.
    since = max(made_at + datetime.timedelta(seconds=VALID_S), datetime.datetime.now(datetime.UTC))

    def renewed() -> bool:
        asked_at = datetime.datetime.now(datetime.UTC)
        shown = certificates(world)
        assert [who for who, found in shown.items() if found.not_valid_after_utc <= asked_at] == [], "expired"
        return all(found.not_valid_before_utc > since for found in shown.values())

    # Its requests go from region to region, through both gateways.
    with Writer(world, EU, "renewed") as writer:
        world.until(renewed, "every server shows a renewed certificate")
    after = world.settled()
    assert (after["primary"], after["epoch"]) == (before["primary"], before["epoch"])
    valid = ("True", "InTime")
    world.until(lambda: world.conditions().get("CertificatesValid") == valid, "each region tells of its own")
    exported = 'leeward_certificate_expiry_timestamp_seconds{certificate="instance-payments"}'
    world.until(lambda: exported in world.metrics(US), "it is exported when they expire")
    assert writer.acknowledged
    assert writer.longest_gap_s < STALL_MAX_S
    assert writer.acknowledged <= world.found(US, "renewed")


async def test_a_world_outlives_its_certificates(home: Path, tmp_path: Path) -> None:
    files = copied(tmp_path / "files", patient)
    made_at = datetime.datetime.now(datetime.UTC)
    built = assemble.assemble(files, "renewal", certificates_s=VALID_S)
    world = await assemble.launch_assembly(built, print)
    try:
        await asyncio.to_thread(outlives, Running("renewal", home, files), made_at)
    finally:
        await world.down()
