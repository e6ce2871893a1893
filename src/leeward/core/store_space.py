"""Decide what an agent does about the room in its member's database: compact, defragment, lift the alarm. Pure.

etcd counts the size of a member's file against the quota, free pages included, and the file never shrinks. At
the quota it raises the alarm NOSPACE, which every member keeps until it is lifted: no write is accepted. A member
stands still while it is defragmented, so they take turns: followers by name, the leader last.

Always true: without an alarm a member is defragmented only while every member answers and none is being defragmented.
With one nothing is written anyway, and a region that is lost must not keep the others from recovering: a majority is
enough then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from leeward.core.store_members import NO_SPACE, StoreMember
from leeward.core.values import Region

FRAGMENTED_FREE = 0.5
"""Of a file: what must be free before it is worth a standstill."""
FRAGMENTED_SIZE = 0.25
"""Of the quota: files below it are left alone."""
STANDSTILL_BYTES = 32 * 1024 * 1024
"""In use, which is what the copy takes its time for: about 0.5 s. A lease of 2 s outlasts that."""
ROOM = 0.95
"""Of the quota: with files above it the alarm would return at once."""
FILLING = 0.8
"""Of the quota: files above it are reported."""

PAUSE_MIN_S = 10.0
PAUSE_MAX_S = 600.0
PAUSE_FORGOTTEN_S = 3600.0


class Step(Enum):
    """What to do next."""

    NOTHING = auto()
    COMPACT = auto()
    DEFRAGMENT = auto()
    DISARM = auto()


@dataclass(frozen=True, slots=True)
class Pause:
    """The least time between two attempts: doubles from PAUSE_MIN_S to PAUSE_MAX_S while they follow one another."""

    until_s: float = 0.0
    length_s: float = 0.0

    def after(self, now_s: float) -> "Pause":
        """Return the pause that begins with an attempt."""
        if not self.length_s or now_s - self.until_s > PAUSE_FORGOTTEN_S:
            length_s = PAUSE_MIN_S
        else:
            length_s = min(2 * self.length_s, PAUSE_MAX_S)
        return Pause(now_s + length_s, length_s)


def step(me: Region, members: Mapping[Region, StoreMember | None], *, compacted: bool) -> Step:
    """Return what the agent of ``me`` does now.

    ``members`` has every region of the fleet, with None for an agent that does not answer. ``compacted``: since the
    alarm was raised, this agent has compacted the history.
    """
    heard = {region: member for region, member in members.items() if member is not None and member.answers}
    own = heard.get(me)
    if own is None:
        return Step.NOTHING
    alarmed = is_alarmed(members)
    if alarmed and not compacted:
        # Another member's report may be from before the alarm was lifted.
        return Step.COMPACT if NO_SPACE in own.alarms else Step.NOTHING
    if len(heard) < (len(members) // 2 + 1 if alarmed else len(members)):
        return Step.NOTHING
    if any(member.defragmenting for region, member in heard.items() if region != me):
        return Step.NOTHING
    turns = sorted(heard, key=lambda region: (heard[region].leads, region))
    waiting = [region for region in turns if _worth_it(heard[region], alarmed)]
    if waiting:
        return Step.DEFRAGMENT if waiting[0] == me else Step.NOTHING
    roomy = all(member.db_bytes <= ROOM * member.quota_bytes for member in heard.values())
    return Step.DISARM if alarmed and roomy and min(heard) == me else Step.NOTHING


def is_alarmed(members: Mapping[Region, StoreMember | None]) -> bool:
    """Return whether writes are refused, as any member that answers knows."""
    return any(member.answers and NO_SPACE in member.alarms for member in members.values() if member is not None)


def _worth_it(member: StoreMember, alarmed: bool) -> bool:
    """Whether a member is to be defragmented."""
    if alarmed:
        # What is in use means nothing then: etcd counts pages as free only with the next write.
        return member.db_bytes > FILLING * member.quota_bytes and not member.tidied
    free_bytes = member.db_bytes - member.in_use_bytes
    return (
        member.db_bytes > FRAGMENTED_SIZE * member.quota_bytes
        and free_bytes > FRAGMENTED_FREE * member.db_bytes
        and member.in_use_bytes <= STANDSTILL_BYTES
    )
