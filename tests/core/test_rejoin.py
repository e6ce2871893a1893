import pytest

from leeward.core import rejoin
from leeward.core.values import Rejoin, RejoinMethod
from tests.core.views import EU, US

FORK = "timeline 1 went on past their fork"


@pytest.mark.parametrize(
    ("back", "because"),
    [
        pytest.param(
            Rejoin(2, EU, RejoinMethod.NOTHING, "", 0, 0, 0.31),
            "us follows eu again, 0.3 s after it was told to: its own is a part of theirs, nothing had to be undone",
            id="nothing to undo",
        ),
        pytest.param(
            Rejoin(2, EU, RejoinMethod.REWIND, FORK, 5 << 20, 1, 2.0),
            f"us follows eu again, 2.0 s after it was told to: {FORK}; "
            "1 orphaned transaction kept, then pg_rewind copied 5.0 MiB",
            id="rewound",
        ),
        pytest.param(
            Rejoin(2, EU, RejoinMethod.COPY, FORK, 31 << 20, 0, 9.0),
            f"us follows eu again, 9.0 s after it was told to: {FORK}; "
            "0 orphaned transactions kept, then a base backup copied 31.0 MiB",
            id="copied",
        ),
    ],
)
def test_it_says_what_was_undone_and_how(back: Rejoin, because: str) -> None:
    assert rejoin.note(US, back).because == because
