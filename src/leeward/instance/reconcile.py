"""The one loop that brings PostgreSQL to the state ordered: observe, decide, take one step, observe again.

The decisions are ``leeward.instance.machine``'s. Always true here: what a step relies on is on disk before it begins,
and PostgreSQL is watched by the guard from before it can accept a write until it has ended.
"""

import asyncio

from leeward.core.values import Basis, Order, Role
from leeward.instance.instance import Instance
from leeward.instance.machine.acceptance import accept
from leeward.instance.machine.decide import decide
from leeward.instance.machine.outcomes import learn
from leeward.instance.machine.pace import STEADY_S, STOP_TIMEOUT_S
from leeward.instance.machine.steps import Failed
from leeward.instance.machine.values import Memory, Situation
from leeward.instance.performer import FAILURES, Performer
from leeward.instance.prover import Prover, WriteCheck

_RETRY_S = 0.5


class Reconciler:
    """Accepts orders and converges. ``run`` is the loop; the caller owns its task."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._performer = Performer(instance)
        self._prover = Prover(instance, self._learn)
        self._writes = WriteCheck(instance)
        self._wake = asyncio.Event()
        self._step_task: asyncio.Task[float] | None = None

    async def accept(self, order: Order, basis: Basis) -> None:
        """Make this the order in force; it is durable when this returns. Raises StaleOrderError."""
        instance = self._instance
        state, memory = accept(instance.state, instance.memory, order, basis, instance.incarnation)
        unchanged = order.same_task(instance.state.order)
        instance.remember(state)
        if unchanged:
            await instance.publish()
            return
        instance.memory = memory
        if order.role is not Role.PRIMARY:
            self._prover.prove(None)
            self._writes.check(False)
        if self._step_task is not None:
            self._step_task.cancel()
        self.wake()
        await instance.publish()

    def wake(self) -> None:
        """Observe and decide again now: an order, a lease, or the exit of PostgreSQL."""
        self._wake.set()

    def _learn(self, memory: Memory) -> None:
        self._instance.memory = memory
        self.wake()

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
            await self._prover.close()
            await self._writes.close()

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
        except FAILURES as error:
            await self._instance.report(self._instance.activity, problem=str(error).strip() or type(error).__name__)
            return _RETRY_S
        finally:
            self._step_task = None

    async def _converge(self) -> float:
        instance = self._instance
        decision = decide(await self._situation())
        instance.remember(decision.state)
        instance.memory = decision.memory
        if decision.guarded:
            instance.permit_writes()
        self._prover.prove(decision.prove)
        self._writes.check(decision.check_writes)
        await instance.report(decision.activity, settled=decision.settled, problem=decision.problem)
        if decision.step is None:
            return decision.again_s
        outcome = await self._performer.perform(decision.step)
        now_s = asyncio.get_running_loop().time()
        state, memory = learn(instance.state, instance.memory, decision.step, outcome, now_s)
        instance.remember(state)
        instance.memory = memory
        if isinstance(outcome, Failed) and not decision.settled:
            await instance.report(decision.activity, problem=memory.problem)
            return _RETRY_S
        return decision.again_s if decision.settled else 0.0

    async def _situation(self) -> Situation:
        instance = self._instance
        seen = await instance.observe()
        if not instance.server.running:
            instance.ended()
        order = instance.state.order
        return Situation(
            now_s=asyncio.get_running_loop().time(),
            upstreams=frozenset(instance.settings.upstreams),
            state=instance.state,
            memory=instance.memory,
            running=instance.server.running,
            stopping=instance.server.stopping,
            seen=seen,
            streaming_from=instance.streams_from(seen),
            has_data=instance.data.exists,
            recovery_signal=instance.data.in_recovery,
            duty=instance.duty,
            may_write=instance.may_write,
            closed=instance.closed,
            lease_s=0.0 if order is None else instance.guard.remaining_s(order.epoch),
            wal_removed=order is not None
            and order.upstream is not None
            and instance.walrelay.wal_removed(order.upstream),
            missing_slots=() if seen is None else instance.missing_slots(seen),
            stale_slots=() if seen is None else instance.stale_slots(seen),
            rewind_unchanged=instance.data.rewind_unchanged,
        )

    async def close(self) -> None:
        """Stop PostgreSQL as the manager ends. ``run`` has ended before."""
        if self._instance.server.running:
            await self._instance.stop(timeout_s=STOP_TIMEOUT_S)
        await self._instance.session.close()
