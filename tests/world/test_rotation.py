"""Every authority of a running world is exchanged: no request fails, nobody is refused, and only etcd restarts."""

import json
import re
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509

from leeward.core.identities import CA
from leeward.world import authorities
from tests.world.running import REQUEST_TIMEOUT_S, Running, Writer, patient, running
from tests.world.test_renewal import certificates

pytestmark = [pytest.mark.world, pytest.mark.timeout(900)]

US, EU = "us-east-1", "europe-west1"


@pytest.fixture(scope="module")
def world() -> Iterator[Running]:
    with running("rotation", patient) as found:
        yield found


def restarts(world: Running) -> dict[str, int]:
    """Return how often the containers of each pod were restarted, by region and pod."""
    found = {}
    for region in world.urls():
        pods = json.loads(world.done("get", "pods", "--region", region, "--all-namespaces", "-o", "json"))["items"]
        for pod in pods:
            name = f"{region}/{pod['metadata']['name']}"
            found[name] = sum(each["restartCount"] for each in pod["status"]["containerStatuses"])
    return found


def refused(world: Running) -> list[str]:
    """Return what the servers of all regions refused, as their agents tell."""
    found = []
    for region in world.urls():
        metrics = world.until(partial(world.metrics, region), "its agent answers")
        found += [
            f"{region}: {line}" for line in re.findall(r"^leeward_clients_refused_total.*$", metrics, re.MULTILINE)
        ]
    return found


def test_every_authority_is_exchanged_under_load(world: Running, tmp_path: Path) -> None:
    before = world.settled()
    old_operator = shutil.copytree(world.directory / "operator", tmp_path / "old")
    issued, restarted = certificates(world), restarts(world)
    # The look at what servers show was refused itself.
    known = refused(world)
    with Writer(world, EU, "rotated") as writer:
        world.until(lambda: len(writer.acknowledged) > 10, "somebody writes")
        said = world.done("rotate-authorities")
    assert "exchanged" in said
    after = world.settled()
    assert (after["primary"], after["epoch"]) == (before["primary"], before["epoch"])
    assert writer.failed == 0
    assert writer.acknowledged <= world.found(US, "rotated")
    assert refused(world) == known
    again = restarts(world)
    assert {name: count - restarted[name] for name, count in again.items() if count != restarted[name]} == {
        f"{region}/etcd-0": 2 for region in world.urls()
    }
    assert set(again) == set(restarted), "no pod was replaced"
    # Every server shows one of the new authority, and nothing else of the old one is left.
    assert {who for who, found in certificates(world).items() if found.issuer == issued[who].issuer} == set()
    kept = {path.name for path in (world.directory / authorities.DIRECTORY).iterdir()}
    assert not [name for name in kept if ".next." in name]
    assert len(x509.load_pem_x509_certificates((world.directory / "operator" / CA).read_bytes())) == 1
    # What was issued by the old one is refused.
    tls = ssl.create_default_context(cafile=world.directory / "operator" / CA)
    tls.check_hostname = False
    tls.load_cert_chain(old_operator / "tls.crt", old_operator / "tls.key")
    with pytest.raises((ssl.SSLError, ConnectionError, urllib.error.URLError)):
        urllib.request.urlopen(f"{world.urls('agent_url')[US]}/v1/status", context=tls, timeout=REQUEST_TIMEOUT_S)
    assert refused(world) != known
    world.done("switchover", "payments", "--to", EU, "--timeout", "120s")
