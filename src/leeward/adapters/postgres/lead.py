"""Being the primary: under a lease, with its epoch recorded, and never before both are possible."""

import asyncio
import contextlib
from collections.abc import Callable

import psycopg

from leeward.adapters.postgres.configuration import Duty
from leeward.adapters.postgres.instance import POLL_S, Instance
from leeward.adapters.postgres.lineage import ask
from leeward.core.values import Order, Region, Role

_STEADY_S = 0.2
_SOON_S = 0.04
_PROMOTION_TIMEOUT_S = 30.0
_NEIGHBOUR_TIMEOUT_S = 3.0
_PROVE_RETRY_S = 0.2
# Too little of a lease to begin anything with.
_LEASE_MIN_S = 0.05

# Written even when the row is there: only WAL of its own makes the commit wait for the standbys.
_RECORD_EPOCH = """
INSERT INTO leeward.epoch (epoch, region, at) VALUES (%s, %s, now())
ON CONFLICT (epoch) DO UPDATE SET at = now()
"""


class Leader:
    """Steps towards, and for, the role PRIMARY."""

    def __init__(self, instance: Instance, wake: Callable[[], None]) -> None:
        """``wake`` is called when the epoch was proved."""
        self._instance = instance
        self._wake = wake
        self._proof: asyncio.Task[None] | None = None
        self._proof_epoch = 0

    async def step(self, order: Order) -> float:
        """Take one step; return when to look again, in seconds."""
        instance = self._instance
        if not instance.data.exists:
            return await self._bootstrap()
        if instance.state.incomplete:
            await instance.say("waiting", problem="no complete copy of the data here")
            return _STEADY_S
        if not instance.server.running:
            return await self._start(order)
        seen = instance.seen
        if seen is None:
            await instance.say("starting")
            return _SOON_S
        if seen.in_recovery:
            return await self._promote(order)
        return await self._lead(order)

    def forget_other_than(self, order: Order) -> None:
        """Stop proving another epoch than this order's."""
        if self._proof is not None and (order.role is not Role.PRIMARY or order.epoch != self._proof_epoch):
            self._proof.cancel()
            self._proof = None

    async def close(self) -> None:
        """End the task that proves the epoch."""
        if self._proof is not None:
            self._proof.cancel()
            await asyncio.gather(self._proof, return_exceptions=True)

    async def _bootstrap(self) -> float:
        instance = self._instance
        if instance.state.initialised:
            await instance.say("waiting", problem="the data directory is gone; it must be copied from a standby")
            return _STEADY_S
        has_data = await self._who_has_data()
        elsewhere = [region for region, has in has_data.items() if has]
        silent = [region for region, has in has_data.items() if has is None]
        if elsewhere or silent:
            problem = (
                f"no data here, but {', '.join(elsewhere)} has some: refusing to begin anew"
                if elsewhere
                else f"no data here, and {', '.join(silent)} does not say whether it has some: not beginning anew yet"
            )
            await instance.say("waiting", problem=problem)
            return 1.0
        await instance.say("creating the database")
        with instance.stage("initdb"):
            await instance.data.bootstrap(instance.server, instance.session)
        instance.remember(initialised=True)
        return 0.0

    async def _who_has_data(self) -> dict[Region, bool | None]:
        """Ask every neighbour. None: something is there that does not say."""
        instance = self._instance

        async def has(region: Region) -> bool | None:
            try:
                async with asyncio.timeout(_NEIGHBOUR_TIMEOUT_S):
                    await ask(instance.settings, instance.settings.upstreams[region], instance.replication_password)
            except TimeoutError:
                return None
            except psycopg.OperationalError as error:
                # Whoever refuses us by himself, as while he starts up, has data; where nobody is there is none.
                return error.sqlstate is not None or "FATAL" in str(error)
            except OSError:
                return False
            except psycopg.Error:
                return True
            return True

        regions = sorted(instance.settings.upstreams)
        answers = await asyncio.gather(*(has(region) for region in regions))
        return dict(zip(regions, answers, strict=True))

    async def _start(self, order: Order) -> float:
        instance = self._instance
        if instance.data.in_recovery:
            # Harmless without a lease, and the promotion is instant once there is one.
            instance.start(Duty(synchronous=order.synchronous))
            await instance.say("starting in recovery")
            return _SOON_S
        if instance.guard.remaining_s(order.epoch) < _LEASE_MIN_S:
            await self._say_why_it_waits()
            return _STEADY_S
        instance.remember(writable_epoch=order.epoch, initialised=True)
        instance.permit_writes()
        instance.start(Duty(synchronous=order.synchronous))
        await instance.say("starting")
        return _SOON_S

    async def _promote(self, order: Order) -> float:
        instance = self._instance
        # In force before the first write: an unacknowledged one must not slip through.
        await instance.adopt(Duty(synchronous=order.synchronous))
        if instance.guard.remaining_s(order.epoch) < _LEASE_MIN_S:
            await instance.say("waiting for a lease")
            return _SOON_S
        instance.remember(writable_epoch=order.epoch, initialised=True, copied_from=None)
        instance.permit_writes()
        await instance.say("promoting")
        with instance.stage("promote"):
            await instance.session.query("SELECT pg_promote(false)")
            async with asyncio.timeout(_PROMOTION_TIMEOUT_S):
                while True:
                    seen = await instance.observe()
                    if seen is None or not seen.in_recovery:
                        break
                    await asyncio.sleep(POLL_S)
        return 0.0

    async def _lead(self, order: Order) -> float:
        instance = self._instance
        instance.remember(writable_epoch=order.epoch)
        # It may run under a lease of its own older epoch: the guard goes by the last lease there is.
        instance.permit_writes()
        await instance.adopt(Duty(synchronous=order.synchronous))
        if instance.guard.remaining_s(order.epoch) <= 0:
            await self._say_why_it_waits()
            return _SOON_S
        proved = instance.progress.proved_epoch == order.epoch
        if not proved:
            self._prove(order.epoch)
        await instance.say("running", settled=proved)
        await instance.provide_slots()
        return _STEADY_S

    async def _say_why_it_waits(self) -> None:
        stopped = self._instance.progress.activity == "stopped by the guard"
        await self._instance.say("stopped by the guard" if stopped else "waiting for a lease")

    def _prove(self, epoch: int) -> None:
        if self._proof is None or self._proof.done():
            self._proof_epoch = epoch
            self._proof = asyncio.create_task(self._record(epoch), name="prove-epoch")

    async def _record(self, epoch: int) -> None:
        """Commit the record of the epoch. In the synchronous modes that takes the standbys, so nobody waits."""
        instance = self._instance
        warnings: list[str | None] = []
        with contextlib.suppress(psycopg.Error, OSError):
            connection = await instance.session.connect(instance.settings.database)
            connection.add_notice_handler(lambda notice: warnings.append(notice.message_primary))
            async with connection:
                with instance.stage("prove"):
                    await connection.execute(_RECORD_EPOCH, (epoch, instance.settings.region))
            # A cancelled wait for the standbys is a warning, not an error: then nothing is proved.
            if not warnings:
                instance.progress.proved_epoch = epoch
                self._wake()
                return
        await asyncio.sleep(_PROVE_RETRY_S)
