"""When a member of the store may be restarted in an exchange of authorities, and when none begins."""

from typing import Any

import pytest

from leeward.core.conditions.values import Status, Type
from leeward.operate import rotation
from leeward.operate.agents import Answer
from leeward.operate.outcome import OperationError
from tests.cli.test_status import EAST, info

WELL = {Type.READY: Status.TRUE, Type.QUORUM_AVAILABLE: Status.TRUE, Type.REPLICATING: Status.TRUE}


def answer(conditions: dict[Type, Status], answered: int = 3, status: int = 200) -> Answer:
    body: dict[str, Any] = {
        "answered": [str(number) for number in range(answered)],
        "conditions": {"payments": [{"type": kind, "status": found} for kind, found in conditions.items()]},
    }
    return Answer("us", status, body if status else {})


@pytest.mark.parametrize(
    ("found", "well"),
    [
        pytest.param(answer(WELL), True, id="all is well"),
        pytest.param(answer({**WELL, Type.PAUSED: Status.FALSE}), True, id="what is not needed does not count"),
        pytest.param(answer(WELL, answered=2), False, id="a region is not heard"),
        pytest.param(answer({**WELL, Type.REPLICATING: Status.FALSE}), False, id="a standby does not stream"),
        pytest.param(answer({**WELL, Type.READY: Status.UNKNOWN}), False, id="it is not known"),
        pytest.param(answer(WELL, status=0), False, id="the agent does not answer"),
    ],
)
def test_the_fleet_is_well_or_a_member_waits(found: Answer, well: bool) -> None:
    assert rotation._is_well(found, 3) is well


def test_no_exchange_begins_while_a_region_is_lost() -> None:
    rotation._check(info())
    with pytest.raises(OperationError, match="no authority was exchanged"):
        rotation._check(info(EAST))
