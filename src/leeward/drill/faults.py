"""The faults a fleet must survive: what is injected, for how long, and what must hold afterwards.

A fault is injected, held, and cleared. Each injection registers how to undo it, so that an interrupted drill leaves an
intact world.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from leeward.core.values import Region
from leeward.drill.access import FleetUnavailableError
from leeward.drill.judge import Expectation
from leeward.drill.measure import Moment
from leeward.drill.podfaults import drain, kill_pods
from leeward.drill.scene import POLL_S, Fault, InjectedFault, Scene, SetupError, moment, until_writes_resume

AGENT_RESTART_TIMEOUT_S = 30.0
FENCE_S = 0.05
"""How long the guard may take to stop PostgreSQL after the lease ends; later writes must not be acknowledged."""
BLIP_SHARE = 0.5
"""Length of a blip as a fraction of the lease."""
BLIPS_S = 30.0
"""Default duration of ``blip``; PODS_S is that of ``pod-kill``."""
PODS_S = 120.0
SLOW_RATE_KIB_S = 4.0


async def _hold_beyond_lease(scene: Scene, injected: InjectedFault) -> InjectedFault:
    """Hold the fault for two leases, so that any failover has begun, then until writes resume."""
    await scene.wait(2 * scene.lease_s)
    return await until_writes_resume(scene, injected)


async def _lose_region(scene: Scene) -> InjectedFault:
    applied = await scene.faults.kill(scene.primary)
    scene.undo.append(lambda: scene.faults.start(scene.primary))
    return InjectedFault(fault=moment(applied), lost_regions=frozenset({scene.primary}))


async def _freeze_region(scene: Scene) -> InjectedFault:
    applied = await scene.faults.freeze(scene.primary)
    scene.undo.append(lambda: scene.faults.thaw(scene.primary))
    return InjectedFault(fault=moment(applied), lost_regions=frozenset({scene.primary}))


async def _hold_then_thaw(scene: Scene, injected: InjectedFault) -> InjectedFault:
    injected = await _hold_beyond_lease(scene, injected)
    scene.undo.pop()
    thawed = await scene.faults.thaw(scene.primary)
    scene.progress(f"{scene.primary} resumed")
    await scene.wait(scene.lease_s)
    return replace(injected, resumed_s=thawed.at_boot_s)


def _cut(*, both: bool) -> Callable[[Scene], Awaitable[InjectedFault]]:
    async def inject(scene: Scene) -> InjectedFault:
        applied = await scene.faults.set_link(scene.primary, "*", both=both, cut=True)
        scene.undo.append(lambda: scene.faults.set_link(scene.primary, "*", both=both, cut=False))
        return InjectedFault(
            fault=moment(applied),
            lost_regions=frozenset({scene.primary}),
            fenced_from_s=applied.at_boot_s + scene.lease_s + FENCE_S,
        )

    return inject


async def _quorum_leader(scene: Scene) -> Region:
    leader = (await scene.fleet.view()).quorum_leader
    if leader is None:
        raise SetupError("no agent knows the quorum store's leader")
    return leader


async def _lose_quorum_leader(scene: Scene) -> InjectedFault:
    leader = await _quorum_leader(scene)
    scene.progress(f"the quorum store's leader is in {leader}")
    return InjectedFault(fault=moment(await scene.faults.signal(leader, "etcd")))


async def _lose_quorum_leader_and_region(scene: Scene) -> InjectedFault:
    leader = await _quorum_leader(scene)
    scene.progress(f"the quorum store's leader is in {leader}; killing it together with {scene.primary}")
    injected = await _lose_region(scene)
    if leader != scene.primary:
        await scene.faults.signal(leader, "etcd")
    return injected


async def _until_store_leader_elected(scene: Scene, injected: InjectedFault) -> InjectedFault:
    injected = await _hold_beyond_lease(scene, injected)
    leader = (await scene.fleet.view()).quorum_leader
    if leader is None:
        return replace(injected, broken=(*injected.broken, "no new leader of the quorum store was elected"))
    scene.progress(f"the quorum store's new leader is in {leader}")
    return injected


def _signal(match: str) -> Callable[[Scene], Awaitable[InjectedFault]]:
    async def inject(scene: Scene) -> InjectedFault:
        return InjectedFault(fault=moment(await scene.faults.signal(scene.primary, match)))

    return inject


async def _kill_agents(scene: Scene) -> InjectedFault:
    first: Moment | None = None
    for region in (*scene.regions, scene.primary):
        before_s = scene.clock.now_s()
        applied = await scene.faults.signal(region, "agent")
        first = first or moment(applied)
        scene.progress(f"killed the agent of {region}")
        await _agent_answers(scene, region, before_s + AGENT_RESTART_TIMEOUT_S)
    assert first is not None, "there is at least the primary's region"
    return InjectedFault(fault=first)


async def _agent_answers(scene: Scene, region: Region, give_up_s: float) -> None:
    while True:
        try:
            if (await scene.fleet.view(region)).age_s is not None:
                return
        except FleetUnavailableError:
            if scene.clock.now_s() > give_up_s:
                raise
        await scene.wait(POLL_S)


async def _blips(scene: Scene) -> InjectedFault:
    first: Moment | None = None
    until_s = scene.clock.now_s() + scene.lasts_s
    blips = 0
    while scene.clock.now_s() < until_s:
        blips += 1
        applied = await scene.faults.set_link(scene.primary, "*", both=True, cut=True)
        first = first or moment(applied)
        scene.undo.append(lambda: scene.faults.set_link(scene.primary, "*", both=True, cut=False))
        await scene.wait(BLIP_SHARE * scene.lease_s)
        await scene.clear()
        await scene.wait(scene.lease_s)
    assert first is not None, "at least one blip"
    scene.progress(f"{scene.primary} was cut off {blips} times, for {BLIP_SHARE * scene.lease_s:.1f} s each")
    return InjectedFault(fault=first, recurring=True)


async def _slow_then_lose(scene: Scene) -> InjectedFault:
    # Not the link to the store's leader: without it the primary would lose its lease, which is another drill.
    leader = await _quorum_leader(scene)
    slow = next(region for region in scene.regions if region != leader)
    began_s = scene.clock.now_s()
    await scene.faults.set_link(scene.primary, slow, both=False, rate_kib_s=SLOW_RATE_KIB_S)
    scene.undo.append(lambda: scene.faults.set_link(scene.primary, slow, both=False, rate_kib_s=None))
    scene.progress(f"the link from {scene.primary} to {slow} is limited to {SLOW_RATE_KIB_S:g} KiB/s")
    await scene.wait(2 * scene.lease_s)
    broken: tuple[str, ...] = ()
    if not await scene.writes_resume(began_s, frozenset({slow})):
        broken = (f"writes stopped because the standby in {slow} is slow",)
    topology = (await scene.fleet.view()).topologies[scene.app]
    if topology.primary != scene.primary:
        broken += (f"the primary moved to {topology.primary} because one link is slow: {topology.because}",)
    injected = await _lose_region(scene)
    return replace(injected, ineligible=frozenset({slow}), broken=broken)


async def _lose_two(scene: Scene) -> InjectedFault:
    second, survivor = scene.regions[0], scene.regions[-1]
    injected = await _lose_region(scene)
    # During the failover: just when the others are about to take over.
    await scene.wait(scene.lease_s)
    applied = await scene.faults.kill(second)
    scene.undo.append(lambda: scene.faults.start(second))
    scene.progress(f"killed {second} as well; only {survivor} is left")
    # A primary elected in between may accept writes until its lease ends.
    silent_from_s = applied.at_boot_s + scene.lease_s + 1.0
    return replace(injected, lost_regions=frozenset({scene.primary, second}), silent_from_s=silent_from_s)


async def _hold_without_majority(scene: Scene, injected: InjectedFault) -> InjectedFault:
    await scene.wait(3 * scene.lease_s)
    survivor = scene.regions[-1]
    view = await scene.fleet.view(survivor)
    explained = view.because.get(scene.app)
    scene.progress(f"{survivor} reports: {explained}")
    return replace(injected, explained=explained)


FAILS_OVER = Expectation(failovers_min=1)

_ALL = (
    Fault(
        name="region-loss",
        summary="SIGKILL to every process of the primary's region at once",
        must="one failover; writes and reads continue in other regions; the region rejoins as a standby",
        expected=FAILS_OVER,
        inject=_lose_region,
        hold=until_writes_resume,
    ),
    Fault(
        name="region-freeze",
        summary="SIGSTOP to every process of the primary's region for longer than the lease, then SIGCONT",
        must="one failover; the old primary acknowledges nothing after it resumes",
        expected=FAILS_OVER,
        inject=_freeze_region,
        hold=_hold_then_thaw,
    ),
    Fault(
        name="partition",
        summary="the primary's region is cut off from the others, with clients inside it",
        must="one failover; no write acknowledged inside after the lease",
        expected=FAILS_OVER,
        inject=_cut(both=True),
        hold=_hold_beyond_lease,
    ),
    Fault(
        name="asymmetric-partition",
        summary="the primary's region receives from the others but cannot send to them",
        must="at most one failover; writes continue",
        expected=Expectation(),
        inject=_cut(both=False),
        hold=_hold_beyond_lease,
    ),
    Fault(
        name="quorum-leader-loss",
        summary="the etcd leader is killed",
        must="writes continue; a new leader is elected",
        expected=Expectation(),
        inject=_lose_quorum_leader,
        hold=_until_store_leader_elected,
    ),
    Fault(
        name="quorum-leader-and-region-loss",
        summary="the etcd leader is killed together with the primary's region",
        must="one failover; writes continue",
        expected=FAILS_OVER,
        inject=_lose_quorum_leader_and_region,
        hold=until_writes_resume,
    ),
    Fault(
        name="database-crash",
        summary="SIGKILL to every process of the primary's PostgreSQL",
        must="it restarts, or one failover; writes continue",
        expected=Expectation(),
        inject=_signal("postgres"),
        hold=_hold_beyond_lease,
    ),
    Fault(
        name="instance-manager-kill",
        summary="SIGKILL to the primary's instance manager; PostgreSQL dies with it",
        must="it restarts, or one failover; writes continue",
        expected=Expectation(),
        inject=_signal("instance-manager"),
        hold=_hold_beyond_lease,
    ),
    Fault(
        name="agent-kill",
        summary="every region's agent is killed, one after another",
        must="agents restart; no failover, and no request fails that a client retries for 2 s",
        expected=Expectation(failovers_max=0, no_failed_requests=True),
        inject=_kill_agents,
        hold=_hold_beyond_lease,
    ),
    Fault(
        name="blip",
        summary="the primary's region is cut off repeatedly, each time for less than the lease",
        must="no failover",
        expected=Expectation(failovers_max=0),
        inject=_blips,
        hold=until_writes_resume,
        lasts_s=BLIPS_S,
    ),
    Fault(
        name="pod-kill",
        summary="a random pod of the application is killed repeatedly, in any region",
        must="no failover, and no request fails that a client retries for 2 s",
        expected=Expectation(failovers_max=0, no_failed_requests=True),
        inject=kill_pods,
        hold=until_writes_resume,
        lasts_s=PODS_S,
    ),
    Fault(
        name="node-drain",
        summary="every pod of the application in the primary's region is evicted, as draining its nodes does",
        must="one pod at a time, within the disruption budget; no failover, and no request fails",
        expected=Expectation(failovers_max=0, no_failed_requests=True),
        inject=drain,
        hold=until_writes_resume,
    ),
    Fault(
        name="slow-link",
        summary="the link to one standby is throttled; later the primary's region is lost",
        must="writes continue meanwhile; the lagging standby is not elected",
        expected=FAILS_OVER,
        inject=_slow_then_lose,
        hold=until_writes_resume,
    ),
    Fault(
        name="second-loss",
        summary="a second region is lost during the failover",
        must="no region is promoted without a majority, and the remaining agent reports why",
        expected=Expectation(failovers_max=2, recovers=False, explains=True),
        inject=_lose_two,
        hold=_hold_without_majority,
    ),
)
FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _ALL}
SUPERVISOR_KILL = "supervisor-kill"
"""A drill of its own (``leeward.drill.supervisor_kill``): it ends the world."""
