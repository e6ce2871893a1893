"""What is written is what is read, in one form, by whichever writer."""

import json
from contextlib import nullcontext
from dataclasses import FrozenInstanceError, dataclass, fields, replace

import pytest

from leeward.agent.machine.events import Woke
from leeward.core.codec import DecodeError, decode, encode, plain
from leeward.core.fast_frozen import fast_frozen
from leeward.core.values import (
    App,
    Heartbeat,
    InstanceReport,
    Promise,
    Rejoin,
    RejoinMethod,
    Role,
    Sender,
    Topology,
    Unread,
    Vantage,
    WalPosition,
)
from leeward.core.view import View
from leeward.ports.quorum import Delete
from tests.core.views import AP, EU, US, electing, topology

SENDERS = (Sender(EU, True, 90, 80, False), Sender(AP, False, 0, 0, True))
REPORT = InstanceReport(
    Role.PRIMARY, 3, True, WalPosition(3, 100), None, True, 2, SENDERS, problem='a "disk" in Zürich'
)
HEARTBEAT = Heartbeat(US, "us-1", 7, 2, {EU: Vantage(True, "it serves"), AP: Vantage(False, "")}, {App("a"): REPORT})


@pytest.mark.parametrize(
    "value",
    [
        HEARTBEAT,
        topology(),
        electing(),
        Promise(EU, App("a"), 4, WalPosition(3, 99)),
        Rejoin(4, US, RejoinMethod.REWIND, "it led", 10, 0, 1.25, 1, Unread("t", "locked")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_written_is_compact_json_and_is_read_back(value: object) -> None:
    text = encode(value)
    assert text == json.dumps(plain(value), separators=(",", ":"), ensure_ascii=False)
    assert decode(type(value), text) == value


def test_a_number_that_json_does_not_have_is_null() -> None:
    assert encode([1.5, float("inf"), True, None, 2]) == "[1.5,null,true,null,2]"


@pytest.mark.parametrize(
    ("number", "accepted"),
    [(2**64 - 1, True), (-(2**64) + 1, True), (2**64, False), (-(2**64), False), (10**5000, False)],
    ids=["largest", "smallest", "too large", "too small", "of 5,001 digits"],
)
def test_whole_numbers_have_64_bits(number: int, accepted: bool) -> None:
    text = encode(WalPosition(1, 7)).replace("7", f"1{'0' * 5000}" if number == 10**5000 else str(number))
    with nullcontext() if accepted else pytest.raises(DecodeError):
        assert decode(WalPosition, text) == WalPosition(1, number)


def test_long_digits_in_a_text_are_no_number() -> None:
    unread = Unread("t" * 3 + "1" * 40, "locked")
    assert decode(Unread, encode(unread)) == unread


def test_values_with_one_field_or_without_fields_are_written_too() -> None:
    assert encode(Delete('a "key"')) == '{"key":"a \\"key\\""}'
    assert decode(Delete, encode(Delete("a"))) == Delete("a")
    assert encode(Woke()) == "{}"
    assert decode(Woke, "{}") == Woke()


def test_an_older_writers_value_gets_defaults_and_a_newer_ones_extras_are_ignored() -> None:
    raw = json.loads(encode(HEARTBEAT))
    del raw["vantages"], raw["apps"]["a"]["senders"]
    raw["mood"] = "good"
    read = decode(Heartbeat, json.dumps(raw))
    assert read == replace(HEARTBEAT, vantages={}, apps={App("a"): replace(REPORT, senders=())})


@pytest.mark.parametrize("text", ["{", "[]", "7", '{"region":"us"}', encode(replace(topology(), epoch="one"))])  # type: ignore[arg-type]
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        decode(Topology, text)


def test_an_unknown_member_of_an_enumeration_is_refused() -> None:
    with pytest.raises(DecodeError, match="emperor"):
        decode(InstanceReport, encode(REPORT).replace('"primary"', '"emperor"'))


def test_only_what_needs_no_check_of_its_fields_is_made_quickly() -> None:
    @dataclass(frozen=True, slots=True)
    class Checked:
        value: int

        def __post_init__(self) -> None:
            assert self.value > 0

    @dataclass(slots=True)
    class Open:
        value: int

    for kind in (Checked, Open):
        with pytest.raises(TypeError, match="not a frozen dataclass"):
            fast_frozen(kind)


def test_values_that_are_made_quickly_compare_hash_and_default_as_frozen_ones_do() -> None:
    one, other = WalPosition(1, 2), WalPosition(epoch=1, lsn=2)
    assert (one, hash(one)) == (other, hash(other))
    assert one < WalPosition(2, 0)
    assert Heartbeat(US, "us-1", 1, 0).apps == {}
    with pytest.raises(TypeError):
        WalPosition(1)  # type: ignore[call-arg]
    assert all(field.kw_only for field in fields(View))
    with pytest.raises(FrozenInstanceError):
        topology().epoch = 2  # type: ignore[misc]
