"""Faults of the application's pods: random kills, and evictions as in a node drain.

The last ready pod of a region is never killed: losing a whole region is another drill.
"""

import asyncio

from leeward.core.values import Region
from leeward.drill.measure import Moment
from leeward.drill.scene import InjectedFault, Scene, SetupError, moment

BACK_TIMEOUT_S = 120.0
"""How long replacing a pod may take before it counts as a broken rule."""
POLL_S = 0.2


async def kill_pods(scene: Scene) -> InjectedFault:
    """Kill a random ready pod of a region that has another one, repeatedly at the interval."""
    first: Moment | None = None
    kills = 0
    until_s = scene.clock.now_s() + scene.lasts_s
    while first is None or scene.clock.now_s() < until_s:
        victim = await _pick_pod(scene)
        if victim is None:
            because = f"for {BACK_TIMEOUT_S:g} s no region had two pods ready"
            if first is None:
                raise SetupError(f"{because}; the last one is never killed")
            return InjectedFault(fault=first, recurring=True, broken=(because,))
        region, pod = victim
        applied = await scene.pods.kill(region, pod)
        kills += 1
        first = first or moment(applied)
        scene.progress(f"killed pod {pod} in {region}")
        await scene.wait(scene.every_s)
    scene.progress(f"killed {kills} pods")
    return InjectedFault(fault=first, recurring=True)


async def drain(scene: Scene) -> InjectedFault:
    """Evict every pod of the primary's region, one after another, as the budget allows."""
    leaving = await scene.pods.ready(scene.primary)
    if len(leaving) < 2:
        raise SetupError(f"{len(leaving)} pods are ready in {scene.primary}: a drain would leave none")
    first: Moment | None = None
    refused = 0
    for pod in leaving:
        give_up_s = scene.clock.now_s() + BACK_TIMEOUT_S
        while (applied := await scene.pods.evict(scene.primary, pod)) is None:
            refused += 1
            if scene.clock.now_s() > give_up_s:
                because = f"the disruption budget blocked the eviction of {pod} for {BACK_TIMEOUT_S:g} s"
                return InjectedFault(fault=first or _now(scene), broken=(because,), recurring=True)
            await scene.wait(POLL_S)
        first = first or moment(applied)
        scene.progress(f"evicted pod {pod} in {scene.primary}")
    assert first is not None, "there were pods"
    scene.progress(f"evicted {len(leaving)} pods; the disruption budget deferred an eviction {refused} times")
    give_up_s = scene.clock.now_s() + BACK_TIMEOUT_S
    while len(ready := set(await scene.pods.ready(scene.primary))) < 2 or ready & set(leaving):
        if scene.clock.now_s() > give_up_s:
            because = f"{BACK_TIMEOUT_S:g} s after the drain the pods ready in {scene.primary} are {sorted(ready)}"
            return InjectedFault(fault=first, broken=(because,), recurring=True)
        await scene.wait(POLL_S)
    return InjectedFault(fault=first, recurring=True)


async def _pick_pod(scene: Scene) -> tuple[Region, str] | None:
    """Return a pod that is not the last of its region; None when none was found in time."""
    give_up_s = scene.clock.now_s() + BACK_TIMEOUT_S
    regions = sorted((scene.primary, *scene.regions))
    while scene.clock.now_s() < give_up_s:
        ready = await asyncio.gather(*(scene.pods.ready(region) for region in regions))
        spare = [(region, pod) for region, pods in zip(regions, ready, strict=True) if len(pods) > 1 for pod in pods]
        if spare:
            return scene.rng.choice(spare)
        await scene.wait(POLL_S)
    return None


def _now(scene: Scene) -> Moment:
    return Moment(scene.clock.unix_s(), scene.clock.now_s())
