"""The life of one container: start it, probe it, start it again when it ends.

The first restart comes at once; then the pauses double from 0.25 s to 10 s, until it has run for 10 s. What the
process left behind is gone before the next start: ports and locks are free.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leeward.ports.cluster import KubeObject
from leeward.world.kubernetes import logs
from leeward.world.kubernetes.probes import Execute, Probe, Prober
from leeward.world.kubernetes.processes import Child, Processes, Program
from leeward.world.kubernetes.store import now_text

BACK_OFF_FIRST_S = 0.25
BACK_OFF_MAX_S = 10.0
STEADY_S = 10.0
# Until a probe succeeds for the first time it is run more often than its period: a start
# should not wait for the next round. Executing a program costs more than a connection.
EAGER_S = 0.05
EAGER_EXECUTE_S = 0.2
CANNOT_START = 128

RecordEvent = Callable[[str, str, bool], None]
"""Record an event: reason, message, whether it is a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to run one container."""

    spec: KubeObject
    restart_policy: str
    grace_s: float
    log: Path
    startup: Probe | None
    readiness: Probe | None
    liveness: Probe | None


class Container:
    """Keeps one container running and reports its status."""

    def __init__(
        self,
        plan: Plan,
        *,
        processes: Processes,
        prober: Prober,
        program: Callable[[int], Awaitable[Program]],
        record_event: RecordEvent,
        changed: Callable[[], None],
    ) -> None:
        """Take the plan, and how to get the program to run for the n-th restart (it may wait for its parts)."""
        self.plan = plan
        self.ready = False
        self.restarts = 0
        self.child: Child | None = None
        self.state: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: dict[str, Any] = {}
        self.exit_code: int | None = None
        """Set when it ended for good."""
        self._processes = processes
        self._prober = prober
        self._program = program
        self._record_event = record_event
        self._changed = changed
        self._started = False
        self._stopping = False

    @property
    def name(self) -> str:
        """Its name in the pod."""
        return str(self.plan.spec["name"])

    def status(self) -> KubeObject:
        """Return its ``ContainerStatus``."""
        status: KubeObject = {
            "name": self.name,
            "image": self.plan.spec.get("image", ""),
            "imageID": "",
            "ready": self.ready,
            "started": self._started,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last_state,
        }
        if self.child is not None:
            status["containerID"] = f"process://{self.child.pid}"
        return status

    async def run(self) -> None:
        """Keep it running; return when it ended for good by its restart policy, or was stopped."""
        loop = asyncio.get_running_loop()
        pause_s = 0.0
        while True:
            program = await self._program(self.restarts)
            if self._stopping:
                return
            began_s = loop.time()
            code = await self._run_once(program)
            if self._stopping or not self._goes_on(code):
                self.exit_code = code
                self._changed()
                return
            if loop.time() - began_s >= STEADY_S:
                pause_s = 0.0
            if pause_s:
                because = f"back-off {pause_s:g} s restarting container {self.name} (exit code {code})"
                self.last_state, self.state = self.state, _waiting("CrashLoopBackOff", because)
                self._record_event("BackOff", f"Back-off restarting failed container {self.name}", True)
                self._changed()
                await asyncio.sleep(pause_s)
            else:
                self.last_state = self.state
            pause_s = min(2 * pause_s, BACK_OFF_MAX_S) or BACK_OFF_FIRST_S
            self.restarts += 1

    def wait_for(self, reason: str, because: str) -> None:
        """Show that it cannot start yet."""
        self.state = _waiting(reason, because)
        self._record_event(reason, because, True)
        self._changed()

    async def stop(self, grace_s: float) -> None:
        """End it: SIGTERM, and SIGKILL for all that is left after ``grace_s`` seconds."""
        self._stopping = True
        self.ready = False
        if self.child is not None:
            await self._end(self.child, grace_s)

    def kill(self) -> None:
        """Send SIGKILL now: a pending ``stop`` returns early."""
        if self.child is not None:
            self.child.send(signal.SIGKILL)

    def _goes_on(self, code: int) -> bool:
        policy = self.plan.restart_policy
        return policy == "Always" or (policy == "OnFailure" and code != 0)

    async def _run_once(self, program: Program) -> int:
        """Run it to its end and return the exit code."""
        started_at = now_text()
        output = logs.open_new(self.plan.log)
        try:
            child = self._processes.spawn(program, output)
        except OSError as error:
            os.write(output, f"{error}\n".encode())
            self.state = _terminated(CANNOT_START, "StartError", started_at, str(error))
            self._record_event("Failed", f"container {self.name} cannot be started: {error}", True)
            return CANNOT_START
        finally:
            os.close(output)
        self.child = child
        self.state = {"running": {"startedAt": started_at}}
        self._started = self.plan.startup is None
        self.ready = self._started and self.plan.readiness is None
        self._record_event("Started", f"Started container {self.name}", False)
        self._changed()
        probing = asyncio.create_task(self._probe(child, program), name=f"probes of {self.name}")
        try:
            code = await child.wait()
        finally:
            probing.cancel()
            with suppress(asyncio.CancelledError):
                await probing
        self.ready = self._started = False
        self.state = _terminated(code, "Completed" if code == 0 else "Error", started_at)
        self._changed()
        await self._processes.sweep(child)
        return code

    async def _end(self, child: Child, grace_s: float) -> None:
        child.send(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await child.wait()
        await self._processes.sweep(child)

    async def _probe(self, child: Child, program: Program) -> None:
        """Run all probes while the child runs."""
        plan = self.plan
        if plan.startup is not None:
            problem = await self._first_success(plan.startup, program, give_up=True)
            if problem is not None:
                await self._fail(child, "Startup", problem)
                return
            self._started = True
            self.ready = plan.readiness is None
            self._changed()
        async with asyncio.TaskGroup() as group:
            if plan.readiness is not None:
                group.create_task(self._watch_readiness(plan.readiness, program))
            if plan.liveness is not None:
                group.create_task(self._watch_liveness(plan.liveness, child, program))

    async def _first_success(self, probe: Probe, program: Program, *, give_up: bool) -> str | None:
        """Probe at short intervals until it succeeds; with ``give_up``, return the problem when it took too long."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(probe.delay_s)
        deadline_s = loop.time() + probe.failures * probe.period_s
        eager_s = EAGER_EXECUTE_S if isinstance(probe.action, Execute) else EAGER_S
        while True:
            problem = await self._prober.ask(probe, program)
            if problem is None or (give_up and loop.time() >= deadline_s):
                return problem
            # Short intervals for the first three periods; after that the probe's own period.
            await asyncio.sleep(min(eager_s, probe.period_s) if loop.time() < deadline_s else probe.period_s)

    async def _watch_readiness(self, probe: Probe, program: Program) -> None:
        await self._first_success(probe, program, give_up=False)
        self.ready = True
        self._changed()
        good, bad = probe.successes, 0
        while True:
            await asyncio.sleep(probe.period_s)
            problem = await self._prober.ask(probe, program)
            good, bad = (good + 1, 0) if problem is None else (0, bad + 1)
            if problem is None and not self.ready and good >= probe.successes:
                self.ready = True
                self._changed()
            elif problem is not None and self.ready and bad >= probe.failures:
                self.ready = False
                self._record_event("Unhealthy", f"Readiness probe of {self.name} failed: {problem}", True)
                self._changed()

    async def _watch_liveness(self, probe: Probe, child: Child, program: Program) -> None:
        await asyncio.sleep(probe.delay_s)
        bad = 0
        while True:
            await asyncio.sleep(probe.period_s)
            problem = await self._prober.ask(probe, program)
            bad = 0 if problem is None else bad + 1
            if problem is not None and bad >= probe.failures:
                await self._fail(child, "Liveness", problem)
                return

    async def _fail(self, child: Child, kind: str, problem: str) -> None:
        self._record_event("Unhealthy", f"{kind} probe of {self.name} failed: {problem}", True)
        self._record_event("Killing", f"Container {self.name} failed its probe and will be restarted", False)
        await self._end(child, self.plan.grace_s)


def _waiting(reason: str, because: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": because}}


def _terminated(code: int, reason: str, started_at: str, because: str = "") -> dict[str, Any]:
    ended: dict[str, Any] = {
        "exitCode": code,
        "reason": reason,
        "startedAt": started_at,
        "finishedAt": now_text(),
    }
    if because:
        ended["message"] = because
    return {"terminated": ended}
