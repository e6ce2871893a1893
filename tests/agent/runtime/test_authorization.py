"""Whose signature an agent accepts: only a certificate that its own fleet's CA issued to an operator, while valid."""

import contextlib
import datetime
from pathlib import Path

import pytest

from leeward.agent.runtime.authorization import HEADER, NotAllowedError, RefusedError, Signer, Verifier
from leeward.core.identities import CA, Grant, Right, grants, operator_uri
from leeward.world import identity
from leeward.world.identity import Files

NOW = datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.UTC)
NOW_S = NOW.timestamp()
PATH = "/v1/apps/payments/failover"
BODY = b'{"to": "eu"}'
NEEDS = Grant("payments", Right.BREAK)


def signer(directory: Path, files: Files) -> Signer:
    identity.put(directory, files)
    return Signer(directory)


def verifying(directory: Path, authority: str) -> Verifier:
    (directory / "authority.crt").write_text(authority)
    return Verifier("atlas", directory / "authority.crt")


def test_an_exchanged_authority_counts_without_a_restart(tmp_path: Path) -> None:
    old, new = identity.create("atlas", {"us": 1}, NOW), identity.create("atlas", {"us": 1}, NOW)
    verifier = verifying(tmp_path, old.operator[CA])

    def accepted(nonce: str) -> list[str]:
        found = []
        for name, fleet in (("old", old), ("new", new)):
            by = signer(tmp_path / name, fleet.operator)
            header = by.authorize("POST", PATH, BODY, at_unix_s=NOW_S, nonce=f"{name}-{nonce}")[HEADER]
            with contextlib.suppress(RefusedError):
                verifier.verify(header, "POST", PATH, BODY, needs=NEEDS, now_unix_s=NOW_S)
                found.append(name)
        return found

    assert accepted("before") == ["old"]
    verifying(tmp_path, old.operator[CA] + new.operator[CA])
    assert accepted("both") == ["old", "new"]
    (tmp_path / "authority.crt").write_text("half a fi")
    assert accepted("unreadable") == ["old", "new"]
    verifying(tmp_path, new.operator[CA])
    assert accepted("after") == ["new"]


def test_an_operator_is_accepted_once(tmp_path: Path) -> None:
    fleet = identity.create("atlas", {"us": 1}, NOW)
    verifier = verifying(tmp_path, fleet.operator[CA])
    header = signer(tmp_path, fleet.operator).authorize("POST", PATH, BODY, at_unix_s=NOW_S, nonce="n")[HEADER]
    asked = verifier.verify(header, "POST", PATH, BODY, needs=NEEDS, now_unix_s=NOW_S + 59)
    assert (asked.at_unix_s, asked.nonce) == (NOW_S, "n")
    with pytest.raises(RefusedError, match="already been used"):
        verifier.verify(header, "POST", PATH, BODY, needs=NEEDS, now_unix_s=NOW_S + 60)


@pytest.mark.parametrize(
    ("fleet", "made_at", "who", "because"),
    [
        pytest.param("atlas", NOW, "us", "not an operator", id="a region"),
        pytest.param("atlas", NOW, "operator", "not an operator", id="a region with the operator's name"),
        pytest.param("other", NOW, None, "not valid", id="another fleet's operator, another CA"),
        pytest.param("atlas", NOW - datetime.timedelta(days=31), None, "not valid", id="an expired certificate"),
    ],
)
def test_who_is_not_an_operator_of_this_fleet_is_refused(
    tmp_path: Path, fleet: str, made_at: datetime.datetime, who: str | None, because: str
) -> None:
    made = identity.create(fleet, {"us": 1, "operator": 2}, made_at)
    ca = (made if fleet == "atlas" else identity.create("atlas", {"us": 1}, NOW)).operator[CA]
    files = made.operator if who is None else made.regions[who].agent
    header = signer(tmp_path, files).authorize("POST", PATH, BODY, at_unix_s=NOW_S, nonce="n")[HEADER]
    with pytest.raises(RefusedError, match=because):
        verifying(tmp_path, ca).verify(header, "POST", PATH, BODY, needs=NEEDS, now_unix_s=NOW_S)


@pytest.mark.parametrize(
    "header", ["", "e30=", "%", "x" * 7000, "eyJjZXJ0aWZpY2F0ZXMiOiAiIn0="], ids=["empty", "{}", "%", "long", "part"]
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, header: str) -> None:
    verifier = verifying(tmp_path, identity.create("atlas", {"us": 1}, NOW).operator[CA])
    with pytest.raises(RefusedError):
        verifier.verify(header, "POST", PATH, BODY, needs=NEEDS, now_unix_s=NOW_S)


EVERYTHING = Grant()


@pytest.mark.parametrize(
    ("granted", "needs", "allowed"),
    [
        pytest.param((EVERYTHING,), Grant("payments", Right.BREAK), True, id="everything"),
        pytest.param((Grant("payments"),), Grant("payments", Right.BREAK), True, id="all of an application"),
        pytest.param((Grant("payments"),), Grant("ledger", Right.STEER), False, id="another application"),
        pytest.param((Grant("payments", Right.STEER),), Grant("payments", Right.STEER), True, id="a right"),
        pytest.param((Grant("payments", Right.STEER),), Grant("payments", Right.BREAK), False, id="another right"),
        pytest.param((Grant(None, Right.STEER),), Grant("ledger", Right.STEER), True, id="a right everywhere"),
        pytest.param((Grant(None, Right.STEER),), Grant("ledger", Right.BREAK), False, id="another right everywhere"),
        pytest.param((Grant("payments"), Grant("ledger")), Grant("ledger", Right.BREAK), True, id="one of several"),
        pytest.param((Grant("payments"),), Grant(None, Right.BREAK), False, id="no application in particular"),
    ],
)
def test_an_operator_may_do_what_its_certificate_grants(
    tmp_path: Path, granted: tuple[Grant, ...], needs: Grant, allowed: bool
) -> None:
    fleet = identity.create("atlas", {"us": 1}, NOW)
    alice = signer(tmp_path, fleet.operator_of("alice", granted, NOW))
    header = alice.authorize("POST", PATH, BODY, at_unix_s=NOW_S, nonce="n")[HEADER]
    verifier = verifying(tmp_path, fleet.operator[CA])
    if allowed:
        asked = verifier.verify(header, "POST", PATH, BODY, needs=needs, now_unix_s=NOW_S)
        assert asked.by.startswith("alice:")
        return
    for _ in range(2):
        with pytest.raises(NotAllowedError, match=r"alice:\w+ may not do that: it needs the right to "):
            verifier.verify(header, "POST", PATH, BODY, needs=needs, now_unix_s=NOW_S)


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://atlas/operator/",
        "spiffe://atlas/operator/app",
        "spiffe://atlas/operator/app/",
        "spiffe://atlas/operator/app/payments/",
        "spiffe://atlas/operator/app/payments/may",
        "spiffe://atlas/operator/app/payments/may/rule",
        "spiffe://atlas/operator/app/payments/ledger",
        "spiffe://atlas/operator/app/payments\n",
        "spiffe://atlas/operators",
        "spiffe://atlas/region/us",
        "spiffe://other/operator",
        "http://atlas/operator",
        "xspiffe://atlas/operator",
    ],
)
def test_a_name_of_another_shape_grants_nothing(uri: str) -> None:
    assert grants("atlas", [uri]) == frozenset()


@pytest.mark.parametrize("grant", [Grant(a, r) for a in (None, "payments") for r in (None, *Right)], ids=str)
def test_a_grant_is_read_as_it_is_written(grant: Grant) -> None:
    assert grants("atlas", [operator_uri("atlas", grant)]) == {grant}


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "x" * 65, "<script>"])
def test_a_name_that_cannot_stand_in_the_log_is_refused(tmp_path: Path, name: str) -> None:
    fleet = identity.create("atlas", {"us": 1}, NOW)
    try:
        files = fleet.operator_of(name, [EVERYTHING], NOW)
    except ValueError:
        return  # no certificate can have it
    header = signer(tmp_path, files).authorize("POST", PATH, BODY, at_unix_s=NOW_S, nonce="n")[HEADER]
    with pytest.raises(RefusedError):
        verifying(tmp_path, fleet.operator[CA]).verify(header, "POST", PATH, BODY, needs=NEEDS, now_unix_s=NOW_S)
