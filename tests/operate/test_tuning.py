"""``leeward tune``: what agents measured and counted, beside what the files say, and what would help."""

from pathlib import Path
from typing import Any

import pytest

from leeward.cli.tune import page
from leeward.core.codec import plain
from leeward.core.delays import BUCKETS, Delays, Silences, bucket
from leeward.core.values import Region, Tally
from leeward.operate.agents import Answer
from leeward.operate.outcome import OperationError
from leeward.operate.tuning import tuning
from leeward.spec import load

SPEC = load(Path(__file__).parents[2] / "examples" / "payments")
DAY_S = 86400.0


def silences(lasting_s: float, often: int, observed_s: float) -> Silences:
    counts = [0] * BUCKETS
    counts[0], counts[bucket(lasting_s)] = 9, often
    return Silences(tuple(counts), observed_s)


def answers(**changed: Any) -> list[Answer]:
    us = Region("us-east-1")
    body: dict[str, Any] = {
        "revision": 9,
        "age_s": 0.1,
        "topologies": {"payments": {"primary": us}},
        "tallies": {"payments": plain(Tally(needless=2, needless_epoch=5, needless_lost=7, needless_gap_s=6.1))},
        "delays": plain(Delays({us: silences(8.0, 4, 2 * DAY_S)})),
    }
    shorter = {**body, "delays": plain(Delays({us: silences(8.0, 1, DAY_S)}))}
    return [
        Answer("europe-west1", 200, {**body, **changed}),
        Answer("japaneast", 200, {**shorter, **changed}),
        Answer("us-east-1", 0, {}, "frozen"),
    ]


def test_a_region_that_often_stands_still_asks_for_a_longer_rto() -> None:
    (found,) = tuning(SPEC, answers(), "payments").applications
    assert (found.rto_s, found.waits_s, found.lease_s) == (5.0, 2.0, 2.0)
    assert found.proposal.needless_per_year == pytest.approx(730.0)
    assert found.proposal.rto_s == pytest.approx(19.2, abs=0.05)
    assert "silences of up to 8 s were measured" in found.proposal.because
    assert found.tally.needless == 2


def test_the_page_shows_both() -> None:
    found = tuning(SPEC, answers(), None)
    applications, silent = page(found).split("\n\n")
    assert applications.splitlines()[0].split()[:5] == ["NAME", "RTO", "WAITS", "NEEDLESS", "LOST"]
    assert applications.splitlines()[1].split()[:9] == [
        *("payments", "5s", "2s", "2", "7", "6.1s", "0"),
        *("730/year", "19.2s"),
    ]
    assert silent.splitlines()[1].split() == ["us-east-1", "2d", "9", "0", "0", "0", "0", "4", *["0"] * 5]
    assert found.regions[1].counts is None


def test_before_anything_is_counted() -> None:
    (found,) = tuning(SPEC, answers(tallies={}, delays={"regions": {}}, topologies={}), None).applications
    assert (found.tally.needless, found.proposal.rto_s) == (0, None)
    assert "at least a day" in found.proposal.because


def test_an_unknown_application_and_agents_that_are_silent() -> None:
    with pytest.raises(OperationError, match="unknown application"):
        tuning(SPEC, answers(), "orders")
    with pytest.raises(OperationError):
        tuning(SPEC, answers()[2:], None)
