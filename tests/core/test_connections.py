"""Which connection goes when there are too many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leeward.core.connections import Admission, Connections, client_of


def test_connections_are_admitted_up_to_the_limits() -> None:
    held: Connections[int] = Connections(in_all=3, per_client=2)
    assert held.admit(1, "a", 0.0) == Admission(True)
    assert held.admit(2, "a", 1.0) == Admission(True)
    assert held.admit(3, "a", 2.0) == Admission(True, close=1), "of its own client, though there is room for others"
    assert held.admit(4, "b", 3.0) == Admission(True)
    assert held.admit(5, "c", 4.0) == Admission(True, close=2), "the idlest of all"
    assert len(held) == 3


def test_one_that_never_asked_goes_before_one_that_did() -> None:
    held: Connections[int] = Connections(in_all=3, per_client=3)
    for connection, now_s in ((1, 0.0), (2, 1.0), (3, 2.0)):
        held.admit(connection, "a", now_s)
    for connection in (1, 2):
        held.begin(connection)
        held.end(connection, 3.0 - connection)
    assert held.admit(4, "b", 10.0).close == 3
    assert held.admit(5, "b", 11.0).close == 4
    held.begin(5)
    held.end(5, 12.0)
    assert held.admit(6, "b", 13.0).close == 2, "the one that was idle longest"


def test_who_is_being_answered_stays() -> None:
    held: Connections[int] = Connections(in_all=2, per_client=2)
    for connection in (1, 2):
        held.admit(connection, "a", 0.0)
        held.begin(connection)
    assert held.admit(3, "b", 1.0) == Admission(False)
    held.end(1, 2.0)
    assert held.admit(3, "b", 3.0) == Admission(True, close=1)


def test_places_are_given_back() -> None:
    held: Connections[int] = Connections(in_all=2, per_client=1)
    for connection in range(100):
        assert held.admit(connection, "a", 0.0) == Admission(True)
        held.drop(connection)
    held.drop(5)
    assert len(held) == 0
    held.begin(5)
    held.end(5, 1.0)
    assert len(held) == 0, "what is unknown stays so"


STEPS = st.lists(st.tuples(st.sampled_from(["admit", "begin", "end", "drop"]), st.integers(0, 40)), max_size=200)


@given(STEPS, st.integers(1, 6), st.integers(1, 6))
def test_never_more_than_allowed(steps: list[tuple[str, int]], in_all: int, per_client: int) -> None:
    held: Connections[int] = Connections(in_all, per_client)
    known: dict[int, str] = {}
    busy: set[int] = set()
    for now, (step, number) in enumerate(steps):
        client = "abc"[number % 3]
        if step == "admit" and number not in known:
            admission = held.admit(number, client, float(now))
            if admission.close is not None:
                assert admission.close not in busy
                del known[admission.close]
            if admission.admitted:
                known[number] = client
        elif step == "begin" and number in known:
            held.begin(number)
            busy.add(number)
        elif step == "end":
            held.end(number, float(now))
            busy.discard(number)
        elif step == "drop":
            held.drop(number)
            known.pop(number, None)
            busy.discard(number)
        assert len(held) == len(known) <= in_all
        assert all(list(known.values()).count(each) <= per_client for each in "abc")


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_who_a_client_is(address: str, client: str) -> None:
    assert client_of(address) == client
