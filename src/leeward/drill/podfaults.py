"""Faults of the application's pods: killed at random, or evicted as a drain of their node does it.

The last ready pod of a region is never killed: to lose all of a region is another drill.
"""

import asyncio

from leeward.core.values import Region
from leeward.drill.measure import Moment
from leeward.drill.scene import Injury, Scene, SetupError, moment

BACK_TIMEOUT_S = 120.0
"""So long a pod may take to be replaced: more is a rule broken."""
POLL_S = 0.2


async def kill_pods(scene: Scene) -> Injury:
    """Kill a random ready pod, wherever another one is ready, and another one at each interval."""
    first: Moment | None = None
    kills = 0
    until_s = scene.clock.now_s() + scene.lasts_s
    while first is None or scene.clock.now_s() < until_s:
        victim = await _victim(scene)
        if victim is None:
            because = f"for {BACK_TIMEOUT_S:g} s no region had two pods ready"
            if first is None:
                raise SetupError(f"{because}: the only one is not killed")
            return Injury(fault=first, recurring=True, broken=(because,))
        region, pod = victim
        applied = await scene.pods.kill(region, pod)
        kills += 1
        first = first or moment(applied)
        scene.say(f"pod {pod} in {region} was killed")
        await scene.wait(scene.every_s)
    scene.say(f"{kills} pods were killed")
    return Injury(fault=first, recurring=True)


async def drain(scene: Scene) -> Injury:
    """Evict every pod of the primary's region, one after the other, as the budget allows it."""
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
                because = f"the disruption budget did not let {pod} go for {BACK_TIMEOUT_S:g} s"
                return Injury(fault=first or _now(scene), broken=(because,), recurring=True)
            await scene.wait(POLL_S)
        first = first or moment(applied)
        scene.say(f"pod {pod} in {scene.primary} was evicted")
    assert first is not None, "there were pods"
    scene.say(f"{len(leaving)} pods were evicted; {refused} times the disruption budget said: not yet")
    give_up_s = scene.clock.now_s() + BACK_TIMEOUT_S
    while len(ready := set(await scene.pods.ready(scene.primary))) < 2 or ready & set(leaving):
        if scene.clock.now_s() > give_up_s:
            because = f"{BACK_TIMEOUT_S:g} s after the drain the pods ready in {scene.primary} are {sorted(ready)}"
            return Injury(fault=first, broken=(because,), recurring=True)
        await scene.wait(POLL_S)
    return Injury(fault=first, recurring=True)


async def _victim(scene: Scene) -> tuple[Region, str] | None:
    """Return a pod that is not the last of its region; None when there was none for a long time."""
    give_up_s = scene.clock.now_s() + BACK_TIMEOUT_S
    regions = sorted((scene.primary, *scene.regions))
    while scene.clock.now_s() < give_up_s:
        ready = await asyncio.gather(*(scene.pods.ready(region) for region in regions))
        spare = [(region, pod) for region, pods in zip(regions, ready, strict=True) if len(pods) > 1 for pod in pods]
        if spare:
            return scene.chance.choice(spare)
        await scene.wait(POLL_S)
    return None


def _now(scene: Scene) -> Moment:
    return Moment(scene.clock.unix_s(), scene.clock.now_s())
