"""Which transitions a world has beside faults, each with a name. Pure."""

from collections.abc import Iterator
from functools import partial

from leeward.agent.machine import events as on
from leeward.core.values import Region
from leeward.sim.explore import faults, instances
from leeward.sim.explore import server as databases
from leeward.sim.explore.draft import Draft
from leeward.sim.explore.faults import arrive
from leeward.sim.explore.setting import Setting
from leeward.sim.explore.transitions import Kinds, Make, Move, named
from leeward.sim.explore.world import Flight, World


def urgent(setting: Setting, world: World) -> Iterator[Move]:
    """Yield what must have happened before a tick ends."""
    draft = Draft(setting, world)
    for flight in world.flights:
        if not flight.slow:
            yield Move(f"the store takes transaction {flight.number} of {flight.region}", _take(flight))
    for index, region in enumerate(setting.regions):
        served = world.agents[index] is not None and draft.stores(region) and world.faults.stalled != region
        if region in world.faults.down:
            continue
        if world.pending[index] and served:
            yield Move(f"the watch of {region} delivers a change", partial(Draft.deliver, region=region), region)
        if instances.acts(draft, region):
            if world.faults.hanging != region:
                yield from _steps(draft, region)
            yield from _streams(draft, region)


def _steps(draft: Draft, region: Region) -> Iterator[Move]:
    """Yield what the instance manager of a region does next."""
    step = instances.look(draft, region).step
    if step is not None and instances.possible(draft, region, step):
        yield Move(f"{region}: {named(step)}", partial(instances.perform, region=region, step=step))
    proof = instances.proving(draft, region)
    if proof is not None:
        yield Move(proof, partial(instances.prove, region=region))


def _streams(draft: Draft, region: Region) -> Iterator[Move]:
    """Yield how the WAL receiver of a region goes on."""
    upstream = instances.connectable(draft, region)
    if upstream is not None:
        yield Move(f"{region} streams from {upstream}", partial(Draft.connect, region=region, upstream=upstream))
    server = draft.instances[region].server
    if server.upstream is None or draft.faults.lagging == region:
        return
    if len(draft.instances[server.upstream].server.history) > len(server.history):
        yield Move(f"{region} receives WAL from {server.upstream}", _replicate(region, server.upstream))


def gossip(setting: Setting, world: World, move: Move) -> bool:
    """Whether a transition is a watch that brings heartbeats, and nothing else."""
    if move.hears is None:
        return False
    pending = world.pending[setting.index[move.hears]]
    return {key for _, entries in pending for key, _ in entries} <= setting.beats.keys()


def possible(setting: Setting, world: World, kinds: Kinds) -> Iterator[Move]:
    """Yield what may happen, or not: clients, operators, faults, and slow answers."""
    draft = Draft(setting, world)
    for flight in world.flights:
        if flight.slow:
            if flight.outcome is None:
                yield Move(
                    f"the store takes the slow transaction {flight.number} of {flight.region}", _take_slow(flight)
                )
            yield Move(f"{flight.region} gets the answer to {flight.number}, if any", _end(flight))
    if world.budget.writes:
        yield from writes(setting, world)
    for held in world.held:
        yield Move(f"an order from before reaches {held.region}: {held.order.role}", arrive(held))
    if world.faults.hanging is not None and instances.acts(draft, world.faults.hanging):
        yield from _steps(draft, world.faults.hanging)
    yield from faults.beginning(setting, world, kinds)


def writes(setting: Setting, world: World) -> Iterator[Move]:
    """Yield where clients can write."""
    draft = Draft(setting, world)
    for region in setting.regions:
        if draft.instances[region].server.accepts:
            yield Move(f"a client writes to {region}", _write(region))


def tick(setting: Setting, world: World, slow_clock: Region | None = None) -> Move:
    """Return the beginning of the next tick: leases end, agents beat, and probe."""
    name = f"-- tick {world.tick + 1}"
    if slow_clock is not None:
        name += f", which the clock of {slow_clock} does not show"

    def make(draft: Draft) -> None:
        draft.tick += 1
        if slow_clock is not None:
            draft.behind[setting.index[slow_clock]] += 1
            draft.budget = draft.budget._replace(faults=draft.budget.faults - 1)
        # Guards first: no agent acts on a lease that is over.
        instances.work(draft)
        for flight in [each for each in draft.flights if draft.tick - each.sent_tick >= setting.timeout_ticks]:
            draft.flights.remove(flight)
            draft.give_up(flight)
        for region in setting.regions:
            draft.post(region, on.Woke())

    return Move(name, make)


def _take(flight: Flight) -> Make:
    def make(draft: Draft) -> None:
        draft.flights.remove(flight)
        if draft.stores(flight.region) or not flight.answered:
            draft.answer(draft.commit(flight))
        else:
            draft.give_up(flight)

    return make


def _take_slow(flight: Flight) -> Make:
    def make(draft: Draft) -> None:
        draft.flights[draft.flights.index(flight)] = draft.commit(flight)

    return make


def _end(flight: Flight) -> Make:
    def make(draft: Draft) -> None:
        draft.flights.remove(flight)
        if flight.outcome is None:
            draft.give_up(flight)
        else:
            draft.answer(flight)

    return make


def _replicate(region: Region, upstream: Region) -> Make:
    def make(draft: Draft) -> None:
        instance = draft.instances[region]
        history = draft.instances[upstream].server.history
        draft.put(region, instance._replace(server=instance.server._replace(history=history)))

    return make


def _write(region: Region) -> Make:
    def make(draft: Draft) -> None:
        number = 1 + max((entry.write for each in draft.instances.values() for entry in each.server.history), default=0)
        draft.budget = draft.budget._replace(writes=draft.budget.writes - 1)
        instance = draft.instances[region]
        draft.put(region, instance._replace(server=databases.written(instance.server, number)))

    return make
