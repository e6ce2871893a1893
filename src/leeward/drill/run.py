"""Run a drill: set up, start the load, inject the fault, wait, clear it, fail back, read back, measure; for each run.

Always true: the load never outlives the run, and faults are cleared, also on an error or Ctrl-C.
A run whose set-up failed is inconclusive and does not count. On an overloaded machine a run still shows whether the
fleet is safe, but not whether its failovers are fast enough and all necessary.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial

from leeward.core.timers import Budget
from leeward.core.values import App, Region, ReplicationMode
from leeward.drill import host_load, judge, orphans, readback
from leeward.drill.access import Faults, Fleet, FleetUnavailableError, FleetView, Pods, RefusedError, unsettled
from leeward.drill.faults import FAULTS
from leeward.drill.ledger import Operation, reconcile
from leeward.drill.load import Load, populations
from leeward.drill.measure import Moment, RunFacts, Span, measure
from leeward.drill.names import Names, watching
from leeward.drill.narrate import Narrator
from leeward.drill.readback import ReadBackError
from leeward.drill.scene import Fault, InjectedFault, Scene, SetupError
from leeward.drill.summary import Result, Run, Targets, summarise
from leeward.ports.clock import Clock, SystemClock

STEADY_TIMEOUT_S = 90.0
WARM_TIMEOUT_S = 30.0
WARM_S = 2.0
WARM_REQUESTS = 5
TAIL_S = 1.0
POLL_S = 0.2
RETRY_S = 0.5
CLEAR_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to drill, where, and against which objectives."""

    drill: str
    """A name in ``leeward.drill.faults.FAULTS``."""
    app: App
    region: Region
    """Where the primary is at the start of every run, and where the fault is injected."""
    mode: ReplicationMode | None
    """None: unchanged."""
    runs: int
    targets: Targets
    lease_s: float
    budget: Budget | None
    gateways: Mapping[Region, str]
    """Each region's gateway URL."""
    round_trips_s: Mapping[tuple[Region, Region], float] = field(default_factory=dict)
    host: str | None = None
    """The HTTP Host of the application, where gateways need it."""
    names: Names | None = None
    """Where the application's name is resolved; None: not by the agents."""
    lasts_s: float | None = None
    """How long a recurring fault lasts; None: the fault's default."""
    every_s: float = 30.0
    """Interval between the kills of the drill ``pod-kill``."""
    seed: int = 1
    """Random choices are the same for the same seed and run number."""
    writers: int = 2
    """Per region."""
    readers: int = 1


async def run_drill(
    plan: Plan,
    faults: Faults,
    fleet: Fleet,
    pods: Pods,
    progress: Callable[[str], None],
    clock: Clock | None = None,
) -> Result:
    """Run the drill and return its result; ``progress`` gets a line for each step while it happens.

    Raises KeyError for an unknown drill; SetupError, RefusedError, FleetUnavailableError when it cannot start.
    """
    return await _Drill(plan, FAULTS[plan.drill], faults, fleet, pods, progress, clock or SystemClock()).run()


class _Drill:
    def __init__(
        self,
        plan: Plan,
        fault: Fault,
        faults: Faults,
        fleet: Fleet,
        pods: Pods,
        progress: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._plan = plan
        self._fault = fault
        self._faults = faults
        self._fleet = fleet
        self._pods = pods
        self._progress = progress
        self._clock = clock
        self._populations = populations(plan.gateways, plan.round_trips_s)

    async def run(self) -> Result:
        plan = self._plan
        runs: list[Run] = []
        inconclusive: list[str] = []
        mode = (await self._wait_steady()).topologies[plan.app].mode
        if plan.mode is not None and plan.mode is not mode:
            self._progress(f"changing replication to {plan.mode}")
            await self._ask(partial(self._fleet.set_mode, plan.app, plan.mode))
            mode = plan.mode
        for number in range(1, plan.runs + 1):
            self._progress(f"run {number} of {plan.runs}: {self._fault.summary}")
            try:
                runs.append(await self._once(number, mode))
            except (SetupError, ReadBackError, FleetUnavailableError, RefusedError) as error:
                inconclusive.append(f"run {number}: {error}")
                self._progress(f"run {number} is inconclusive: {error}")
        return summarise(
            drill=plan.drill,
            app=plan.app,
            region=plan.region,
            replication=mode,
            runs=runs,
            inconclusive=inconclusive,
            targets=plan.targets,
            budget=plan.budget,
            recovers=self._fault.expected.recovers,
        )

    async def _once(self, number: int, mode: ReplicationMode) -> Run:
        plan, clock = self._plan, self._clock
        epoch = await self._ensure_primary_in_region(mode)
        load_before = host_load.sample()
        prefix = f"{plan.drill}-{int(clock.unix_s() * 1000)}-{number}-"
        switchover: Span | None = None
        trouble: tuple[str, ...] = ()
        rejoined = False
        async with Load(
            self._populations, clock, prefix=prefix, writers=plan.writers, readers=plan.readers, host=plan.host
        ) as load:
            await self._warm(load)
            scene = Scene(
                faults=self._faults,
                fleet=self._fleet,
                load=load,
                clock=clock,
                app=plan.app,
                primary=plan.region,
                regions=self._others(),
                lease_s=plan.lease_s,
                lasts_s=plan.lasts_s or self._fault.lasts_s or 0.0,
                every_s=plan.every_s,
                pods=self._pods,
                rng=random.Random(f"{plan.seed}-{number}"),
                progress=self._progress,
            )
            async with (
                self._narrated(load) as narrator,
                watching(plan.names, clock, self._progress) as names,
                _cleared(scene),
            ):
                injected = await self._fault.inject(scene)
                narrator.fault_injected(injected.fault, injected.lost_regions)
                names.fault_injected(injected.fault, injected.lost_regions)
                injected = await self._fault.hold(scene, injected)
                cleared = Moment(clock.unix_s(), clock.now_s())
                self._progress(f"clearing the fault after {cleared.at_boot_s - injected.fault.at_boot_s:.1f} s")
                await names.end()
                await scene.clear()
                try:
                    view = await self._wait_steady()
                    rejoined = True
                    switchover = await self._fail_back(load, view)
                except SetupError as error:
                    trouble = (f"after the fault was cleared: {error}",)
                await scene.wait(TAIL_S)
        ended_s = clock.now_s()
        facts = replace(
            await self._facts(number, mode, epoch, load, prefix, narrator, injected, cleared, ended_s, switchover),
            dns_removed_s=names.removed_s,
            rejoined=rejoined,
        )
        measured = measure(facts)
        unsafe = judge.unsafe(facts, measured)
        unexpected = (*injected.broken, *trouble, *judge.unexpected(facts, measured, self._fault.expected))
        overloaded = host_load.sample().since(load_before).because
        if overloaded is None:
            return Run(measured=measured, broken=(*unsafe, *unexpected))
        return Run(
            measured=measured,
            broken=tuple(unsafe),
            inconclusive=tuple(f"{sentence}; {overloaded}" for sentence in unexpected),
        )

    async def _facts(
        self,
        number: int,
        mode: ReplicationMode,
        epoch: int,
        load: Load,
        prefix: str,
        narrator: Narrator,
        injected: InjectedFault,
        cleared: Moment,
        ended_s: float,
        switchover: Span | None,
    ) -> RunFacts:
        plan = self._plan
        urls = [plan.gateways[plan.region], *(plan.gateways[region] for region in self._others())]
        rows = await readback.rows(urls, prefix, host=plan.host)
        kept = orphans.reported((await self._fleet.view()).heartbeats, plan.app, from_epoch=epoch)
        return RunFacts(
            number=number,
            app=plan.app,
            mode=mode,
            primary=plan.region,
            fault=injected.fault,
            cleared=cleared,
            ended_s=ended_s,
            lost_regions=injected.lost_regions,
            attempts=load.attempts,
            records=narrator.records,
            reconciliation=reconcile(load.attempts, rows),
            resumed_s=injected.resumed_s,
            silence=injected.silence(cleared.at_boot_s),
            ineligible=injected.ineligible,
            switchover=switchover,
            explained=injected.explained,
            recurring=injected.recurring,
            fenced=injected.fenced(cleared.at_boot_s),
            orphans=orphans.found(kept, prefix),
        )

    def _others(self) -> tuple[Region, ...]:
        population = next(group for group in self._populations if group.region == self._plan.region)
        return tuple(region for region, _ in population.gateways if region != population.region)

    # -- set-up -----------------------------------------------------------------------------------

    async def _ensure_primary_in_region(self, mode: ReplicationMode) -> int:
        """Switch over to the drill's region if needed, and return the current epoch."""
        view = await self._wait_steady(mode)
        topology = view.topologies[self._plan.app]
        if topology.primary != self._plan.region:
            self._progress(f"switching over from {topology.primary} to {self._plan.region}")
            await self._ask(partial(self._fleet.switchover, self._plan.app, self._plan.region))
            view = await self._wait_steady(mode, at=self._plan.region)
        return view.topologies[self._plan.app].epoch

    async def _wait_steady(self, mode: ReplicationMode | None = None, at: Region | None = None) -> FleetView:
        """Return once the fleet is steady twice in a row. Raises SetupError with the reasons why it is not."""
        give_up_s = self._clock.now_s() + STEADY_TIMEOUT_S
        steady_views = 0
        while True:
            missing: tuple[str, ...]
            try:
                view = await self._fleet.view()
            except FleetUnavailableError as error:
                missing = (str(error),)
            else:
                topology = view.topologies.get(self._plan.app)
                missing = unsettled(view, self._plan.app, tuple(self._plan.gateways), self._plan.lease_s)
                if topology is not None and mode is not None and topology.mode is not mode:
                    missing += (f"the mode is {topology.mode}, not {mode}",)
                if topology is not None and at is not None and topology.primary != at:
                    missing += (f"the primary is in {topology.primary}, not in {at}",)
                steady_views = 0 if missing else steady_views + 1
                if steady_views == 2:
                    return view
            if self._clock.now_s() > give_up_s:
                raise SetupError(f"not steady after {STEADY_TIMEOUT_S:g} s: {'; '.join(missing)}")
            await asyncio.sleep(POLL_S)

    async def _ask(self, request: Callable[[], Awaitable[str]]) -> float:
        """Retry a request until it is accepted; return when the accepted one was sent. Raises RefusedError."""
        give_up_s = self._clock.now_s() + STEADY_TIMEOUT_S
        while True:
            sent_s = self._clock.now_s()
            try:
                await request()
                return sent_s
            except (RefusedError, FleetUnavailableError):
                # The region may still be catching up.
                if self._clock.now_s() > give_up_s:
                    raise
            await asyncio.sleep(RETRY_S)

    async def _warm(self, load: Load) -> None:
        """Wait until every population writes and reads. Raises SetupError."""
        give_up_s = self._clock.now_s() + WARM_TIMEOUT_S
        while True:
            load.check()
            since_s = self._clock.now_s() - WARM_S
            cold = [
                f"{population.region} ({operation}s)"
                for population in self._populations
                for operation in _operations(self._plan)
                if load.acknowledged(operation, population.region, since_s=since_s) < WARM_REQUESTS
            ]
            if not cold:
                return
            if self._clock.now_s() > give_up_s:
                latest = next((a.because for a in reversed(load.attempts) if a.because), "no answers")
                raise SetupError(f"no steady traffic from {', '.join(cold)}: {latest}")
            await asyncio.sleep(POLL_S)

    # -- after the fault --------------------------------------------------------------------------

    async def _fail_back(self, load: Load, view: FleetView) -> Span | None:
        """Fail back, now that all standbys replicate again. None: the primary did not move."""
        load.check()
        home = self._plan.region
        if view.topologies[self._plan.app].primary == home:
            return None
        self._progress(f"all standbys replicate from {view.topologies[self._plan.app].primary}; failing back to {home}")
        try:
            asked_s = await self._ask(partial(self._fleet.switchover, self._plan.app, home))
        except (RefusedError, FleetUnavailableError) as error:
            raise SetupError(f"the failback was refused: {error}") from error
        await self._wait_steady(at=home)
        return Span(asked_s, self._clock.now_s())

    @asynccontextmanager
    async def _narrated(self, load: Load) -> AsyncIterator[Narrator]:
        narrator = Narrator(self._plan.app, self._fleet, load, self._progress)
        task = asyncio.create_task(narrator.run(), name="narrator")
        try:
            yield narrator
            await narrator.catch_up()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def _cleared(scene: Scene) -> AsyncIterator[None]:
    """Clear the remaining faults at the end, also when the drill is cancelled."""
    try:
        yield
    finally:
        if scene.undo:
            await asyncio.shield(asyncio.wait_for(scene.clear(), CLEAR_TIMEOUT_S))


def _operations(plan: Plan) -> tuple[Operation, ...]:
    return (Operation.WRITE, Operation.READ) if plan.readers else (Operation.WRITE,)
