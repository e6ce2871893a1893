"""Maintain this region's member of the quorum store: back it up, keep room in it, report on it to the other agents.

What is done about room is decided in ``leeward.core.store_space``. Agents take turns without a lock in the store, which
may refuse writes: each announces that it is about to defragment, then asks the others once more. Of two that begin
at once, each sees the other.

Always true: what fails is logged, reported and retried; a heartbeat waits for nothing here but a member that stands
still while it is defragmented.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

import structlog

from leeward.adapters.etcd.backup import Backup, BackupError
from leeward.adapters.etcd.maintenance import Measured
from leeward.agent.machine import events as on
from leeward.agent.runtime.supervision import keep
from leeward.core import store_space
from leeward.core.settings import StoreSettings
from leeward.core.store_members import NO_SPACE, StoreMember
from leeward.core.store_space import Pause, Step
from leeward.core.values import Region
from leeward.kit.loops import repeat
from leeward.ports.clock import Clock
from leeward.ports.quorum import QuorumUnavailableError

log = structlog.get_logger()

# An agent that just started has a lease to get first.
SETTLE_S = 5.0
RETRY_S = 60.0
LOOK_EVERY_S = 5.0
# No primary writes until the alarm is lifted.
LOOK_ALARMED_S = 1.0
PEER_TIMEOUT_S = 2.0
MEASURE_S = 2.0
CALL_S = 5.0
COMPACT_S = 30.0
DEFRAGMENT_S = 60.0


class Member(Protocol):
    """This region's member of the store."""

    async def newest_backup(self) -> tuple[float | None, str]:
        """Return when the newest whole backup was made, and what is wrong with newer ones. Raises OSError."""
        ...

    async def back_up(self, *, unix_s: float, keep: int) -> Backup:
        """Make a checked backup, and remove the oldest. Raises QuorumUnavailableError, BackupError, OSError."""
        ...

    async def measure(self, *, timeout_s: float) -> Measured:
        """Return the member's state, once it has answered a linearizable read. Raises QuorumUnavailableError."""
        ...

    async def compact(self, revision: int, *, timeout_s: float) -> None:
        """Forget the history before a revision, in every member. Raises QuorumUnavailableError."""
        ...

    async def defragment(self, *, timeout_s: float) -> None:
        """Give free pages back. Raises QuorumUnavailableError."""
        ...

    async def disarm(self, alarm: str, *, timeout_s: float) -> None:
        """Lift an alarm, whichever members raised it. Raises QuorumUnavailableError."""
        ...


class Peers(Protocol):
    """The other regions' agents."""

    async def store_member(self, region: Region, *, timeout_s: float) -> StoreMember | None:
        """Return a member as its agent reports it; None when the agent does not answer."""
        ...


class StoreKeeper:
    """Runs beside the machine, and reports to it what it found."""

    def __init__(
        self,
        settings: StoreSettings,
        me: Region,
        others: tuple[Region, ...],
        *,
        member: Member,
        peers: Peers,
        clock: Clock,
        post: Callable[[on.Event], None],
    ) -> None:
        self._settings = settings
        self._me = me
        self._others = others
        self._member = member
        self._peers = peers
        self._clock = clock
        self._post = post
        self._revision = 0
        # Revisions at which it was done under an alarm. Later ones say that the alarm was lifted in between.
        self._compacted_at: int | None = None
        self._tidied_at: int | None = None
        self._defragmented = Pause()
        self._disarmed = Pause()
        self.own = StoreMember(quota_bytes=settings.quota_bytes)
        """What is known of this region's member."""

    async def run(self) -> None:
        """Look after it until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep("back up the store", self._keep_backed_up), name="back up the store")
            tasks.create_task(keep("keep room in the store", self._keep_room), name="keep room in the store")

    # -- backups ----------------------------------------------------------------------------------

    async def _keep_backed_up(self) -> None:
        # One that starts again goes on with the schedule.
        made_at_unix_s, damaged = await self._member.newest_backup()
        if damaged:
            log.warning("backups of the store are damaged", because=damaged)
        self._report(replace(self.own, backup_at_unix_s=made_at_unix_s))
        await asyncio.sleep(SETTLE_S)
        while True:
            await asyncio.sleep(self._due_in_s())
            try:
                made = await self._member.back_up(unix_s=self._clock.unix_s(), keep=self._settings.backups_kept)
            except (BackupError, QuorumUnavailableError, OSError) as error:
                log.warning("backup of the store failed", because=str(error))
                self._report(replace(self.own, backup_error=str(error)))
                await asyncio.sleep(min(RETRY_S, self._settings.backup_every_s))
            else:
                log.info("backup of the store made", file=made.path.name, bytes=made.size_bytes)
                self._report(replace(self.own, backup_at_unix_s=made.made_at_unix_s, backup_error=""))

    def _due_in_s(self) -> float:
        """Return how long to wait. A backup of the future, after a clock was set back, delays by a period at most."""
        if self.own.backup_at_unix_s is None:
            return 0.0
        every_s = self._settings.backup_every_s
        return min(every_s, max(0.0, self.own.backup_at_unix_s + every_s - self._clock.unix_s()))

    # -- room -------------------------------------------------------------------------------------

    async def _keep_room(self) -> None:
        every_s = LOOK_EVERY_S

        async def look() -> None:
            nonlocal every_s
            await self._measure()
            members = await self._ask()
            await self._act(members)
            every_s = LOOK_ALARMED_S if store_space.is_alarmed(members) else LOOK_EVERY_S

        await repeat("keep room in the store", look, every_s=lambda: every_s)

    async def _act(self, members: Mapping[Region, StoreMember | None]) -> None:
        now_s = self._clock.now_s()
        try:
            match self._step(members):
                case Step.COMPACT:
                    log.warning("the store reached its quota; compacting it", revision=self._revision)
                    await self._member.compact(self._revision, timeout_s=COMPACT_S)
                    self._compacted_at = self._revision
                case Step.DEFRAGMENT if now_s >= self._defragmented.until_s:
                    await self._defragment()
                case Step.DISARM if now_s >= self._disarmed.until_s:
                    self._disarmed = self._disarmed.after(now_s)
                    await self._member.disarm(NO_SPACE, timeout_s=CALL_S)
                    log.warning("lifted the store's alarm", alarm=NO_SPACE)
        except QuorumUnavailableError as error:
            log.warning("failed to make room in the store", because=str(error))

    def _step(self, members: Mapping[Region, StoreMember | None]) -> Step:
        return store_space.step(self._me, members, compacted=self._compacted_at == self._revision)

    async def _defragment(self) -> None:
        self._report(replace(self.own, defragmenting=True))
        try:
            # Two agents that begin at the same moment see one another here.
            if self._step(await self._ask()) is not Step.DEFRAGMENT:
                return
            self._defragmented = self._defragmented.after(self._clock.now_s())
            before_bytes = self.own.db_bytes
            await self._member.defragment(timeout_s=DEFRAGMENT_S)
            self._tidied_at = self._revision
            await self._measure()
            log.info("defragmented the store's member", before_bytes=before_bytes, after_bytes=self.own.db_bytes)
        finally:
            self._report(replace(self.own, defragmenting=False))

    async def _measure(self) -> None:
        try:
            found = await self._member.measure(timeout_s=MEASURE_S)
        except QuorumUnavailableError:
            self._report(replace(self.own, answers=False))
            return
        self._revision = found.revision
        self._report(
            replace(
                self.own,
                answers=True,
                leads=found.leads,
                db_bytes=found.db_bytes,
                in_use_bytes=found.in_use_bytes,
                alarms=found.alarms,
                tidied=NO_SPACE in found.alarms and self._tidied_at == found.revision,
            )
        )

    # -- reporting --------------------------------------------------------------------------------

    async def _ask(self) -> dict[Region, StoreMember | None]:
        """Return every region's member, as its agent reports now; None for one that does not answer."""
        asked = [self._peers.store_member(region, timeout_s=PEER_TIMEOUT_S) for region in self._others]
        found = dict(zip(self._others, await asyncio.gather(*asked), strict=True))
        self._post(on.StoreMembersSeen({region: member for region, member in found.items() if member is not None}))
        return {self._me: self.own, **found}

    def _report(self, own: StoreMember) -> None:
        self.own = own
        self._post(on.StoreMembersSeen({self._me: own}))
