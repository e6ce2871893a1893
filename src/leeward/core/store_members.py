"""What agents report to each other about their members of the quorum store. Pure.

It goes from agent to agent and never through the store: a store that refuses writes is one of the things to report.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from leeward.core.values import Region

NO_SPACE = "NOSPACE"
"""etcd's alarm of a member that reached its quota: no member accepts writes."""
OLD_PERIODS = 3
"""A backup is too old after so many periods: two attempts have failed by then."""


@dataclass(frozen=True, slots=True)
class StoreMember:
    """One region's member, as the agent beside it knows it."""

    backup_at_unix_s: float | None = None
    """When its newest checked backup was made; None: no backup exists."""
    backup_error: str = ""
    """Why the last attempt failed; empty when it did not."""
    answers: bool = False
    """It answered a linearizable read."""
    leads: bool = False
    db_bytes: int = 0
    """Of its file, which the quota is for; 0: not known yet."""
    in_use_bytes: int = 0
    """Of its file, without free pages."""
    quota_bytes: int = 0
    alarms: tuple[str, ...] = ()
    """Raised by any member, as this one knows."""
    tidied: bool = False
    """It was defragmented since the alarm was raised: what it holds now is live."""
    defragmenting: bool = False
    """It stands still, or is about to."""


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What one agent knows of all members."""

    members: Mapping[Region, StoreMember] = field(default_factory=dict)
    """By region; one that does not answer keeps its last report."""
    unix_s: float = 0.0
    every_s: float = 0.0
    """How often each is to be backed up."""

    def backup_age_s(self, member: StoreMember) -> float | None:
        """Return how old a member's newest backup is. A clock that is behind never makes the age negative."""
        return None if member.backup_at_unix_s is None else max(0.0, self.unix_s - member.backup_at_unix_s)
