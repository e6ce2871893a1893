"""Where a failover's time went, out of records."""

import pytest

from leeward.core import failovers
from leeward.core.values import Record
from tests.core.views import AP, APP, EU


def record(at_s: float, kind: str, *, epoch: int = 2, region: str = EU, took_s: float | None = None) -> Record:
    return Record(1000.0 + at_s, EU if region == EU else AP, APP, epoch, kind, f"{kind} it is", took_s)


WHOLE = [
    record(-50.0, "PrimaryPromoted", epoch=1),
    record(0.0, "PrimaryLost", took_s=2.1),
    record(0.0, "FailoverPrepared"),
    record(0.5, "PrimaryElected"),
    record(0.75, "PrimaryPromoted"),
    record(0.8, "PrimaryRouted"),
    record(1.0, "PrimaryRouted", region=AP),
]


def test_the_stages_of_the_last_one() -> None:
    found = failovers.last(WHOLE, APP, EU)
    assert found is not None
    assert (found.epoch, found.at_unix_s, found.to, found.because) == (2, 1000.0, EU, "PrimaryLost it is")
    assert found.stages_s == pytest.approx({"detected": 2.1, "elected": 0.5, "promoted": 0.25, "routed": 0.05})
    far = failovers.last(WHOLE, APP, AP)
    assert far is not None
    assert far.stages_s["routed"] == pytest.approx(0.25)


def test_a_stage_that_has_not_ended_is_missing() -> None:
    found = failovers.last(WHOLE[:4], APP, EU)
    assert found is not None
    assert (found.to, found.stages_s.keys()) == (None, {"detected", "elected"})


def test_a_switchover_is_not_a_failover_and_does_not_hide_the_last_one() -> None:
    later = [record(60.0, "PrimaryDrained", epoch=3), record(61.0, "PrimaryPromoted", epoch=3)]
    found = failovers.last([*WHOLE, *later], APP, EU)
    assert found is not None
    assert found.epoch == 2
    assert failovers.last(later, APP, EU) is None


def test_clocks_that_differ_do_not_make_time_run_backwards() -> None:
    found = failovers.last([WHOLE[1], record(-0.2, "PrimaryElected")], APP, EU)
    assert found is not None
    assert found.stages_s["elected"] == 0.0
