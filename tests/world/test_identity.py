import datetime
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from leeward.world import identity
from leeward.world.removal import remove
from tests.world.support import config

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def names(pem: str) -> set[str]:
    found = certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


@pytest.fixture(scope="module")
def made() -> identity.FleetIdentity:
    return identity.create("shop", {"us": 1, "eu": 2}, NOW)


def test_a_region_goes_by_its_name_its_addresses_and_its_spiffe_id(made: identity.FleetIdentity) -> None:
    pem = made.regions["eu"].certificate
    assert certificate(pem).subject.rfc4514_string() == "CN=eu"
    addresses = {f"127.10.2.{last}" for last in range(1, 6)}
    assert names(pem) == {"eu", "localhost", "127.0.0.1", "spiffe://shop/region/eu"} | addresses


def test_the_operator_has_a_name_of_its_own(made: identity.FleetIdentity) -> None:
    assert certificate(made.operator.certificate).subject.rfc4514_string() == "CN=operator"
    assert names(made.operator.certificate) == {"spiffe://shop/operator"}


def test_certificates_are_signed_by_the_fleet_and_last_30_days(made: identity.FleetIdentity) -> None:
    ca = certificate(made.ca)
    for pair in (*made.regions.values(), made.operator):
        one = certificate(pair.certificate)
        one.verify_directly_issued_by(ca)
        assert one.not_valid_after_utc - NOW == datetime.timedelta(days=30)
        key = serialization.load_pem_private_key(pair.key.encode(), None)
        assert key.public_key() == one.public_key()


def test_two_fleets_share_nothing() -> None:
    one, other = identity.create("shop", {"us": 1}), identity.create("shop", {"us": 1})
    assert one.token != other.token
    with pytest.raises(InvalidSignature):
        certificate(one.operator.certificate).verify_directly_issued_by(certificate(other.ca))


def test_files_are_for_their_owner_and_can_be_loaded(home: Path) -> None:
    world = config("written")
    made = identity.create("shop", {region.name: region.index for region in world.regions})
    identity.write(made, world)
    for folder in (home / "written/operator", home / "written/regions/ap/identity"):
        assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
        assert (folder / "token").read_text() == made.token
        context = ssl.create_default_context(cafile=folder / "ca.crt")
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    assert not [file for file in home.rglob("*") if "ca.key" in file.name]
    remove(str(home / "written"))
