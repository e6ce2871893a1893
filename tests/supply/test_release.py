"""What a release consists of: the same source gives the same bytes, and the SBOM lists what the lock file pins."""

import hashlib
import json
import os
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.supply.locks import HASH, ROOT, RUNTIME, entries, pins

pytestmark = pytest.mark.supply

BUILD_S = 240


def made(target: str, directory: Path, *options: str) -> Path:
    """Make a target into the directory, without what a surrounding make passes on."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--silent", target, f"DIST={directory}", *options]
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=BUILD_S, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return directory


def sbom(directory: Path) -> dict[str, Any]:
    (path,) = made("sbom", directory).glob("leeward-*.cdx.json")
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return loaded


def test_the_sbom_lists_what_the_lock_file_pins_with_its_hashes(tmp_path: Path) -> None:
    document = sbom(tmp_path)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["name"] == "leeward"
    components = document["components"]
    assert {each["name"]: each["version"] for each in components} == pins(RUNTIME)
    assert [each["purl"] for each in components if not each["purl"].startswith("pkg:pypi/")] == []
    assert digests(document) == {digest for entry in entries(RUNTIME) for digest in HASH.findall(entry)}


def digests(document: Any) -> set[str]:
    """Return every SHA-256 in a document."""
    if isinstance(document, list):
        return set().union(*map(digests, document))
    if not isinstance(document, dict):
        return set()
    own = {document["content"]} if document.get("alg") == "SHA-256" else set()
    return own.union(*map(digests, document.values()))


def test_a_release_is_the_same_whoever_builds_it(tmp_path: Path) -> None:
    first, second = (made("dist", tmp_path / name) for name in ("first", "second"))
    sums = (first / "SHA256SUMS").read_text("utf-8")
    assert sums == (second / "SHA256SUMS").read_text("utf-8")
    listed = {name: digest for digest, name in (line.split() for line in sums.splitlines())}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in first.glob("leeward-*")}
    assert listed == found
    assert [sum(name.endswith(end) for name in listed) for end in (".whl", ".tar.gz", ".cdx.json")] == [1, 1, 1]
    (wheel,) = first.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if not name.startswith(("leeward/", "leeward-"))] == []
    (source,) = first.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        held = archive.getnames()
    assert [name for name in held if "/.venv/" in name or name.endswith((".key", ".pem"))] == []


@pytest.mark.signing
def test_a_signed_release_is_verified_and_a_changed_one_refused(tmp_path: Path) -> None:
    key, signers, release = tmp_path / "key", tmp_path / "signers", tmp_path / "release"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=BUILD_S)
    signers.write_text(f"release@example.com {key.with_suffix('.pub').read_text('utf-8')}", "utf-8")
    made("dist", release, f"SIGNING_KEY={key}")
    documented = re.search(
        r"```sh\n(ssh-keygen -Y verify .*)\n(sha256sum .*)\n", (ROOT / "SECURITY.md").read_text("utf-8")
    )
    assert documented is not None
    verify, check = (each.replace("-f signers", f"-f {signers}") for each in documented.groups())

    def succeeds(command: str) -> bool:
        return subprocess.run(command, shell=True, cwd=release, timeout=BUILD_S, check=False).returncode == 0

    assert succeeds(verify)
    assert succeeds(check)
    (wheel,) = release.glob("*.whl")
    wheel.write_bytes(wheel.read_bytes() + b" ")
    assert not succeeds(check)
    with (release / "SHA256SUMS").open("a") as sums:
        sums.write("0\n")
    assert not succeeds(verify)


def test_no_page_promises_a_key_that_is_not_published() -> None:
    keys = [path for path in ROOT.glob("*") if path.suffix in (".pub", ".asc") or path.name in ("KEYS", "signers")]
    assert keys == [], "then the pages say where it is"
    assert "no release has been signed, and no key of ours is published" in (ROOT / "SECURITY.md").read_text("utf-8")
    threats = (ROOT / "docs" / "concepts" / "security.md").read_text("utf-8")
    assert "no key of ours is published yet" in threats
    assert "Releases are not signed yet" in (ROOT / "docs" / "questions.md").read_text("utf-8")
