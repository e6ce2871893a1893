"""The faults a fleet must survive: what is done, for how long, and what must be true afterwards.

A fault strikes, is held, and is undone. What strikes also says how to undo itself, so that a drill that is
interrupted leaves a whole world.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from leeward.core.values import Region
from leeward.drill.access import FleetUnavailableError
from leeward.drill.judge import Expectation
from leeward.drill.measure import Moment
from leeward.drill.podfaults import drain, kill_pods
from leeward.drill.scene import POLL_S, Fault, Injury, Scene, SetupError, moment, until_writes_go_on

AGENT_RESTART_TIMEOUT_S = 30.0
FENCE_S = 0.05
"""What the guard may need to end PostgreSQL once the lease is over; a write sent later may not be acknowledged."""
BLIP_SHARE = 0.5
"""A blip is this part of the lease."""
BLIPS_S = 30.0
"""For how long blips, and the deaths of pods, go on unless the user says otherwise."""
PODS_S = 120.0
SLOW_RATE_KIB_S = 4.0


async def _beyond_the_lease(scene: Scene, injury: Injury) -> Injury:
    """Hold it long enough that whoever must act has acted, whatever went on at first."""
    await scene.wait(2 * scene.lease_s)
    return await until_writes_go_on(scene, injury)


async def _lose_region(scene: Scene) -> Injury:
    applied = await scene.faults.kill(scene.primary)
    scene.undo.append(lambda: scene.faults.start(scene.primary))
    return Injury(fault=moment(applied), lost_regions=frozenset({scene.primary}))


async def _freeze_region(scene: Scene) -> Injury:
    applied = await scene.faults.freeze(scene.primary)
    scene.undo.append(lambda: scene.faults.thaw(scene.primary))
    return Injury(fault=moment(applied), lost_regions=frozenset({scene.primary}))


async def _hold_then_wake(scene: Scene, injury: Injury) -> Injury:
    injury = await _beyond_the_lease(scene, injury)
    scene.undo.pop()
    woken = await scene.faults.thaw(scene.primary)
    scene.say(f"{scene.primary} wakes up")
    await scene.wait(scene.lease_s)
    return replace(injury, woke_s=woken.at_boot_s)


def _cut(*, both: bool) -> Callable[[Scene], Awaitable[Injury]]:
    async def strike(scene: Scene) -> Injury:
        applied = await scene.faults.set_link(scene.primary, "*", both=both, cut=True)
        scene.undo.append(lambda: scene.faults.set_link(scene.primary, "*", both=both, cut=False))
        return Injury(
            fault=moment(applied),
            lost_regions=frozenset({scene.primary}),
            fenced_from_s=applied.at_boot_s + scene.lease_s + FENCE_S,
        )

    return strike


async def _quorum_leader(scene: Scene) -> Region:
    leader = (await scene.fleet.view()).quorum_leader
    if leader is None:
        raise SetupError("no agent knows who leads the quorum store")
    return leader


async def _lose_quorum_leader(scene: Scene) -> Injury:
    leader = await _quorum_leader(scene)
    scene.say(f"the quorum store's leader is in {leader}")
    return Injury(fault=moment(await scene.faults.signal(leader, "etcd")))


async def _lose_quorum_leader_and_region(scene: Scene) -> Injury:
    leader = await _quorum_leader(scene)
    scene.say(f"the quorum store's leader is in {leader}; it dies together with {scene.primary}")
    injury = await _lose_region(scene)
    if leader != scene.primary:
        await scene.faults.signal(leader, "etcd")
    return injury


async def _until_the_store_is_led(scene: Scene, injury: Injury) -> Injury:
    injury = await _beyond_the_lease(scene, injury)
    leader = (await scene.fleet.view()).quorum_leader
    if leader is None:
        return replace(injury, broken=(*injury.broken, "no new leader of the quorum store was elected"))
    scene.say(f"the quorum store's leader is in {leader} now")
    return injury


def _signal(match: str) -> Callable[[Scene], Awaitable[Injury]]:
    async def strike(scene: Scene) -> Injury:
        return Injury(fault=moment(await scene.faults.signal(scene.primary, match)))

    return strike


async def _kill_agents(scene: Scene) -> Injury:
    first: Moment | None = None
    for region in (*scene.regions, scene.primary):
        before_s = scene.clock.now_s()
        applied = await scene.faults.signal(region, "agent")
        first = first or moment(applied)
        scene.say(f"the agent of {region} was killed")
        await _agent_answers(scene, region, before_s + AGENT_RESTART_TIMEOUT_S)
    assert first is not None, "there is at least the primary's region"
    return Injury(fault=first)


async def _agent_answers(scene: Scene, region: Region, give_up_s: float) -> None:
    while True:
        try:
            if (await scene.fleet.view(region)).age_s is not None:
                return
        except FleetUnavailableError:
            if scene.clock.now_s() > give_up_s:
                raise
        await scene.wait(POLL_S)


async def _blips(scene: Scene) -> Injury:
    first: Moment | None = None
    until_s = scene.clock.now_s() + scene.lasts_s
    blips = 0
    while scene.clock.now_s() < until_s:
        blips += 1
        applied = await scene.faults.set_link(scene.primary, "*", both=True, cut=True)
        first = first or moment(applied)
        scene.undo.append(lambda: scene.faults.set_link(scene.primary, "*", both=True, cut=False))
        await scene.wait(BLIP_SHARE * scene.lease_s)
        await scene.mend()
        await scene.wait(scene.lease_s)
    assert first is not None, "at least one blip"
    scene.say(f"{scene.primary} was cut off {blips} times, for {BLIP_SHARE * scene.lease_s:.1f} s each")
    return Injury(fault=first, recurring=True)


async def _slow_then_lose(scene: Scene) -> Injury:
    # Without a way to the store's leader the primary would lose its lease: that is another drill.
    leader = await _quorum_leader(scene)
    slow = next(region for region in scene.regions if region != leader)
    began_s = scene.clock.now_s()
    await scene.faults.set_link(scene.primary, slow, both=False, rate_kib_s=SLOW_RATE_KIB_S)
    scene.undo.append(lambda: scene.faults.set_link(scene.primary, slow, both=False, rate_kib_s=None))
    scene.say(f"the link from {scene.primary} to {slow} carries {SLOW_RATE_KIB_S:g} KiB/s now")
    await scene.wait(2 * scene.lease_s)
    broken: tuple[str, ...] = ()
    if not await scene.writes_go_on(began_s, frozenset({slow})):
        broken = (f"writes stopped because the standby in {slow} is slow",)
    topology = (await scene.fleet.view()).topologies[scene.app]
    if topology.primary != scene.primary:
        broken += (f"the primary moved to {topology.primary} because one link is slow: {topology.because}",)
    injury = await _lose_region(scene)
    return replace(injury, ineligible=frozenset({slow}), broken=broken)


async def _lose_two(scene: Scene) -> Injury:
    second, survivor = scene.regions[0], scene.regions[-1]
    injury = await _lose_region(scene)
    # Into the middle of it: just when the others are about to take over.
    await scene.wait(scene.lease_s)
    applied = await scene.faults.kill(second)
    scene.undo.append(lambda: scene.faults.start(second))
    scene.say(f"{second} died too; only {survivor} is left")
    # Should somebody have been elected in between, it may write as long as its lease runs.
    silent_from_s = applied.at_boot_s + scene.lease_s + 1.0
    return replace(injury, lost_regions=frozenset({scene.primary, second}), silent_from_s=silent_from_s)


async def _hold_without_majority(scene: Scene, injury: Injury) -> Injury:
    await scene.wait(3 * scene.lease_s)
    survivor = scene.regions[-1]
    view = await scene.fleet.view(survivor)
    explained = view.because.get(scene.app)
    scene.say(f"{survivor} says: {explained}")
    return replace(injury, explained=explained)


FAILS_OVER = Expectation(failovers_min=1)

_ALL = (
    Fault(
        name="region-loss",
        summary="SIGKILL to every process of the primary's region at once",
        must="one failover; writes and reads go on elsewhere; the region rejoins as a standby",
        expected=FAILS_OVER,
        strike=_lose_region,
        hold=until_writes_go_on,
    ),
    Fault(
        name="region-freeze",
        summary="SIGSTOP to every process of the primary's region for longer than the lease, then SIGCONT",
        must="one failover; the old primary acknowledges nothing after it wakes",
        expected=FAILS_OVER,
        strike=_freeze_region,
        hold=_hold_then_wake,
    ),
    Fault(
        name="partition",
        summary="the primary's region is cut off from the others, with clients inside it",
        must="one failover; no write acknowledged inside after the lease",
        expected=FAILS_OVER,
        strike=_cut(both=True),
        hold=_beyond_the_lease,
    ),
    Fault(
        name="asymmetric-partition",
        summary="the primary's region hears the others but is not heard",
        must="at most one failover; writes go on",
        expected=Expectation(),
        strike=_cut(both=False),
        hold=_beyond_the_lease,
    ),
    Fault(
        name="quorum-leader-loss",
        summary="the etcd leader is killed",
        must="writes go on; a new leader is elected",
        expected=Expectation(),
        strike=_lose_quorum_leader,
        hold=_until_the_store_is_led,
    ),
    Fault(
        name="quorum-leader-and-region-loss",
        summary="the etcd leader is killed together with the primary's region",
        must="one failover; writes go on",
        expected=FAILS_OVER,
        strike=_lose_quorum_leader_and_region,
        hold=until_writes_go_on,
    ),
    Fault(
        name="database-crash",
        summary="SIGKILL to every process of the primary's PostgreSQL",
        must="it restarts, or one failover; writes go on",
        expected=Expectation(),
        strike=_signal("postgres"),
        hold=_beyond_the_lease,
    ),
    Fault(
        name="instance-manager-kill",
        summary="SIGKILL to the primary's instance manager; PostgreSQL dies with it",
        must="it restarts, or one failover; writes go on",
        expected=Expectation(),
        strike=_signal("instance-manager"),
        hold=_beyond_the_lease,
    ),
    Fault(
        name="agent-kill",
        summary="every region's agent is killed, one after the other",
        must="agents restart; nothing moves, and no request fails that a client repeats for 2 s",
        expected=Expectation(failovers_max=0, spares=True),
        strike=_kill_agents,
        hold=_beyond_the_lease,
    ),
    Fault(
        name="blip",
        summary="the primary's region is cut off again and again, each time for less than the lease",
        must="nothing moves",
        expected=Expectation(failovers_max=0),
        strike=_blips,
        hold=until_writes_go_on,
        lasts_s=BLIPS_S,
    ),
    Fault(
        name="pod-kill",
        summary="a random pod of the application is killed again and again, wherever it runs",
        must="nothing moves, and no request fails that a client repeats for 2 s",
        expected=Expectation(failovers_max=0, spares=True),
        strike=kill_pods,
        hold=until_writes_go_on,
        lasts_s=PODS_S,
    ),
    Fault(
        name="node-drain",
        summary="every pod of the application in the primary's region is evicted, as draining its nodes does",
        must="one goes at a time, as the disruption budget says; nothing moves, and no request fails",
        expected=Expectation(failovers_max=0, spares=True),
        strike=drain,
        hold=until_writes_go_on,
    ),
    Fault(
        name="slow-link",
        summary="the link to one standby crawls; later the primary's region dies",
        must="writes go on meanwhile; the standby that lags is not chosen",
        expected=FAILS_OVER,
        strike=_slow_then_lose,
        hold=until_writes_go_on,
    ),
    Fault(
        name="second-loss",
        summary="a second region dies during the failover",
        must="nobody is promoted without a majority, and the agent left says why",
        expected=Expectation(failovers_max=2, recovers=False, explains=True),
        strike=_lose_two,
        hold=_hold_without_majority,
    ),
)
FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _ALL}
SUPERVISOR_KILL = "supervisor-kill"
"""A drill of its own (``leeward.drill.ending``): the world does not outlive it."""
