"""The stages in which authorities are exchanged: who trusts whom, and what an interruption leaves. No process."""

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from leeward.core.identities import CA, CERTIFICATE, INSTANCE_CA, KEY, PEER_CA, Purpose
from leeward.world import authorities, identity, manifests
from leeward.world.authorities import Stage
from leeward.world.authority import CLIENT, Authority, issued_by
from leeward.world.model import WorldConfig
from leeward.world.removal import remove
from leeward.world.renewal import Renewal
from tests.world.written import NAMES, START, secrets_of, written

DAY = datetime.timedelta(days=1)
NOW = START + 0.1 * DAY


@pytest.fixture
def world(home: Path) -> Iterator[WorldConfig]:
    with written(home) as built:
        yield built


def folder(world: WorldConfig) -> Path:
    return Path(world.directory) / authorities.DIRECTORY


def begin(world: WorldConfig, *purposes: Purpose) -> None:
    authorities.announce(folder(world), world.fleet, purposes or tuple(Purpose), NOW)


def trusted(pem: str) -> int:
    return len(x509.load_pem_x509_certificates(pem.encode()))


def issuer(certificate: str, bundle: str) -> bool:
    """Whether one of the authorities of a bundle issued it."""
    found = x509.load_pem_x509_certificates(bundle.encode())
    pems = [each.public_bytes(serialization.Encoding.PEM).decode() for each in found]
    return any(issued_by(certificate, pem) for pem in pems)


def consistent(world: WorldConfig, before: identity.FleetIdentity) -> None:
    """Whoever has the files of the stage before and whoever has those of now accept one another."""
    now = identity.read(world)
    for region, after in now.regions.items():
        old = before.regions[region]
        for one, other in ((old, after), (after, old), (after, after)):
            assert issuer(one.agent[CERTIFICATE], other.agent[CA])
            assert issuer(one.store_client[CERTIFICATE], other.store_member[CA])
            assert issuer(one.store_member[CERTIFICATE], other.store_client[CA])
            assert issuer(one.store_member["peer.crt"], other.store_member[PEER_CA])
            assert issuer(one.gateway[CERTIFICATE], other.gateway[CA])
            assert issuer(one.cluster[CERTIFICATE], other.cluster[CA])
    assert issuer(now.operator[CERTIFICATE], before.regions[world.regions[0].name].agent[CA])
    assert now.operator[KEY] == before.operator[KEY]


def test_at_every_stage_neighbours_accept_one_another_and_at_the_end_only_the_new(world: WorldConfig) -> None:
    renewal, first = Renewal(world), identity.read(world)
    assert renewal.behind(NOW) is None
    begin(world)
    assert renewal.behind(NOW) is not None
    assert renewal.look(NOW) == 0, "every certificate is as it was"
    assert renewal.behind(NOW) is None
    announced = identity.read(world)
    assert trusted(announced.operator[CA]) == trusted(announced.operator[INSTANCE_CA]) == 2
    consistent(world, first)
    authorities.advance(folder(world), Stage.SWITCHED)
    assert renewal.look(NOW) == 7 * len(world.regions) + 1
    switched = identity.read(world)
    consistent(world, announced)
    authorities.advance(folder(world), Stage.REMOVED)
    assert renewal.look(NOW) == 0
    consistent(world, switched)
    authorities.finish(folder(world))
    assert renewal.look(NOW) == 0, "the end changes nothing but where the keys are"
    assert renewal.behind(NOW) is None
    last = identity.read(world)
    assert {path.name for path in folder(world).iterdir()} == {
        *(f"{name}.{kind}" for name in Purpose for kind in ("crt", "key")),
        authorities.STAGES,
    }
    assert not set(last.authorities.values()) & set(first.authorities.values())
    for region, own in last.regions.items():
        assert trusted(own.agent[CA]) == 1
        assert not issuer(first.regions[region].agent[CERTIFICATE], own.agent[CA])
        assert not issuer(first.regions[region].gateway[CERTIFICATE], own.gateway[CA])
        secrets = secrets_of(world, region)
        assert secrets["leeward-agent"] == own.agent
        assert issuer(secrets["shop-identity"][CERTIFICATE], own.agent[INSTANCE_CA])
        assert secrets["shop-identity"][CA] == own.agent[CA]


def test_one_purpose_is_exchanged_alone(world: WorldConfig) -> None:
    before = identity.read(world)
    begin(world, Purpose.GATEWAY)
    authorities.advance(folder(world), Stage.SWITCHED)
    assert Renewal(world).look(NOW) == len(world.regions)
    after = identity.read(world)
    for region, own in after.regions.items():
        assert own.gateway != before.regions[region].gateway
        assert (own.agent, own.store_member) == (before.regions[region].agent, before.regions[region].store_member)


@pytest.mark.parametrize("stage", [Stage.ANNOUNCED, Stage.SWITCHED])
def test_who_joins_in_the_midst_of_an_exchange_is_accepted(world: WorldConfig, stage: Stage) -> None:
    begin(world)
    authorities.advance(folder(world), stage)
    Renewal(world).look(NOW)
    made = identity.read(world)
    region = world.regions[0].name
    joined = made.instance("late", region, NOW)
    assert issuer(joined[CERTIFICATE], made.regions[region].agent[INSTANCE_CA])
    assert joined[CA] == made.regions[region].agent[CA]
    olga = made.operator_of("olga", [identity.Grant()], NOW)
    assert issuer(olga[CERTIFICATE], made.regions[region].agent[CA])
    assert Renewal(world).look(NOW) == 0


def test_an_interrupted_exchange_goes_on_where_it_was(world: WorldConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(world, Purpose.FLEET)
    with monkeypatch.context() as patch:
        patch.setattr(manifests, "replace", fails)
        for step in (lambda: authorities.advance(folder(world), Stage.SWITCHED), lambda: begin(world, Purpose.GATEWAY)):
            with pytest.raises(OSError, match="full"):
                step()
    files = authorities.read(folder(world))
    assert authorities.stages(files) == {Purpose.FLEET: Stage.ANNOUNCED}
    authorities.advance(folder(world), Stage.REMOVED)
    authorities.advance(folder(world), Stage.SWITCHED)
    assert authorities.stages(authorities.read(folder(world))) == {Purpose.FLEET: Stage.REMOVED}, "never back"
    wanted = authorities.of_purpose(authorities.read(folder(world)), Purpose.FLEET)
    replace, done = manifests.replace, []

    def fails_at_second(path: Path, text: str) -> None:
        done.append(path)
        if len(done) == 2:
            raise OSError("full")
        replace(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(manifests, "replace", fails_at_second)
        with pytest.raises(OSError, match="full"):
            authorities.finish(folder(world))
    # A key without its certificate is in no use.
    assert authorities.of_purpose(authorities.read(folder(world)), Purpose.FLEET) == wanted
    authorities.finish(folder(world))
    assert authorities.of_purpose(authorities.read(folder(world)), Purpose.FLEET).issuing == wanted.issuing


def fails(_path: Path, _text: str) -> None:
    raise OSError("full")


def test_what_pods_have_mounted_counts_too(world: WorldConfig) -> None:
    volume = world.region_directory(world.regions[0].name) / "pods" / "1234" / "identity"
    identity.put(volume, identity.read(world).regions[world.regions[0].name].agent)
    strange = volume.parent / "scratch"
    theirs = Authority.create("theirs", START).issue("x", NAMES, CLIENT)
    identity.put(strange, {CERTIFICATE: theirs.certificate, KEY: theirs.key, CA: "no certificate"})
    begin(world, Purpose.FLEET)
    Renewal(world).look(NOW)
    assert "volume identity" in str(Renewal(world).behind(NOW))
    identity.put(volume, identity.read(world).regions[world.regions[0].name].agent)
    (volume / "instance-ca.crt").unlink()
    (strange / CERTIFICATE).write_text("nonsense")
    assert Renewal(world).behind(NOW) is None
    remove(str(volume.parent))
