"""Whom an operator may choose, and what becomes of the choice when the promises are in."""

from typing import Any

import pytest

from leeward.core import election
from leeward.core.progress import Progress
from leeward.core.values import InstanceReport, Region, ReplicationMode, Role
from tests.core.views import AP, EU, LEASE_S, US, electing, promise, report, seen, sender, topology, view, wal

ASYNC, SYNC = ReplicationMode.ASYNC, ReplicationMode.SYNC
WROTE = tuple(Progress(80.0 + n, wal(1, 100 * n)) for n in range(11))
"""Until 90 s, a hundred bytes a second."""


def primary(**flushed: int) -> InstanceReport:
    senders = tuple(sender(Region(region), lsn=lsn) for region, lsn in flushed.items())
    return report(Role.PRIMARY, lsn=1000, senders=senders)


def given(mode: ReplicationMode, *, primary_: InstanceReport, eu: int, ap: int, **changes: Any) -> Any:
    heard = {US: seen(US, 100, report_=primary_), EU: seen(EU, 100, report_=report(lsn=eu))}
    heard[AP] = seen(AP, 100, report_=report(lsn=ap))
    return view(EU, **({"topology": topology(mode=mode), "seen": heard, "progress": WROTE} | changes))


@pytest.mark.parametrize(
    ("situation", "to", "refused"),
    [
        pytest.param(given(SYNC, primary_=primary(eu=990, ap=990), eu=900, ap=800), AP, None, id="it holds it all"),
        pytest.param(
            given(SYNC, primary_=primary(eu=990, ap=980), eu=900, ap=985),
            AP,
            "eu holds more WAL than ap",
            id="another leads",
        ),
        pytest.param(
            given(SYNC, primary_=primary(eu=990), eu=900, ap=990), AP, "eu holds more WAL", id="it does not stream"
        ),
        pytest.param(
            given(SYNC, primary_=report(Role.STOPPED, wal=None), eu=900, ap=985), AP, None, id="by their own word"
        ),
        pytest.param(
            given(SYNC, primary_=report(Role.STOPPED, wal=None), eu=990, ap=985),
            AP,
            "eu holds more WAL",
            id="by their words",
        ),
        pytest.param(given(ASYNC, primary_=primary(), eu=1000, ap=800), AP, None, id="async: within the RPO"),
        pytest.param(
            given(ASYNC, primary_=primary(), eu=1000, ap=300),
            AP,
            "ap would lose about 7.0 s of writes, the RPO is 5 s, and eu about 0.0 s: choose that",
            id="async: another one would lose less",
        ),
        pytest.param(given(ASYNC, primary_=primary(), eu=300, ap=300), AP, None, id="async: there is no better one"),
        pytest.param(
            given(ASYNC, primary_=primary(), eu=1, ap=1, seen={AP: seen(AP, 100 - LEASE_S)}),
            AP,
            "no heartbeat from ap",
            id="silent",
        ),
        pytest.param(
            given(ASYNC, primary_=primary(), eu=1, ap=1, seen={AP: seen(AP, 100, report_=report(wal=None))}),
            AP,
            "does not report its WAL position",
            id="nothing known",
        ),
    ],
)
def test_an_unsafe_choice_is_refused_before_the_primary_is_deposed(
    situation: Any, to: Region, refused: str | None
) -> None:
    because = election.unfit(situation, situation.topology, to)
    if refused is None:
        assert because is None
    else:
        assert because is not None
        assert refused in because


@pytest.mark.parametrize(
    ("mode", "wanted_lsn", "elected", "because"),
    [
        pytest.param(SYNC, 1000, AP, "an operator chose it", id="sync: it holds all"),
        pytest.param(
            SYNC, 990, EU, "it holds more WAL than ap, which was requested", id="sync: it does not, after all"
        ),
        pytest.param(ASYNC, 900, AP, "an operator chose it (about 1.0 s behind)", id="async: within the RPO"),
        pytest.param(ASYNC, 300, EU, "it holds more WAL than ap, which was requested", id="async: beyond the RPO"),
    ],
)
def test_the_chosen_one_is_elected_when_that_loses_nothing_promised(
    mode: ReplicationMode, wanted_lsn: int, elected: Region, because: str
) -> None:
    asked = electing(mode=mode, request="eu-1", target=AP, deposed_lease_over=True)
    promises = {EU: promise(EU, 1000), AP: promise(AP, wanted_lsn), US: promise(US, 900)}
    situation = view(EU, topology=asked, promises=promises, progress=WROTE)
    choice = election.choose(situation, asked)
    assert choice.elected == elected
    assert because in choice.because
