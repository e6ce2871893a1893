"""Who is who in a world: which authority issued what, for which use, and who accepts it."""

import datetime
import ssl
import stat
from dataclasses import asdict
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from leeward.base.problem import ProblemsError
from leeward.core.identities import (
    CA,
    CERTIFICATE,
    CLUSTER_CA,
    INSTANCE_CA,
    KEY,
    PEER_CA,
    PEER_CERTIFICATE,
    PEER_KEY,
    instance_host,
)
from leeward.world import identity
from leeward.world.identity import Files
from leeward.world.removal import remove
from tests.world.support import config

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


def certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def names(pem: str) -> set[str]:
    found = certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


def everybody(made: identity.FleetIdentity) -> dict[str, Files]:
    """Return every identity of a fleet, as the files of one purpose: authority, certificate, key."""
    found = {"operator": made.operator}
    for region, each in made.regions.items():
        member = each.store_member
        peer = {CA: member[PEER_CA], CERTIFICATE: member[PEER_CERTIFICATE], KEY: member[PEER_KEY]}
        found |= {f"{purpose} {region}": files for purpose, files in asdict(each).items()}
        found |= {f"store_peer {region}": peer}
        found |= {f"{app} {region}": made.instance(app, region) for app in ("payments", "shop")}
    return found


@pytest.fixture(scope="module")
def made() -> identity.FleetIdentity:
    return identity.create("shop", {"us": 1, "eu": 2}, NOW)


@pytest.fixture(scope="module")
def fleet() -> identity.FleetIdentity:
    """A fleet whose certificates are valid now."""
    return identity.create("shop", {"us": 1, "eu": 2})


@pytest.mark.parametrize(
    ("who", "common", "called", "usages"),
    [
        ("agent eu", "eu", {"eu", "localhost", "127.0.0.1", "127.10.2.4", "spiffe://shop/region/eu"}, {SERVER, CLIENT}),
        ("operator", "operator", {"spiffe://shop/operator"}, {CLIENT}),
        ("store_client eu", "store client eu", {"spiffe://shop/store-client/eu"}, {CLIENT}),
        (
            "store_member eu",
            "store member eu",
            {"eu", "localhost", "127.0.0.1", "127.10.2.3", "spiffe://shop/store-member/eu"},
            {SERVER, CLIENT},
        ),
        (
            "store_peer eu",
            "store peer eu",
            {"eu", "localhost", "127.0.0.1", "127.10.2.3", "spiffe://shop/store-peer/eu"},
            {SERVER, CLIENT},
        ),
        ("gateway eu", "gateway eu", {"eu", "spiffe://shop/gateway/eu"}, {SERVER, CLIENT}),
        ("payments eu", "instance eu", {"payments.eu.instance", "spiffe://shop/instance/eu/payments"}, {SERVER}),
        (
            "cluster eu",
            "cluster eu",
            {"eu", "localhost", "127.0.0.1", "127.10.2.1", "spiffe://shop/cluster/eu"},
            {SERVER},
        ),
    ],
)
def test_a_certificate_says_who_it_is_for_and_what_it_may_be_used_for(
    made: identity.FleetIdentity, who: str, common: str, called: set[str], usages: set[x509.ObjectIdentifier]
) -> None:
    pem = everybody(made)[who][CERTIFICATE]
    assert certificate(pem).subject.rfc4514_string() == f"CN={common}"
    assert names(pem) == called
    assert set(certificate(pem).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == usages


def test_each_purpose_has_an_authority_of_its_own_and_certificates_last_24_hours(made: identity.FleetIdentity) -> None:
    region = made.regions["us"]
    authorities = {
        "agent": made.operator[CA],
        "operator": made.operator[CA],
        "store_client": region.store_client[CA],
        "store_member": region.store_client[CA],
        "store_peer": region.store_member[PEER_CA],
        "gateway": region.gateway[CA],
        "payments": made.operator[INSTANCE_CA],
        "shop": made.operator[INSTANCE_CA],
        "cluster": made.operator[CLUSTER_CA],
    }
    assert len(set(authorities.values())) == 6
    for who, files in everybody(made).items():
        one = certificate(files[CERTIFICATE])
        for pem in set(authorities.values()):
            if pem == authorities[who.partition(" ")[0]]:
                one.verify_directly_issued_by(certificate(pem))
            else:
                with pytest.raises(ValueError, match="issuer"):
                    one.verify_directly_issued_by(certificate(pem))
        assert one.not_valid_after_utc - one.not_valid_before_utc == datetime.timedelta(days=1, minutes=5)
        key = serialization.load_pem_private_key(files[KEY].encode(), None)
        assert key.public_key() == one.public_key()


def context(files: Files, directory: Path, *, serves: bool) -> ssl.SSLContext:
    """Return what a process with these files does in TLS: each end wants a certificate of its authority."""
    identity.put(directory, files)
    result = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if serves else ssl.PROTOCOL_TLS_CLIENT)
    result.load_verify_locations(cafile=directory / CA)
    result.verify_mode = ssl.CERT_REQUIRED
    result.load_cert_chain(directory / CERTIFICATE, directory / KEY)
    return result


def agree(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> str:
    """Shake hands in memory; return who refused, or nothing."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = {
        "client": client.wrap_bio(to_client, to_server, server_hostname=host),
        "server": server.wrap_bio(to_server, to_client, server_side=True),
    }
    waiting = list(ends)
    while waiting:
        for name in tuple(waiting):
            try:
                ends[name].do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return name
            waiting.remove(name)
    return ""


CLIENTS = {
    "store_member us": {"store_client us", "store_client eu", "store_member us", "store_member eu"},
    "store_peer us": {"store_peer us", "store_peer eu"},
    "agent us": {"agent us", "agent eu", "operator"},
    # Which of them it obeys is decided by their names (tests/instance/test_guard.py).
    "payments us": {"agent us", "agent eu", "operator"},
    "gateway us": {"gateway us", "gateway eu"},
}
"""By server: the clients that it accepts."""


@pytest.mark.parametrize("server", CLIENTS)
def test_a_server_accepts_clients_of_its_purpose_only(
    fleet: identity.FleetIdentity, server: str, tmp_path: Path
) -> None:
    known = everybody(fleet)
    serving = context(known[server], tmp_path / "server", serves=True)
    accepted = set()
    for who, files in known.items():
        client = context(files, tmp_path / who, serves=False)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        refused = agree(serving, client, "anything")
        assert refused in ("", "server")
        accepted |= {who} if not refused else set()
    assert accepted == CLIENTS[server]


SERVERS = {
    ("store_client us", CA, "us"): "store_member us",
    ("agent us", CA, "eu"): "agent eu",
    ("operator", CA, "eu"): "agent eu",
    ("agent us", INSTANCE_CA, instance_host("payments", "us")): "payments us",
    ("gateway us", CA, "eu"): "gateway eu",
    ("operator", CLUSTER_CA, "eu"): "cluster eu",
    ("store_peer us", CA, "eu"): "store_peer eu",
}
"""By client, its file of authorities and the name it asks for: the one server that it accepts."""


@pytest.mark.parametrize("asked", SERVERS)
def test_a_client_accepts_the_server_of_that_purpose_and_name_only(
    fleet: identity.FleetIdentity, asked: tuple[str, str, str], tmp_path: Path
) -> None:
    known, (who, authority, host) = everybody(fleet), asked
    client = context({**known[who], CA: known[who][authority]}, tmp_path / "client", serves=False)
    accepted = []
    for server, files in known.items():
        serving = context(files, tmp_path / server, serves=True)
        serving.verify_mode = ssl.CERT_NONE
        refused = agree(serving, client, host)
        assert refused in ("", "client")
        accepted += [server] if not refused else []
    assert accepted == [SERVERS[asked]]


def test_two_fleets_share_nothing() -> None:
    one, other = identity.create("shop", {"us": 1}), identity.create("shop", {"us": 1})
    assert one.token != other.token
    with pytest.raises(InvalidSignature):
        certificate(one.operator[CERTIFICATE]).verify_directly_issued_by(certificate(other.operator[CA]))


def test_files_are_for_their_owner_and_no_region_has_an_authoritys_key(home: Path) -> None:
    world = config("written")
    made = identity.create("shop", {region.name: region.index for region in world.regions})
    identity.write(made, world)
    assert identity.read(world) == made
    region = home / "written/regions/ap/identity"
    folders = ("agent", "store-client", "store-member", "gateway")
    assert sorted(path.name for path in region.iterdir()) == sorted((*folders, CA, CERTIFICATE, KEY, "token"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in (home / "written/authorities").iterdir()} == {0o600}
    for folder in (home / "written/operator", region, *(region / name for name in folders)):
        assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir() if file.is_file()} == {0o600}
        ssl.create_default_context(cafile=folder / CA).load_cert_chain(folder / CERTIFICATE, folder / KEY)
    assert (region / "token").read_text() == (home / "written/operator/token").read_text() == made.token
    authorities = [certificate(path.read_text()).public_key() for path in home.rglob("*ca.crt")]
    issuing = {
        path
        for path in home.rglob("*.key")
        if serialization.load_pem_private_key(path.read_bytes(), None).public_key() in authorities
    }
    kept = {home / "written/authorities" / f"{purpose}.key" for purpose in identity.PURPOSES}
    assert issuing == kept
    remove(str(home / "written"))


def test_an_application_that_joins_later_gets_an_identity(home: Path) -> None:
    world = config("joined")
    identity.write(identity.create("shop", {region.name: region.index for region in world.regions}), world)
    known = identity.read(world)
    joined = known.instance("later", "eu")
    certificate(joined[CERTIFICATE]).verify_directly_issued_by(certificate(known.operator[INSTANCE_CA]))
    assert joined[CA] == known.regions["eu"].agent[CA]
    remove(str(home / "joined"))


def test_the_files_of_an_earlier_version_are_refused(home: Path) -> None:
    world = config("old")
    for folder in (home / "old/operator", *(home / f"old/regions/{each.name}/identity" for each in world.regions)):
        identity.put(folder, {CA: "a", CERTIFICATE: "b", KEY: "c", "token": "d"})
    with pytest.raises(ProblemsError, match="world-of-earlier-version"):
        identity.read(world)
    remove(str(home / "old"))
