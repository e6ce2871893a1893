"""What an operator asks for is proposed, or refused with its reason."""

import re
from dataclasses import replace

import pytest

from leeward.agent.machine import events
from leeward.agent.machine.requests import Answer, answer
from leeward.core.actions import Propose
from leeward.core.values import ReplicationMode
from tests.core.views import SETTINGS, US, topology, view

ASYNC, SYNC, QUORUM = ReplicationMode.ASYNC, ReplicationMode.SYNC, ReplicationMode.QUORUM


def asked(mode: ReplicationMode, stored: ReplicationMode, lease_s: float, rpo_s: float) -> Propose | Answer:
    app = replace(SETTINGS, lease_s=lease_s, takeover_s=lease_s, rpo_s=rpo_s)
    return answer(view(US, app=app, topology=topology(mode=stored)), events.ModeRequested("r1", app.name, mode))


@pytest.mark.parametrize(
    ("mode", "stored", "lease_s", "rpo_s", "refused"),
    [
        pytest.param(ASYNC, SYNC, 2.0, 5.0, None, id="the lease is short"),
        pytest.param(ASYNC, SYNC, 15.0, 30.0, None, id="half of the RPO"),
        pytest.param(ASYNC, SYNC, 15.1, 30.0, "lose the 15.1 s of its lease, .* may be 15 s", id="more than half"),
        pytest.param(ASYNC, QUORUM, 2.0, 0.0, "RPO of 0 s", id="nothing may be lost"),
        pytest.param(QUORUM, SYNC, 25.0, 0.0, None, id="a patient lease loses nothing in quorum"),
        pytest.param(SYNC, ASYNC, 25.0, 5.0, None, id="towards sync"),
    ],
)
def test_a_lease_longer_than_half_of_the_rpo_does_not_become_asynchronous(
    mode: ReplicationMode, stored: ReplicationMode, lease_s: float, rpo_s: float, refused: str | None
) -> None:
    told = asked(mode, stored, lease_s, rpo_s)
    if refused is None:
        assert isinstance(told, Propose)
        assert told.topology.requested_mode is mode
    else:
        assert isinstance(told, Answer)
        assert not told.accepted
        assert re.search(refused, told.because)


def test_a_change_to_another_mode_may_be_called_off_whatever_the_lease() -> None:
    app = replace(SETTINGS, lease_s=25.0, takeover_s=25.0, rpo_s=5.0)
    given = view(US, app=app, topology=topology(mode=ASYNC, requested_mode=QUORUM))
    told = answer(given, events.ModeRequested("r1", app.name, ASYNC))
    assert isinstance(told, Propose)
    assert told.topology.requested_mode is None
