"""What a look at a world's certificates renews, and what it leaves alone. No process runs."""

import datetime
import errno
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from leeward.base.problem import ProblemsError
from leeward.core.identities import CA, CERTIFICATE, KEY, PEER_CERTIFICATE
from leeward.world import authorities, identity, manifests
from leeward.world.authority import BOTH, Authority, is_due
from leeward.world.model import WorldConfig
from leeward.world.removal import remove
from leeward.world.renewal import Renewal
from tests.world.written import NAMES, START, secrets_of, written

DAY = datetime.timedelta(days=1)


def certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


@pytest.mark.parametrize(("after_days", "due"), [(0, False), (0.49, False), (0.5, True), (0.9, True), (1.1, True)])
def test_a_certificate_is_due_when_half_of_its_life_is_left(after_days: float, due: bool) -> None:
    pem = Authority.create("fleet", START).issue("eu", NAMES, BOTH).certificate
    assert is_due(pem, START + after_days * DAY, DAY) is due


@pytest.mark.parametrize("keeps", [False, True])
def test_a_renewed_certificate_differs_in_time_and_key_only(keeps: bool) -> None:
    authority = Authority.create("fleet", START)
    first = authority.issue("eu", NAMES, BOTH)
    later = START + DAY / 2
    pair = type(first)(authority.certificate, authority.key)
    second = Authority.load(pair, later).renew(first.certificate, first.key if keeps else None)
    old, new = certificate(first.certificate), certificate(second.certificate)
    assert (new.subject, new.issuer) == (old.subject, old.issuer)
    for kind in (x509.SubjectAlternativeName, x509.ExtendedKeyUsage, x509.KeyUsage, x509.BasicConstraints):
        found = [each.extensions.get_extension_for_class(kind) for each in (old, new)]
        assert found[0] == found[1]
    assert new.not_valid_after_utc == later + DAY
    assert new.serial_number != old.serial_number
    assert (second.key == first.key) is keeps
    new.verify_directly_issued_by(certificate(authority.certificate))


def test_an_authority_lives_for_ten_years_and_knows_its_own() -> None:
    one, other = Authority.create("fleet", START), Authority.create("fleet", START)
    assert certificate(one.certificate).not_valid_after_utc == START + 3650 * DAY
    issued = one.issue("eu", NAMES, BOTH).certificate
    assert (one.issued(issued), other.issued(issued)) == (True, False)


def test_a_short_life_begins_a_moment_before() -> None:
    authority = Authority.create("fleet", START, datetime.timedelta(seconds=20))
    found = certificate(authority.issue("eu", NAMES, BOTH).certificate)
    assert (found.not_valid_before_utc, found.not_valid_after_utc) == (
        START - datetime.timedelta(seconds=1),
        START + datetime.timedelta(seconds=20),
    )


@pytest.fixture
def world(home: Path) -> Iterator[WorldConfig]:
    with written(home) as built:
        yield built


def test_nothing_is_touched_before_it_is_due(world: WorldConfig) -> None:
    before = {path: path.stat().st_ino for path in Path(world.directory).rglob("*") if path.is_file()}
    assert Renewal(world).look(START + 0.4 * DAY) == 0
    assert {path: path.stat().st_ino for path in Path(world.directory).rglob("*") if path.is_file()} == before


def test_what_is_due_is_renewed_everywhere_and_belongs_together(world: WorldConfig) -> None:
    before, region = identity.read(world), world.regions[0].name
    old = secrets_of(world, region)
    now = START + 0.6 * DAY
    # By region: agent, store client, member, peer, gateway, API server and instance; and the operator.
    assert Renewal(world).look(now) == 7 * len(world.regions) + 1
    after, new = identity.read(world), secrets_of(world, region)
    assert after != before
    assert new["shop-tls"] == old["shop-tls"], "no authority of ours issued it"
    assert new["leeward-agent"] == after.regions[region].agent, "the Secret and the file are the same"
    assert new["leeward-store-member"] == after.regions[region].store_member
    assert after.operator[KEY] == before.operator[KEY], "no command finds half of a new pair"
    assert after.operator[CA] == before.operator[CA]
    found = [after.operator[CERTIFICATE], new["shop-identity"][CERTIFICATE]]
    for each in after.regions.values():
        found += [files[CERTIFICATE] for files in (each.agent, each.store_client, each.gateway, each.cluster)]
        found += [each.store_member[CERTIFICATE], each.store_member[PEER_CERTIFICATE]]
    assert {certificate(pem).not_valid_after_utc for pem in found} == {now + DAY}
    assert Renewal(world).look(now) == 0, "and is not due again"


def test_a_world_that_slept_beyond_its_certificates_renews_them(world: WorldConfig) -> None:
    assert Renewal(world).look(START + 400 * DAY) == 7 * len(world.regions) + 1


def test_a_file_that_a_region_may_read_stays_so(world: WorldConfig) -> None:
    path = Path(world.regions[0].manifests) / manifests.OBJECTS
    path.chmod(0o640)
    Renewal(world).look(START + 0.6 * DAY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [each.name for each in path.parent.iterdir()] == [manifests.OBJECTS]


def test_a_renewal_does_not_undo_what_is_being_applied(world: WorldConfig) -> None:
    region = world.regions[0]

    def applied_meanwhile(objects: list[dict[str, object]]) -> bool:
        with pytest.raises(BlockingIOError):
            Renewal(world).look(START + 0.6 * DAY)
        objects.append({"kind": "ConfigMap", "metadata": {"name": "added"}})
        return True

    manifests.change(region, applied_meanwhile)
    Renewal(world).look(START + 0.6 * DAY)
    assert {"kind": "ConfigMap", "metadata": {"name": "added"}} in manifests.read(region)


def test_a_disk_that_is_full_for_a_moment_leaves_no_certificate_without_its_key(
    world: WorldConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def replace_until_full(path: Path, text: str) -> None:
        if "identity" in path.parts and len(written) == 1:
            raise OSError(errno.ENOSPC, "no space left")
        written.extend([path] if "identity" in path.parts else [])
        write(path, text)

    write = manifests.replace
    with monkeypatch.context() as patch:
        patch.setattr(manifests, "replace", replace_until_full)
        with pytest.raises(OSError, match="no space"):
            Renewal(world).look(START + 0.6 * DAY)
    Renewal(world).look(START + 0.6 * DAY)
    for each in identity.read(world).regions.values():
        for files in (each.agent, each.store_client, each.gateway, each.cluster):
            key = serialization.load_pem_private_key(files[KEY].encode(), password=None)
            assert key.public_key() == certificate(files[CERTIFICATE]).public_key()


def test_a_world_of_an_earlier_version_is_left_alone(world: WorldConfig) -> None:
    remove(f"{world.directory}/{authorities.DIRECTORY}")
    assert Renewal(world).look(START + 0.6 * DAY) == 0
    assert Renewal(world).behind(START + 0.6 * DAY) is None
    with pytest.raises(ProblemsError, match="earlier version"):
        identity.read(world)
