import pytest

from leeward.core import rejoin
from leeward.core.values import Rejoin, RejoinMethod, Unread
from tests.core.views import EU, US

FORK = "timeline 1 continues past the fork"


@pytest.mark.parametrize(
    ("back", "because"),
    [
        pytest.param(
            Rejoin(2, EU, RejoinMethod.NOTHING, "", 0, 0, 0.31),
            "us follows eu again, 0.3 s after the order: histories are compatible; no rewind needed",
            id="nothing to undo",
        ),
        pytest.param(
            Rejoin(2, EU, RejoinMethod.REWIND, FORK, 5 << 20, 1, 2.0),
            f"us follows eu again, 2.0 s after the order: {FORK}; "
            "1 orphaned transaction kept, then pg_rewind copied 5.0 MiB",
            id="rewound",
        ),
        pytest.param(
            Rejoin(2, EU, RejoinMethod.COPY, FORK, 31 << 20, 0, 9.0),
            f"us follows eu again, 9.0 s after the order: {FORK}; "
            "0 orphaned transactions kept, then a base backup copied 31.0 MiB",
            id="copied",
        ),
        pytest.param(
            Rejoin(2, EU, RejoinMethod.COPY, FORK, 31 << 20, 3, 9.0, unread=2),
            f"us follows eu again, 9.0 s after the order: {FORK}; "
            "3 orphaned transactions kept (not all rows of 2 tables could be read), then a base backup copied 31.0 MiB",
            id="not all read, as an earlier version reports it",
        ),
        pytest.param(
            Rejoin(2, EU, RejoinMethod.COPY, FORK, 31 << 20, 3, 9.0, unread=2, unread_first=Unread("big", "locked")),
            f"us follows eu again, 9.0 s after the order: {FORK}; 3 orphaned transactions kept "
            "(not all rows of 2 tables could be read; big: locked), then a base backup copied 31.0 MiB",
            id="not all read, and why",
        ),
    ],
)
def test_it_describes_what_was_undone_and_how(back: Rejoin, because: str) -> None:
    assert rejoin.note(US, back).because == because
