"""Run a drill: set up, load, strike, wait, mend, take the primary home, read back, measure; as often as asked.

Always true: the load never outlives the run, and what was broken is mended, also on an error or Ctrl-C.
A run whose set-up was not sound is inconclusive: it says nothing, and counts for nothing. On an overloaded machine
a run still shows whether the fleet is safe, but not whether it is patient and quick enough.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial

from leeward.core.timers import Budget
from leeward.core.values import App, Region, ReplicationMode
from leeward.drill import crowding, judge, orphans, readback
from leeward.drill.access import Faults, Fleet, FleetUnavailableError, FleetView, Pods, RefusedError, unsettled
from leeward.drill.faults import FAULTS
from leeward.drill.ledger import Operation, reconcile
from leeward.drill.load import Load, populations
from leeward.drill.measure import Moment, RunFacts, Span, measure
from leeward.drill.names import Names, watching
from leeward.drill.narrate import Narrator
from leeward.drill.readback import ReadBackError
from leeward.drill.scene import Fault, Injury, Scene, SetupError
from leeward.drill.summary import Result, Run, Targets, summarise
from leeward.ports.clock import Clock, SystemClock

STEADY_TIMEOUT_S = 90.0
WARM_TIMEOUT_S = 30.0
WARM_S = 2.0
WARM_REQUESTS = 5
TAIL_S = 1.0
POLL_S = 0.2
ASK_AGAIN_S = 0.5
MEND_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to drill, where, and against which objectives."""

    drill: str
    """A name in ``leeward.drill.faults.FAULTS``."""
    app: App
    region: Region
    """Home of the primary in every run, and where the fault strikes."""
    mode: ReplicationMode | None
    """None: leave it as it is."""
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
    """Where the application's name is answered; None: not by the agents."""
    lasts_s: float | None = None
    """How long a fault that strikes again and again goes on; None: as long as it says itself."""
    every_s: float = 30.0
    """How often the drill ``pod-kill`` strikes."""
    seed: int = 1
    """What chance decides is the same for the same seed and number of the run."""
    writers: int = 2
    """Per region."""
    readers: int = 1


async def run_drill(
    plan: Plan,
    faults: Faults,
    fleet: Fleet,
    pods: Pods,
    say: Callable[[str], None],
    clock: Clock | None = None,
) -> Result:
    """Run the drill and return its result; ``say`` gets the story, line by line, while it happens.

    Raises KeyError for an unknown drill; SetupError, RefusedError, FleetUnavailableError when it cannot even begin.
    """
    return await _Drill(plan, FAULTS[plan.drill], faults, fleet, pods, say, clock or SystemClock()).run()


class _Drill:
    def __init__(
        self,
        plan: Plan,
        fault: Fault,
        faults: Faults,
        fleet: Fleet,
        pods: Pods,
        say: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._plan = plan
        self._fault = fault
        self._faults = faults
        self._fleet = fleet
        self._pods = pods
        self._say = say
        self._clock = clock
        self._crowd = populations(plan.gateways, plan.round_trips_s)

    async def run(self) -> Result:
        plan = self._plan
        runs: list[Run] = []
        inconclusive: list[str] = []
        mode = (await self._settled()).topologies[plan.app].mode
        if plan.mode is not None and plan.mode is not mode:
            self._say(f"replication is made {plan.mode}")
            await self._ask(partial(self._fleet.set_mode, plan.app, plan.mode))
            mode = plan.mode
        for number in range(1, plan.runs + 1):
            self._say(f"run {number} of {plan.runs}: {self._fault.summary}")
            try:
                runs.append(await self._once(number, mode))
            except (SetupError, ReadBackError, FleetUnavailableError, RefusedError) as error:
                inconclusive.append(f"run {number}: {error}")
                self._say(f"run {number} is inconclusive: {error}")
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
        epoch = await self._steady_at_home(mode)
        crowded = crowding.look()
        prefix = f"{plan.drill}-{int(clock.unix_s() * 1000)}-{number}-"
        switchover: Span | None = None
        trouble: tuple[str, ...] = ()
        rejoined = False
        async with Load(
            self._crowd, clock, prefix=prefix, writers=plan.writers, readers=plan.readers, host=plan.host
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
                chance=random.Random(f"{plan.seed}-{number}"),
                say=self._say,
            )
            async with (
                self._narrated(load) as narrator,
                watching(plan.names, clock, self._say) as names,
                _mended(scene),
            ):
                injury = await self._fault.strike(scene)
                narrator.struck(injury.fault, injury.lost_regions)
                names.struck(injury.fault, injury.lost_regions)
                injury = await self._fault.hold(scene, injury)
                healing = Moment(clock.unix_s(), clock.now_s())
                self._say(f"clearing the fault after {healing.at_boot_s - injury.fault.at_boot_s:.1f} s")
                await names.end()
                await scene.mend()
                try:
                    view = await self._settled()
                    rejoined = True
                    switchover = await self._take_home(load, view)
                except SetupError as error:
                    trouble = (f"after the fault was cleared: {error}",)
                await scene.wait(TAIL_S)
        ended_s = clock.now_s()
        facts = replace(
            await self._facts(number, mode, epoch, load, prefix, narrator, injury, healing, ended_s, switchover),
            names_left_out_s=names.left_out_s,
            rejoined=rejoined,
        )
        measured = measure(facts)
        unsafe = judge.unsafe(facts, measured)
        unexpected = (*injury.broken, *trouble, *judge.unexpected(facts, measured, self._fault.expected))
        overloaded = crowding.look().since(crowded).because
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
        injury: Injury,
        healing: Moment,
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
            fault=injury.fault,
            healing=healing,
            ended_s=ended_s,
            lost_regions=injury.lost_regions,
            attempts=load.attempts,
            records=narrator.records,
            bill=reconcile(load.attempts, rows),
            woke_s=injury.woke_s,
            silence=injury.silence(healing.at_boot_s),
            ineligible=injury.ineligible,
            switchover=switchover,
            explained=injury.explained,
            recurring=injury.recurring,
            fenced=injury.fenced(healing.at_boot_s),
            orphans=orphans.found(kept, prefix),
        )

    def _others(self) -> tuple[Region, ...]:
        population = next(group for group in self._crowd if group.region == self._plan.region)
        return tuple(region for region, _ in population.gateways if region != population.region)

    # -- set-up -----------------------------------------------------------------------------------

    async def _steady_at_home(self, mode: ReplicationMode) -> int:
        """Bring the primary home if need be, and return the epoch in force."""
        view = await self._settled(mode)
        topology = view.topologies[self._plan.app]
        if topology.primary != self._plan.region:
            self._say(f"the primary goes from {topology.primary} to {self._plan.region}")
            await self._ask(partial(self._fleet.switchover, self._plan.app, self._plan.region))
            view = await self._settled(mode, at=self._plan.region)
        return view.topologies[self._plan.app].epoch

    async def _settled(self, mode: ReplicationMode | None = None, at: Region | None = None) -> FleetView:
        """Return when the fleet is steady, twice in a row. Raises SetupError with what is in the way."""
        give_up_s = self._clock.now_s() + STEADY_TIMEOUT_S
        calm = 0
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
                calm = 0 if missing else calm + 1
                if calm == 2:
                    return view
            if self._clock.now_s() > give_up_s:
                raise SetupError(f"not steady after {STEADY_TIMEOUT_S:g} s: {'; '.join(missing)}")
            await asyncio.sleep(POLL_S)

    async def _ask(self, request: Callable[[], Awaitable[str]]) -> float:
        """Repeat a request until it is accepted; return when the accepted one was sent. Raises RefusedError."""
        give_up_s = self._clock.now_s() + STEADY_TIMEOUT_S
        while True:
            sent_s = self._clock.now_s()
            try:
                await request()
                return sent_s
            except (RefusedError, FleetUnavailableError):
                # Not yet: it may still be catching up.
                if self._clock.now_s() > give_up_s:
                    raise
            await asyncio.sleep(ASK_AGAIN_S)

    async def _warm(self, load: Load) -> None:
        """Return when every population writes and reads. Raises SetupError."""
        give_up_s = self._clock.now_s() + WARM_TIMEOUT_S
        while True:
            load.check()
            since_s = self._clock.now_s() - WARM_S
            cold = [
                f"{population.region} ({operation}s)"
                for population in self._crowd
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

    async def _take_home(self, load: Load, view: FleetView) -> Span | None:
        """Fail back, now that all standbys replicate again. None: it never left."""
        load.check()
        home = self._plan.region
        if view.topologies[self._plan.app].primary == home:
            return None
        self._say(f"all standbys replicate from {view.topologies[self._plan.app].primary}; failing back to {home}")
        try:
            asked_s = await self._ask(partial(self._fleet.switchover, self._plan.app, home))
        except (RefusedError, FleetUnavailableError) as error:
            raise SetupError(f"the switchover home was refused: {error}") from error
        await self._settled(at=home)
        return Span(asked_s, self._clock.now_s())

    @asynccontextmanager
    async def _narrated(self, load: Load) -> AsyncIterator[Narrator]:
        narrator = Narrator(self._plan.app, self._fleet, load, self._say)
        task = asyncio.create_task(narrator.run(), name="narrator")
        try:
            yield narrator
            await narrator.catch_up()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def _mended(scene: Scene) -> AsyncIterator[None]:
    """Mend whatever is still broken at the end, also when the drill is cancelled."""
    try:
        yield
    finally:
        if scene.undo:
            await asyncio.shield(asyncio.wait_for(scene.mend(), MEND_TIMEOUT_S))


def _operations(plan: Plan) -> tuple[Operation, ...]:
    return (Operation.WRITE, Operation.READ) if plan.readers else (Operation.WRITE,)
