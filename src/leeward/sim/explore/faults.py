"""How faults begin and end, and what operators ask for: transitions, too. Pure."""

from collections.abc import Iterator
from functools import partial

from leeward.agent.machine import events as on
from leeward.core.values import Region, ReplicationMode
from leeward.instance.machine.steps import Step
from leeward.ports.gateway import Address
from leeward.sim.explore import instances
from leeward.sim.explore import server as databases
from leeward.sim.explore.draft import Draft
from leeward.sim.explore.setting import Setting
from leeward.sim.explore.transitions import Kinds, Make, Move, named
from leeward.sim.explore.world import Held, World

PODS = (Address("10.0.0.1", 8000),)


def beginning(setting: Setting, world: World, kinds: Kinds) -> Iterator[Move]:
    """Yield which faults may begin, and what operators may ask for."""
    if world.tick < kinds.until_tick:
        draft = Draft(setting, world)
        yield from _requests(setting, world, draft, kinds)
        if world.budget.faults:
            yield from _begin(setting, world, draft, kinds)


def healing(world: World) -> Iterator[Move]:
    """Yield how faults end."""
    faults = world.faults
    for region in sorted(faults.down):
        yield Move(f"{region} comes back", partial(_restart, region=region))
    for name in ("isolated", "stalled", "slow", "lagging", "hanging", "busy", "late"):
        value = getattr(faults, name)
        if value is not None:
            yield Move(f"{value} is no longer {name}", _clear(name))


def restarts(setting: Setting, world: World) -> Iterator[Move]:
    """Yield how processes that died alone come back, and how what hangs arrives."""
    for held in world.held:
        yield Move(f"an order from before reaches {held.region}: {held.order.role}", arrive(held))
    for index, region in enumerate(setting.regions):
        if region not in world.faults.down and not setting.managers.instance(world.instances[index]).alive:
            yield Move(f"the manager of {region} starts again", partial(_revive, region=region))
        if world.agents[index] is None and Draft(setting, world).stores(region):
            yield Move(f"the agent of {region} starts again", partial(start, region=region))


def start(draft: Draft, region: Region) -> None:
    """Start an agent: it reads the store, and looks at its instance."""
    index = draft.setting.index[region]
    draft.lives[index] += 1
    draft.agents[index] = draft.setting.agents.fresh(region, draft.lives[index])
    if draft.stores(region):
        draft.pending[index] = ()
        draft.post(region, on.SnapshotTaken(draft.store.snapshot()))
        if draft.instances[region].alive:
            draft.report(region)
        draft.post(region, on.PodsChanged(draft.setting.app, PODS))
    else:
        # It tries again when it reaches the store.
        draft.agents[index] = None


def arrive(held: Held) -> Make:
    """Let an order that hung reach its instance."""

    def make(draft: Draft) -> None:
        draft.held.remove(held)
        draft.accept(held)

    return make


def _revive(draft: Draft, region: Region) -> None:
    draft.put(region, draft.instances[region]._replace(alive=True))


def _requests(setting: Setting, world: World, draft: Draft, kinds: Kinds) -> Iterator[Move]:
    topology = draft.topology()
    if not world.budget.requests or topology is None:
        return
    app = setting.app
    for index, region in enumerate(setting.regions):
        if world.agents[index] is None:
            continue
        for to in setting.regions:
            if kinds.asks("failover", to) and to == region != topology.primary:
                request: on.Request = on.FailoverRequested("operator", app, to)
                yield Move(f"an operator asks {region} to fail over to {to}", _ask(region, request))
            if kinds.asks("switchover", to) and region == topology.primary != to:
                request = on.SwitchoverRequested("operator", app, to)
                yield Move(f"an operator asks {region} to switch over to {to}", _ask(region, request))
        for mode in ReplicationMode:
            if mode in kinds.requests and region == topology.primary and mode is not topology.mode:
                request = on.ModeRequested("operator", app, mode)
                yield Move(f"an operator asks {region} for {mode}", _ask(region, request))


def _ask(region: Region, request: on.Request) -> Make:
    def make(draft: Draft) -> None:
        draft.budget = draft.budget._replace(requests=draft.budget.requests - 1)
        draft.post(region, request)

    return make


NAMED = {
    "isolate": ("isolated", "{} is cut off"),
    "stall": ("stalled", "the watch of {} stalls"),
    "slow": ("slow", "transactions of {} become slow"),
    "lag": ("lagging", "{} receives no WAL"),
    "hang": ("hanging", "steps in {} take long"),
    "busy": ("busy", "the checkpointer of {} is busy"),
    "late": ("late", "the next order to {} hangs"),
}


def _begin(setting: Setting, world: World, draft: Draft, kinds: Kinds) -> Iterator[Move]:
    faults = world.faults
    for index, region in enumerate(setting.regions):
        if region in faults.down:
            continue
        if kinds.has("crash", region):
            yield Move(f"{region} dies", _fault(partial(_crash, region=region)))
        if kinds.has("agent-crash", region) and world.agents[index] is not None:
            yield Move(f"the agent of {region} dies", _fault(partial(_crash_agent, region=region)))
        if kinds.has("kill", region) and draft.instances[region].alive:
            yield Move(f"the manager of {region} dies", _fault(partial(_kill, region=region)))
            step = instances.look(draft, region).step
            if step is not None and instances.possible(draft, region, step):
                kill = partial(_kill, region=region, step=step)
                yield Move(f"the manager of {region} dies after {named(step)}", _fault(kill))
        for kind, (name, said) in NAMED.items():
            if kinds.has(kind, region) and getattr(faults, name) is None:
                yield Move(said.format(region), _fault(partial(_set, name=name, region=region)))


def _fault(begin: Make) -> Make:
    def make(draft: Draft) -> None:
        draft.budget = draft.budget._replace(faults=draft.budget.faults - 1)
        begin(draft)

    return make


def _set(draft: Draft, name: str, region: Region) -> None:
    draft.faults = draft.faults._replace(**{name: region})  # type: ignore[arg-type]


def _clear(name: str) -> Make:
    def make(draft: Draft) -> None:
        region = getattr(draft.faults, name)
        draft.faults = draft.faults._replace(**{name: None})  # type: ignore[arg-type]
        if name == "busy":
            instance = draft.instances[region]
            draft.put(region, instance._replace(server=databases.loaded(instance.server)))
        if name == "slow":
            draft.flights = [each._replace(slow=False) if each.region == region else each for each in draft.flights]
            # What the store has taken is answered now.
            for flight in [each for each in draft.flights if each.region == region and each.outcome is not None]:
                draft.flights.remove(flight)
                draft.answer(flight)

    return make


def _crash_agent(draft: Draft, region: Region) -> None:
    index = draft.setting.index[region]
    draft.agents[index] = None
    draft.pending[index] = ()
    draft.flights = [each._replace(answered=False) if each.region == region else each for each in draft.flights]


def _crash(draft: Draft, region: Region) -> None:
    _crash_agent(draft, region)
    draft.faults = draft.faults._replace(down=draft.faults.down | {region})
    draft.put(region, draft.setting.managers.died(instances.stopped(draft.instances[region])))


def _kill(draft: Draft, region: Region, step: Step | None = None) -> None:
    """The manager dies, and PostgreSQL with it: before its next step, or after it, without knowing how it ended."""
    if step is not None:
        instances.cut_short(draft, region, step)
    draft.put(region, draft.setting.managers.died(instances.stopped(draft.instances[region])))


def _restart(draft: Draft, region: Region) -> None:
    draft.faults = draft.faults._replace(down=draft.faults.down - {region})
    _revive(draft, region)
    start(draft, region)
