"""The one loop that makes PostgreSQL what the order says: look, take one step, look again.

Level-triggered: every step starts from what is there, may be interrupted by a newer order at any
point, and may be repeated. Always true: PostgreSQL is watched by the guard from before it can accept a
write until it has ended, and what it was ordered last survives the manager.
"""

import asyncio
from typing import assert_never

import psycopg
import structlog

from leeward.adapters.postgres.configuration import Duty
from leeward.adapters.postgres.follow import Follower
from leeward.adapters.postgres.instance import Instance
from leeward.adapters.postgres.lead import Leader
from leeward.adapters.postgres.server import CommandError
from leeward.core.codec import DecodeError
from leeward.core.values import Order, Role, WalPosition

STEADY_S = 0.2
"""How often a settled instance looks at its PostgreSQL."""
SOON_S = 0.02
_RETRY_S = 0.5
_STOP_TIMEOUT_S = 15.0
# What is left of a stop that is called off. Standbys that answer get the rest; one that is gone is not waited for.
_STOP_CALLED_OFF_S = 0.5
_CHECKPOINT_TIMEOUT_S = 30.0
# So long must replay stand still, with the startup process waiting for more, to have ended inside a record.
_REPLAY_IDLE_S = 0.3

log = structlog.get_logger("leeward.postgres")


class StaleError(Exception):
    """An order of an older epoch than one accepted before."""


class Reconciler:
    """Accepts orders and converges. ``run`` is the loop; the caller owns its task."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._leader = Leader(instance, self.wake)
        self._follower = Follower(instance)
        self._wake = asyncio.Event()
        self._step_task: asyncio.Task[float] | None = None
        self._replay_idle_since: tuple[int, float] | None = None

    async def accept(self, order: Order) -> None:
        """Make this the order in force; it is durable when this returns. Raises StaleError."""
        instance = self._instance
        if order.epoch < instance.state.epoch:
            raise StaleError(f"epoch {order.epoch} is older than {instance.state.epoch}")
        if order == instance.state.order:
            return
        instance.remember(epoch=order.epoch, order=order)
        self._leader.forget_other_than(order)
        instance.progress.settled = False
        instance.progress.problem = None
        if self._step_task is not None:
            self._step_task.cancel()
        self.wake()
        await instance.publish()

    def wake(self) -> None:
        """Look again now: an order, a lease, or the end of PostgreSQL."""
        self._wake.set()

    async def run(self) -> None:
        """Converge for ever. On cancellation the step under way is cancelled too; PostgreSQL is left as it is."""
        fresh = asyncio.create_task(self._instance.keep_fresh(STEADY_S), name="keep-status-fresh")
        try:
            while True:
                self._wake.clear()
                delay_s = await self._step()
                try:
                    async with asyncio.timeout(delay_s):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            fresh.cancel()
            await asyncio.gather(fresh, return_exceptions=True)
            await self._leader.close()

    async def _step(self) -> float:
        self._step_task = asyncio.create_task(self._converge(), name="reconcile-step")
        try:
            return await self._step_task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                self._step_task.cancel()
                await asyncio.gather(self._step_task, return_exceptions=True)
                raise
            return 0.0  # a newer order
        except (CommandError, DecodeError, psycopg.Error, OSError) as error:
            problem = str(error).strip() or type(error).__name__
            await self._instance.say(self._instance.progress.activity, problem=problem)
            return _RETRY_S
        finally:
            self._step_task = None

    async def _converge(self) -> float:
        instance = self._instance
        order = instance.state.order
        if order is None:
            await instance.say("waiting for an order")
            return STEADY_S
        await instance.observe()
        if not instance.server.running:
            instance.ended()
        if instance.server.stopping and order.role is not Role.STOPPED:
            await instance.say("stopping, to start again")
            await instance.stop(timeout_s=_STOP_CALLED_OFF_S)
        match order.role:
            case Role.PRIMARY:
                return await self._leader.step(order)
            case Role.STANDBY:
                return await self._follower.step(order)
            case Role.DETACHED:
                return await self._detach()
            case Role.STOPPED:
                return await self._stop()
            case _:
                assert_never(order.role)

    async def _detach(self) -> float:
        """Be in recovery, connected to nobody, everything received replayed."""
        instance = self._instance
        if not instance.data.exists or instance.state.incomplete:
            await instance.say("cut", problem="no complete copy of the data here")
            return STEADY_S
        if not await self._follower.in_recovery(Duty()):
            source = instance.state.copied_from
            if source is not None:
                await instance.say("starting in recovery", problem=f"not consistent before it streamed from {source}")
            return SOON_S
        seen = await instance.cut()
        if seen is None:
            return SOON_S
        if not self._all_replayed(seen.received_lsn or 0, seen.replayed_lsn or 0, idle=seen.replay_idle):
            await instance.say("replaying")
            return SOON_S
        await instance.provide_slots()
        await instance.say("cut", settled=True)
        return STEADY_S

    def _all_replayed(self, received_lsn: int, replayed_lsn: int, *, idle: bool) -> bool:
        if replayed_lsn >= received_lsn:
            return True
        # What was received may end inside a record, which can never be replayed.
        now_s = asyncio.get_running_loop().time()
        since = self._replay_idle_since
        if not idle or since is None or since[0] != replayed_lsn:
            self._replay_idle_since = (replayed_lsn, now_s)
            return False
        return now_s - since[1] >= _REPLAY_IDLE_S

    async def _stop(self) -> float:
        """Stop cleanly: checkpoint while still serving, then fast, and say where history ended."""
        instance = self._instance
        seen = instance.seen
        if not instance.server.running:
            clean = instance.state.stopped_wal is not None or not instance.data.exists
            problem = None if clean else "PostgreSQL had not been stopped cleanly"
            await instance.say("stopped", settled=True, problem=problem)
            return STEADY_S
        if seen is not None and not seen.in_recovery:
            await instance.say("checkpointing before the stop")
            with instance.stage("checkpoint"):
                await instance.session.query("CHECKPOINT", timeout_s=_CHECKPOINT_TIMEOUT_S)
            seen = await instance.observe()
        await instance.say("stopping")
        with instance.stage("stop"):
            await instance.stop(timeout_s=_STOP_TIMEOUT_S)
        if seen is not None:
            end_lsn = seen.end_lsn if seen.in_recovery else await instance.data.clean_end_lsn()
            if end_lsn is not None:
                instance.remember(stopped_wal=WalPosition(seen.epoch, end_lsn))
        return 0.0

    async def close(self) -> None:
        """Stop PostgreSQL as the manager ends. ``run`` has ended before."""
        if self._instance.server.running:
            await self._instance.stop(timeout_s=_STOP_TIMEOUT_S)
        await self._instance.session.close()
