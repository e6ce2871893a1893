"""Being a standby: on a history that is the upstream's, whatever it takes to get there."""

import asyncio
import os
from dataclasses import dataclass

import psycopg

from leeward.adapters.postgres import orphans
from leeward.adapters.postgres.configuration import Duty
from leeward.adapters.postgres.instance import Instance
from leeward.adapters.postgres.lineage import (
    Compatible,
    Diverged,
    Foreign,
    Lineage,
    Undecided,
    Verdict,
    ask,
    compare,
)
from leeward.adapters.postgres.server import CommandError
from leeward.core.values import Order, Region, Rejoin, RejoinMethod

_STEADY_S = 0.2
_SOON_S = 0.04
_RETRY_S = 0.3
_FOREIGN_S = 5.0
_ASK_TIMEOUT_S = 3.0
_STOP_TIMEOUT_S = 10.0
# A standby that has not streamed for so long asks whether it ever can.
_PATIENCE_S = 1.0


@dataclass(slots=True)
class _Return:
    """A way back that has not ended yet. Mutable: what was tried may turn out not to suffice."""

    because: str
    method: RejoinMethod = RejoinMethod.NOTHING
    copied_bytes: int = 0
    orphaned: int = 0


class Follower:
    """Steps towards, and for, the role STANDBY; ``in_recovery`` serves DETACHED too."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._trusted: tuple[int, Region] | None = None
        """(epoch, upstream) whose history was found to contain ours."""
        self._unbroken = False
        """PostgreSQL was stopped cleanly by order, or has followed somebody since it started, and has never
        been a primary since: attaching first is right nearly always, and PostgreSQL refuses the rest."""
        self._idle_since_s: float | None = None
        self._return: _Return | None = None
        self._told: tuple[tuple[int, Region], float] | None = None
        """(epoch, upstream) of the order, and when it was first seen."""
        self._streams_since_s = 0.0
        self._led_and_restarted = False
        """A primary once, PostgreSQL has been started as a standby; whether it may stay one is not known yet."""

    async def in_recovery(self, duty: Duty) -> bool:
        """Bring PostgreSQL up in recovery, with ``duty`` if it has to be started; False: not yet.

        A running primary is killed: it is deposed, nothing of it may be acknowledged any more.
        """
        instance = self._instance
        seen = instance.seen
        # Also one that was told to promote and has not yet: its standby.signal is still there.
        if instance.server.running and (instance.may_write or not instance.data.in_recovery):
            await instance.say("stopping: no longer the primary")
            await instance.end()
        if not instance.server.running:
            self._unbroken = instance.state.stopped_wal is not None
            self._led_and_restarted = instance.state.writable_epoch is not None
            instance.data.keep_in_recovery()
            await instance.data.forget_foreign_histories()
            instance.start(duty)
            await instance.say("starting in recovery")
            return False
        if seen is None:
            return False
        if instance.state.copied_from is not None:
            instance.remember(copied_from=None, writable_epoch=None)
        instance.remember(initialised=True)
        return True

    async def step(self, order: Order) -> float:
        """Take one step; return when to look again, in seconds."""
        instance, upstream = self._instance, order.upstream
        if upstream is None or upstream not in instance.settings.upstreams:
            await instance.say("waiting", problem=f"{upstream} is no upstream this instance knows")
            return _STEADY_S
        if self._told is None or self._told[0] != (order.epoch, upstream):
            self._told = (order.epoch, upstream), asyncio.get_running_loop().time()
        source = instance.state.copied_from
        if not instance.data.exists or instance.state.incomplete or source not in (None, upstream):
            return await self._copy(upstream)
        # Fresh from a copy it is not consistent, and answers nobody, until it has streamed.
        duty = Duty(upstream=source)
        if not await self.in_recovery(duty):
            if source is not None and instance.server.running and instance.duty != duty:
                await instance.end()
            return _SOON_S
        attached = instance.duty is not None and instance.duty.upstream == upstream
        if self._trusted == (order.epoch, upstream) or self._unbroken or attached:
            return await self._stream(order, upstream)
        return await self._join(order, upstream)

    async def _copy(self, upstream: Region) -> float:
        instance = self._instance
        if instance.server.running:
            await instance.end()
        await instance.say(f"copying from {upstream}", problem=instance.progress.problem)
        with instance.stage("copy"):
            copied_bytes = await instance.data.copy_from(upstream)
        if self._return is not None:
            self._return.method, self._return.copied_bytes = RejoinMethod.COPY, copied_bytes
        instance.remember(initialised=True, copied_from=upstream, incomplete=False, writable_epoch=None)
        return 0.0

    async def _stream(self, order: Order, upstream: Region) -> float:
        """Stream; a standby that was never apart attaches first and asks afterwards, to lose no time."""
        instance = self._instance
        duty = Duty(upstream=upstream)
        if instance.duty != duty:
            self._idle_since_s = None
            await instance.adopt(duty)
        await instance.provide_slots()
        seen = await instance.observe()
        now_s = asyncio.get_running_loop().time()
        if seen is None or seen.streaming_from is None or not self._is_from(seen.streaming_from, upstream):
            if self._idle_since_s is None:
                self._idle_since_s = now_s
            waited_s = now_s - self._idle_since_s
            problem = f"not streaming from {upstream} for {waited_s:.0f} s" if waited_s > _PATIENCE_S else None
            await instance.say(f"connecting to {upstream}", problem=problem)
            if waited_s < _PATIENCE_S:
                return _SOON_S
            return await self._join(order, upstream, attached=True)
        self._idle_since_s = None
        if not instance.progress.settled:
            self._streams_since_s = now_s
        self._unbroken = True
        self._note_return(order, upstream)
        await instance.say(f"streaming from {upstream}", settled=True)
        if self._trusted != (order.epoch, upstream):
            return await self._join(order, upstream, attached=True)
        return _STEADY_S

    def _is_from(self, source: tuple[str, int], upstream: Region) -> bool:
        address = self._instance.settings.wal_sources[upstream]
        return (address.host, address.port) == source

    async def _join(self, order: Order, upstream: Region, *, attached: bool = False) -> float:
        """Compare histories, and do what the comparison asks for."""
        instance = self._instance
        if not attached:
            await instance.cut()
            await instance.say(f"comparing histories with {upstream}", problem=instance.progress.problem)
        try:
            own, verdict = await self._judge(order, upstream)
        except (psycopg.Error, OSError) as error:
            activity = instance.progress.activity
            reason = str(error).strip() or type(error).__name__
            await instance.say(
                activity,
                settled=instance.progress.settled,
                problem=None if instance.progress.settled else f"cannot ask {upstream}: {reason}",
            )
            return _RETRY_S
        match verdict:
            case Compatible():
                if self._led_and_restarted and self._return is None:
                    self._return = _Return("")
                self._led_and_restarted = False
                self._trusted = (order.epoch, upstream)
                return _RETRY_S if attached else 0.0
            case Undecided(because=because):
                if not attached:
                    await instance.say(f"waiting for {upstream}", problem=because)
                return _RETRY_S
            case Foreign():
                await instance.cut()
                problem = f"{upstream} holds another database: refusing to replace ours"
                await instance.say("cut", problem=problem)
                return _FOREIGN_S
            case Diverged():
                return await self._rejoin(upstream, own, verdict)

    async def _judge(self, order: Order, upstream: Region) -> tuple[Lineage, Verdict]:
        instance = self._instance
        address, password = instance.settings.upstreams[upstream], instance.replication_password
        async with asyncio.timeout(_ASK_TIMEOUT_S):
            own = await ask(instance.settings, None, password)
            theirs = await ask(instance.settings, address, password)
        return own, compare(own, theirs, epoch=order.epoch)

    async def _rejoin(self, upstream: Region, own: Lineage, verdict: Diverged) -> float:
        """Save what only we have, then take the upstream's history."""
        instance = self._instance
        self._return = back = _Return(verdict.because)
        await instance.say(f"leaving its own history: {verdict.because}")
        await instance.cut()
        self._unbroken = False
        led = instance.state.writable_epoch
        # Following a replica that holds our writes proves nothing: another one may be elected that does not. A later
        # epoch in our history does: everything of ours is before it.
        epoch = led if led is not None and led >= max(own.epochs, default=0) else None
        keep = False
        if epoch is not None:
            await instance.say("saving orphaned writes")
            try:
                with instance.stage("orphans"):
                    await orphans.save(
                        instance.settings,
                        instance.session,
                        own,
                        verdict.fork_lsn,
                        epoch,
                        isolated=instance.isolated,
                    )
            except CommandError:
                keep = True  # part of the WAL is gone: they cannot be listed, so all of it is kept
            instance.progress.orphans = orphans.saved(instance.settings.layout.orphans)
            back.orphaned = sum(kept.transactions for kept in instance.progress.orphans if kept.epoch == epoch)
        await instance.say("stopping to rejoin")
        await instance.stop(timeout_s=_STOP_TIMEOUT_S)
        if keep:
            self._put_aside(epoch)
        elif verdict.rewindable:
            await self._rewind(upstream)
            return 0.0
        return await self._copy(upstream)

    async def _rewind(self, upstream: Region) -> None:
        instance = self._instance
        await instance.say(f"rewinding to {upstream}")
        instance.remember(incomplete=True)
        with instance.stage("rewind"):
            copied_bytes = await instance.data.rewind_to(upstream)
        if self._return is not None:
            self._return.method, self._return.copied_bytes = RejoinMethod.REWIND, copied_bytes
        instance.remember(incomplete=False, copied_from=upstream, writable_epoch=None)

    def _note_return(self, order: Order, upstream: Region) -> None:
        """Report a way back that has just ended."""
        back, self._return = self._return, None
        if back is not None and self._told is not None:
            self._instance.progress.rejoined = Rejoin(
                epoch=order.epoch,
                upstream=upstream,
                method=back.method,
                because=back.because,
                copied_bytes=back.copied_bytes,
                orphaned=back.orphaned,
                took_s=round(self._streams_since_s - self._told[1], 2),
            )

    def _put_aside(self, epoch: int | None) -> None:
        layout = self._instance.settings.layout
        layout.orphans.mkdir(mode=0o700, exist_ok=True)
        os.rename(layout.data, layout.orphans / f"epoch-{epoch}.pgdata")
