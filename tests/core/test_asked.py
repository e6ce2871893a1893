"""A request takes effect once, for as long as any agent would still accept it."""

import pytest

from leeward.core.asked import KEPT_MAX, KEPT_S, MAX_AGE_S, accept, refused
from leeward.core.values import Accepted, Asked

NOW_S = 1.0e9
ASKED = Asked("operator:1", NOW_S, "a")


def test_a_request_takes_effect_once() -> None:
    accepted = accept(Accepted(), ASKED, NOW_S)
    assert refused(Accepted(), ASKED, NOW_S) is None
    assert refused(accepted, ASKED, NOW_S) == "this request has already taken effect: sign each request separately"
    assert refused(accepted, Asked("operator:1", NOW_S, "b"), NOW_S) is None


@pytest.mark.parametrize("later_s", [0.0, MAX_AGE_S, KEPT_S])
def test_it_is_remembered_while_any_agent_would_accept_it(later_s: float) -> None:
    accepted = accept(Accepted(), ASKED, NOW_S)
    accepted = accept(accepted, Asked("operator:1", NOW_S + later_s, "b"), NOW_S + later_s)
    assert [each.nonce for each in accepted.requests] == ["a", "b"]


def test_old_ones_are_dropped_and_many_at_once_are_refused() -> None:
    many = Accepted(tuple(Asked("operator:1", NOW_S, str(number)) for number in range(KEPT_MAX)))
    assert refused(many, ASKED, NOW_S) == f"{KEPT_MAX} requests took effect within 600 s; retry later"
    later_s = NOW_S + KEPT_S + 1
    assert refused(many, ASKED, later_s) is None
    assert accept(many, ASKED, later_s) == Accepted((ASKED,))


def test_a_request_that_was_signed_before_a_restore_is_refused_after_it() -> None:
    """The backup is older than it, so the list of what took effect does not name it."""
    request = Asked("operator:1", 1000.0, "nonce")
    assert refused(Accepted(), request, 1050.0, since_unix_s=1040.0) is not None
    assert refused(Accepted(), request, 1050.0, since_unix_s=990.0) is None
