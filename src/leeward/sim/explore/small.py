"""The fleet that is explored: three regions, one application, and timers in whole ticks."""

from leeward.agent.machine.machine import Machine
from leeward.core.settings import AgentSettings, AppSettings, RegionSettings, Timers
from leeward.core.values import App, Region, ReplicationMode
from leeward.sim.explore import faults, moves
from leeward.sim.explore.agents import Agents, MachineFactory
from leeward.sim.explore.draft import Draft
from leeward.sim.explore.managers import Instance
from leeward.sim.explore.search import STEADY_TICKS, applied, steady
from leeward.sim.explore.setting import Setting
from leeward.sim.explore.transitions import Kinds
from leeward.sim.explore.world import FLEET, Budget, Faults, Store, World

US, EU, AP = Region("us"), Region("eu"), Region("ap")
REGIONS = (US, EU, AP)
APP = App("app")
TICK_S = 1.0
TIMERS = Timers(
    lease_s=3 * TICK_S,
    margin_s=TICK_S,
    heartbeat_s=TICK_S,
    probe_timeout_s=TICK_S,
    promise_wait_s=TICK_S,
    ramp_s=TICK_S,
    hold_down_s=TICK_S,
    rtt_max_s=TICK_S / 10,
)


def setting(mode: ReplicationMode, *, direct: bool = True, make: MachineFactory = Machine) -> Setting:
    """Return the fleet with an application that replicates in a mode."""
    settings = {region: _settings(region, mode) for region in REGIONS}
    return Setting(Agents(settings, make), REGIONS, APP, mode, TIMERS, direct=direct)


def founded(fleet: Setting) -> World:
    """Return the fleet once its application is founded and steady."""
    nothing: tuple[None, ...] = (None,) * len(REGIONS)
    zeros = (0,) * len(REGIONS)
    empty = ((),) * len(REGIONS)
    born = fleet.managers.number(Instance(mind=fleet.managers.born))
    instances = (born,) * len(REGIONS)
    world = World(0, zeros, nothing, zeros, Store(), empty, (), instances, (), Faults(), Budget())
    draft = Draft(fleet, world)
    for region in REGIONS:
        faults.start(draft, region)
    world = draft.done()
    well_since = None
    for _ in range(100 * STEADY_TICKS):
        well = steady(fleet, world) is None and not any(moves.urgent(fleet, world))
        well_since = (world.tick if well_since is None else well_since) if well else well_since
        # Heartbeats say so, too.
        if well and well_since is not None and world.tick >= well_since + 2:
            return _begun(world, Budget())
        world = applied(fleet, world, next(moves.urgent(fleet, world), moves.tick(fleet, world)))
    raise AssertionError(f"a fleet without faults does not become steady: {steady(fleet, world)}")


def prepared(fleet: Setting, world: World, before: tuple[tuple[str, int], ...], budget: Budget) -> World:
    """Return the fleet after these events, each with the ticks that follow it, with ``budget`` from then on."""
    for event, ticks in before:
        world = _happened(fleet, world, event)
        until_tick = world.tick + ticks
        while world.tick < until_tick or any(moves.urgent(fleet, world)):
            world = applied(fleet, world, next(moves.urgent(fleet, world), moves.tick(fleet, world)))
    return _begun(world, budget)


def _happened(fleet: Setting, world: World, event: str) -> World:
    world = world._replace(budget=Budget(faults=1, requests=1, writes=1))
    kinds = Kinds((event,), (event,), until_tick=world.tick + 1)
    move, *_ = moves.writes(fleet, world) if event == "write" else faults.beginning(fleet, world, kinds)
    return applied(fleet, world, move)


def _begun(world: World, budget: Budget) -> World:
    """Begin to count from here."""
    behind = tuple(each - world.tick for each in world.behind)
    return world._replace(tick=0, behind=behind, budget=budget)


def _settings(me: Region, mode: ReplicationMode) -> AgentSettings:
    regions = tuple(RegionSettings(each, False, "", "", 0, 0.0 if each == me else 0.1) for each in REGIONS)
    app = AppSettings(
        name=APP,
        namespace="",
        data_regions=REGIONS,
        mode=mode,
        # So short that nothing is left for a veto by WAL that still arrives.
        rto_s=TIMERS.lease_s,
        rpo_s=30.0,
        instance_url="instance",
        instance_host=None,
        instance_port=0,
        host="",
        postgres_port=None,
        egress_ports={},
        lease_s=TIMERS.lease_s,
        takeover_s=TIMERS.lease_s,
    )
    return AgentSettings(FLEET, me, regions, TIMERS, (app,), "", "", "", "", "", "", "", "", "", 0)
