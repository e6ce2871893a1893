"""Operators' requests that changed an application: each takes effect at most once, whichever agent executes it.

The list is written in the transaction that makes the change, and compares the one before. It may forget a request
when no agent would still accept its authorization; for that, clocks must agree within KEPT_S - MAX_AGE_S.
"""

from dataclasses import replace

from leeward.core.values import Accepted, Asked

MAX_AGE_S = 60.0
"""An authorization is accepted this long before and after it was signed, by the verifier's clock."""
KEPT_S = 600.0
KEPT_MAX = 500


def refused(accepted: Accepted, asked: Asked, now_unix_s: float, *, since_unix_s: float = 0.0) -> str | None:
    """Return why a request must not take effect; None when it may.

    ``since_unix_s``: when the store's generation began. A store that went back forgot what took effect before that.
    """
    if asked.at_unix_s < since_unix_s:
        return "this request was signed before the store was restored: check the state and sign a new one"
    if any(each.nonce == asked.nonce for each in accepted.requests):
        return "this request has already taken effect: sign each request separately"
    if len(_recent(accepted, now_unix_s).requests) >= KEPT_MAX:
        return f"{KEPT_MAX} requests took effect within {KEPT_S:g} s; retry later"
    return None


def accept(accepted: Accepted, asked: Asked, now_unix_s: float) -> Accepted:
    """Return the list with one more request, without those that are too old to be repeated."""
    recent = _recent(accepted, now_unix_s)
    return replace(recent, requests=(*recent.requests, asked))


def _recent(accepted: Accepted, now_unix_s: float) -> Accepted:
    return Accepted(tuple(each for each in accepted.requests if now_unix_s - each.at_unix_s <= KEPT_S))
