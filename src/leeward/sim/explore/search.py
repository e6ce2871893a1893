"""Breadth first through every world that can be reached, until nothing is new or a promise is broken. Pure."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from leeward.core.values import Phase
from leeward.sim.explore import faults, moves
from leeward.sim.explore.draft import Draft
from leeward.sim.explore.server import BRANCH, RECORD
from leeward.sim.explore.setting import Setting
from leeward.sim.explore.transitions import Kinds, Move
from leeward.sim.explore.world import World
from leeward.sim.violation import ViolationError

STEADY_EVERY = 50
"""From one world in so many it is checked that all becomes steady once every fault has ended."""
STEADY_TICKS = 40
"""Once healed, everything must be steady within so many ticks."""
STEPS_MAX = 300
"""In one tick; more have no end."""
WRITTEN = {BRANCH: " branch", RECORD: " record"}


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was broken, and how to get there."""

    because: str
    trace: tuple[str, ...]


@dataclass(slots=True)
class Explored:
    """What was looked at."""

    worlds: int = 0
    transitions: int = 0
    ticks: int = 0
    depth: int = 0
    complete: bool = False
    """Whether every world within the bounds was looked at."""
    healed: int = 0
    """Worlds from which a steady state was reached."""
    broken: Broken | None = None
    parents: dict[World, tuple[World | None, str]] = field(default_factory=dict)


def successors(setting: Setting, world: World, kinds: Kinds, ticks: int) -> Iterator[Move]:
    """Yield every transition of a world."""
    hurry = list(moves.urgent(setting, world))
    for move in hurry:
        if moves.gossip(setting, world, move):
            # Whoever hears heartbeats, and answers them with nothing, hears them first.
            after = applied(setting, world, move)
            if (after.flights, after.store, after.instances) == (world.flights, world.store, world.instances):
                yield move
                return
    yield from hurry
    yield from moves.possible(setting, world, kinds)
    if not hurry:
        if kinds.heals:
            yield from faults.healing(world)
            yield from faults.restarts(setting, world)
        if world.tick < ticks:
            yield moves.tick(setting, world)
            if world.budget.faults and world.tick < kinds.until_tick:
                drifting = (region for region in setting.regions if kinds.has("drift", region))
                yield from (moves.tick(setting, world, region) for region in drifting)


def explore(setting: Setting, first: World, kinds: Kinds, *, ticks: int, limit: int, liveness: bool = True) -> Explored:
    """Look at every world within ``ticks``, as far as ``limit`` transitions lead."""
    found = Explored(parents={first: (None, "")})
    queue: deque[tuple[World, int]] = deque([(first, 0)])
    good: set[World] = set()
    checked = 0
    while queue:
        if found.transitions >= limit:
            found.worlds = len(found.parents)
            return found
        world, depth = queue.popleft()
        found.depth, found.ticks = depth, max(found.ticks, world.tick)
        checked += 1
        if liveness and checked % STEADY_EVERY == 0:
            because = unsteady(setting, world, good)
            if because is not None:
                found.worlds = len(found.parents)
                found.broken = Broken(because, trace(setting, found, world))
                return found
            found.healed += 1
        for move in successors(setting, world, kinds, ticks):
            found.transitions += 1
            try:
                after = applied(setting, world, move)
            except ViolationError as error:
                found.worlds = len(found.parents)
                found.broken = Broken(str(error), (*trace(setting, found, world), move.name))
                return found
            if after not in found.parents:
                found.parents[after] = (world, move.name)
                queue.append((after, depth + 1))
    found.worlds = len(found.parents)
    found.complete = True
    return found


def applied(setting: Setting, world: World, move: Move) -> World:
    """Return the world after a transition. Raises ViolationError."""
    draft = Draft(setting, world)
    move.make(draft)
    return draft.done()


def trace(setting: Setting, found: Explored, world: World) -> tuple[str, ...]:
    """Return the transitions that led to a world, from the first one, each with what it led to."""
    lines: list[str] = []
    at: World | None = world
    while at is not None:
        before, name = found.parents[at]
        if name:
            lines.append(f"{name:<52} {described(setting, at)}")
        at = before
    return tuple(reversed(lines))


def described(setting: Setting, world: World) -> str:
    """Return a world in one line: the topology in the store, and what every instance is."""
    draft = Draft(setting, world)
    topology = draft.topology()
    said = "no topology" if topology is None else f"{topology.phase} {topology.epoch} {topology.primary or '-'}"
    said_of = []
    for region, instance in draft.instances.items():
        server = instance.server
        upstream = f"<-{server.upstream}" if server.upstream is not None else ""
        accepts = ", accepts writes" if server.accepts else ""
        history = " ".join(
            f"{entry.epoch}{WRITTEN.get(entry.write, f'w{entry.write}')}" for entry in server.history[-4:]
        )
        known = topology is not None and draft.known_epoch(region)
        said_of.append(f"{region} {server.shown}{upstream}{accepts} ({history}) agent knows {known}")
    return f"[{said}] " + "; ".join(said_of)


def unsteady(setting: Setting, world: World, good: set[World]) -> str | None:
    """Return why a world does not become steady once every fault has ended; None when it does."""
    passed: list[World] = []
    until_tick = world.tick + STEADY_TICKS
    steps = 0
    while world.tick < until_tick:
        if world in good or steady(setting, world) is None:
            good.update(passed)
            good.add(world)
            return None
        passed.append(world)
        ticked = world.tick
        try:
            world = applied(setting, world, fair(setting, world))
        except ViolationError as error:
            return f"after healing: {error}"
        steps = steps + 1 if world.tick == ticked else 0
        if steps > STEPS_MAX:
            return f"eventually steady: {STEPS_MAX} steps and more in one tick"
    return f"eventually steady: {steady(setting, world)} {STEADY_TICKS} ticks after every fault has ended"


def fair(setting: Setting, world: World) -> Move:
    """Return the next transition of the fair schedule: faults end first, then what is urgent, then time passes."""
    for move in (*faults.healing(world), *moves.urgent(setting, world), *faults.restarts(setting, world)):
        return move
    return moves.tick(setting, world)


def steady(setting: Setting, world: World) -> str | None:
    """Return what is missing until all is well; None when it is."""
    draft = Draft(setting, world)
    topology = draft.topology()
    if topology is None or topology.primary is None or topology.phase is not Phase.STEADY:
        return f"the topology is {topology.phase if topology else 'missing'}"
    ends = world.held or any(state is None for state in world.agents)
    if world.faults.any or ends or not all(each.alive for each in draft.instances.values()):
        return "a fault has not ended"
    managers = setting.managers
    primary = draft.instances[topology.primary]
    writable = managers.writable(primary, draft.instance_clock_s(topology.primary)) and primary.server.accepts
    if not (writable and primary.server.epoch == topology.epoch and managers.memory(primary).settled):
        return f"the primary {topology.primary} is not writable"
    for region in topology.data_regions:
        standby = draft.instances[region].server
        if region != topology.primary and (standby.upstream, standby.history) != (
            topology.primary,
            primary.server.history,
        ):
            return f"{region} does not follow {topology.primary}"
    return None
