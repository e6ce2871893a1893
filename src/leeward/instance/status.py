"""The status with its version: built from what is known, published when it changes, awaited by readers."""

import asyncio
from dataclasses import dataclass, replace

from leeward.core.values import Disk, InstanceStatus, Orphans, Region, Rejoin, Role, WalPosition
from leeward.instance.guard import Guard
from leeward.instance.machine.values import Observation, State
from leeward.instance.settings import ManagerSettings
from leeward.kit.kernel import boot_clock_s

_MIB = 2**20
FULL_BYTES = 16 * _MIB
"""One segment of WAL."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the reconcile loop reports of itself."""

    activity: str = "idle"
    settled: bool = False
    problem: str | None = None
    proved_epoch: int | None = None
    admitted_epoch: int | None = None
    orphans: tuple[Orphans, ...] = ()
    rejoined: Rejoin | None = None
    has_data: bool = False


class Publisher:
    """Holds the current status; its version grows with every change but the clock's."""

    def __init__(self, settings: ManagerSettings, guard: Guard, incarnation: str) -> None:
        self._regions = {(address.host, address.port): name for name, address in settings.wal_sources.items()}
        self._guard = guard
        self._incarnation = incarnation
        self.weakened: tuple[str, ...] = ()
        """What makes commits wait for less than promised (``durability``)."""
        self.disk: Disk | None = None
        """The volume (``volume``)."""
        self._status = self._build(State(), Progress(), None, None, running=False)
        self._version = 1
        self._changed = asyncio.Condition()

    async def publish(
        self,
        state: State,
        progress: Progress,
        seen: Observation | None,
        upstream: Region | None,
        *,
        running: bool,
    ) -> None:
        """Make this the status; wake the waiters when it differs."""
        status = self._build(state, progress, seen, upstream, running=running)
        if status != self._status:
            async with self._changed:
                self._status = status
                self._version += 1
                self._changed.notify_all()

    async def wait(self, after: int, timeout_s: float) -> None:
        """Return when the version is above ``after`` (or from another incarnation), or after a while."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: self._version != after)
        except TimeoutError:
            return

    def current(self) -> tuple[InstanceStatus, int]:
        """Return the status as of this moment, and its version.

        The clock is read here, last: it must not be ahead of the instance's when the reader gets it.
        """
        status = self._status
        lease_over = status.order is None or self._guard.remaining_s(status.order.epoch) <= 0
        return replace(
            status,
            writable=status.writable and not lease_over,
            lease_until_s=None if self._guard.lease is None else self._guard.lease.until_s,
            clock_s=boot_clock_s(),
        ), self._version

    def upstream_of(self, seen: Observation) -> Region | None:
        """Return which region its WAL receiver is connected to."""
        return None if seen.streaming_from is None else self._regions.get(seen.streaming_from)

    def _build(
        self,
        state: State,
        progress: Progress,
        seen: Observation | None,
        upstream: Region | None,
        *,
        running: bool,
    ) -> InstanceStatus:
        order = state.order
        primary = seen is not None and not seen.in_recovery
        return InstanceStatus(
            clock_s=0.0,
            incarnation=self._incarnation,
            epoch=state.epoch,
            role=_role(seen),
            order=order,
            settled=progress.settled,
            activity=progress.activity,
            writable=primary
            and order is not None
            and order.role is Role.PRIMARY
            and state.writable_epoch == order.epoch
            and progress.admitted_epoch == order.epoch
            and self._guard.remaining_s(order.epoch) > 0,
            proved=order is not None and progress.proved_epoch == order.epoch,
            wal=_position(state, seen, running=running),
            replayed_lsn=None if seen is None else seen.replayed_lsn if seen.in_recovery else seen.flushed_lsn,
            upstream=upstream,
            senders=() if seen is None else seen.senders,
            problem=progress.problem or (None if _role(seen) is Role.DETACHED else _full(self.disk)),
            orphans=progress.orphans,
            rejoined=progress.rejoined,
            revision=state.revision,
            accepted=state.accepted,
            weakened=self.weakened,
            disk=self.disk,
            has_data=progress.has_data,
        )


def _full(disk: Disk | None) -> str | None:
    """Return what is wrong with a volume that has no room for one more segment of WAL: commits may still succeed.

    Not reported for an instance that is cut for an election: a promise is made once, and space may be freed later.
    """
    if disk is None or disk.free_bytes >= FULL_BYTES:
        return None
    return f"the volume is full: {disk.free_bytes // _MIB} of {disk.size_bytes // _MIB} MiB are free"


def _role(seen: Observation | None) -> Role:
    if seen is None:
        return Role.STOPPED
    if not seen.in_recovery:
        return Role.PRIMARY
    return Role.STANDBY if seen.upstream_conninfo else Role.DETACHED


def _position(state: State, seen: Observation | None, *, running: bool) -> WalPosition | None:
    if seen is not None:
        return seen.position
    return None if running else state.stopped_wal
