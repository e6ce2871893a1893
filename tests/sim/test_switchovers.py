"""Planned changes whose source loses its disk: an election judges what is lost, and no copy passes for the original."""

from dataclasses import replace

import pytest

from leeward.core.values import FailoverPolicy, Region, ReplicationMode
from leeward.sim.faults import Fault, Kind
from leeward.sim.fleet import three
from leeward.sim.plan import FOUND_S, Plan
from leeward.sim.swarm import live_through

US, EU, AP = Region("us"), Region("eu"), Region("ap")
BEGINS_S = FOUND_S + 5.0
BEHIND = Fault(FOUND_S + 2.0, Kind.SLOW_REPLICA, EU, None, 30.0, 1.0)
"""The target flushes a second late, so it lacks what the others hold."""
SWITCHOVER = Fault(BEGINS_S, Kind.SWITCHOVER, US, EU)


def lived(
    mode: ReplicationMode, *faults: Fault, policy: FailoverPolicy = FailoverPolicy.AUTOMATIC
) -> tuple[list[str], int]:
    lines = list[str]()
    seen = live_through(
        Plan(1, replace(three(mode), failover=policy), faults, (), 40.0, jitter=0.0), trace=lines.append
    )
    assert seen.outcome.violation is None
    return [line[28:] for line in lines], seen.outcome.lost


OFF = "the switchover to eu is cancelled: the data in us is lost, and eu may lack its last writes"
BACK = "eu lacks the end of us's WAL, and us still has it; an election decides"


def lost_disk(after_s: float, for_s: float) -> Fault:
    return Fault(BEGINS_S + after_s, Kind.VOLUME_LOSS, US, None, for_s)


def after(lines: list[str], line: str) -> list[str]:
    return lines[lines.index(line) :]


@pytest.mark.parametrize("mode", list(ReplicationMode))
@pytest.mark.parametrize("after_s", [0.3, 1.0], ids=["while the others line up", "while the source drains"])
def test_a_source_that_loses_its_disk_hands_nothing_over(mode: ReplicationMode, after_s: float) -> None:
    lines, lost = lived(mode, BEHIND, SWITCHOVER, lost_disk(after_s, 1.5))
    elected = [line for line in after(lines, OFF) if line.startswith("ap is elected: its WAL is the most advanced")]
    assert elected, "an election judges what is lost"
    assert lost == 0 or mode is ReplicationMode.ASYNC


def test_what_is_lost_with_a_disk_is_told() -> None:
    slow = Fault(FOUND_S + 2.0, Kind.SLOW_REPLICA, AP, None, 30.0, 1.0)
    lines, lost = lived(ReplicationMode.ASYNC, BEHIND, slow, SWITCHOVER, lost_disk(1.0, 1.5))
    assert lost > 0
    assert any("is elected: its WAL" in line and "of writes are lost" in line for line in after(lines, OFF))


@pytest.mark.parametrize(("mode", "dies_s"), [(ReplicationMode.ASYNC, 2.8), (ReplicationMode.SYNC, 2.0)])
def test_a_target_that_cannot_get_the_end_hands_back_where_nobody_gives_it_up(
    mode: ReplicationMode, dies_s: float
) -> None:
    at_s = BEGINS_S + dies_s
    died, apart = Fault(at_s, Kind.INSTANCE_KILL, EU, None, 0.4), Fault(at_s + 0.2, Kind.PARTITION, US, EU, 8.0)
    lines, lost = lived(mode, BEHIND, SWITCHOVER, died, apart, policy=FailoverPolicy.OBSERVE)
    assert "us accepts writes and has written epoch 3 into the database" in after(lines, BACK)
    assert lost == 0


@pytest.mark.parametrize(
    ("mode", "dies_s", "loses_s"), [(ReplicationMode.ASYNC, 2.8, 3.9), (ReplicationMode.SYNC, 2.0, 3.1)]
)
def test_a_source_that_loses_its_disk_while_the_target_lacks_the_end(
    mode: ReplicationMode, dies_s: float, loses_s: float
) -> None:
    died = Fault(BEGINS_S + dies_s, Kind.INSTANCE_KILL, EU, None, 0.4)
    lines, _ = lived(mode, BEHIND, SWITCHOVER, died, lost_disk(loses_s, 0.05))
    assert any(" is elected: its WAL" in line for line in lines)
