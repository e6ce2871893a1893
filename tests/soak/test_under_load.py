"""A world under load, with a fault a minute, needs no restart and does not fill up: ``make endurance SOAK_S=7200``."""

import asyncio
import json
import os
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from leeward.cli.console import Console
from leeward.compile.names import host_of
from leeward.operate.starting import start
from leeward.spec import load
from leeward.world.client import World
from tests.soak.commands import PAYMENTS, WORLD, leeward
from tests.soak.sampling import Sampler
from tests.soak.slopes import BOUNDS, MIB, Bound, Sample, judge, report

pytestmark = [pytest.mark.soak, pytest.mark.endurance, pytest.mark.timeout(0)]

SOAK_S = float(os.environ.get("LEEWARD_SOAK_S", "1200"))
SEED = int(os.environ.get("LEEWARD_SOAK_SEED", "9"))
FAULTS = (
    "agent-kill",
    "asymmetric-partition",
    "blip",
    "database-crash",
    "instance-manager-kill",
    "partition",
    "pod-kill",
    "quorum-leader-and-region-loss",
    "quorum-leader-loss",
    "region-freeze",
    "region-loss",
)
OPTIONS = {"pod-kill": ("--every", "5s", "--duration", "30s")}
MODES = ("async", "sync", "quorum")
FAULT_EVERY_S = 60.0
SAMPLE_EVERY_S = 10.0
SETTLE_S = min(600.0, SOAK_S / 3)
"""Before anything is judged: caches and tables fill while each fault comes for the first time."""
START_TIMEOUT_S = 240.0
DRILL_TIMEOUT_S = 600.0
READY_TIMEOUT = "240s"
SHARE = 0.5
"""Of the samples: a region is away while it is broken."""
BUSY: tuple[Bound, ...] = (
    # Orphaned writes and the raw files that hold them stay until somebody has looked at them; logs grow with faults.
    Bound("* disk_bytes", 2048 * MIB, 512 * MIB),
    Bound("* all anonymous_bytes", 64 * MIB, 16 * MIB),
    *(bound for bound in BOUNDS if "bytes" in bound.pattern or "memory" in bound.pattern),
    # What a drill breaks comes back in its own time: what a sample shows depends on the fault before it.
    Bound("* envoy *", 60, 0),
    Bound("* processes", 12, 0),
    Bound("* all *", 60, 0),
    # Files that PostgreSQL has open while it replays, and an agent's connections to regions that come back.
    Bound("* descriptors", 16, 0),
    *BOUNDS,
)


async def test_a_world_under_load_with_a_fault_a_minute_needs_no_restart(home: Path) -> None:
    spec = load(PAYMENTS)
    host, app = host_of(spec, spec.applications[0]), spec.applications[0].metadata.name
    verdicts: Counter[str] = Counter()
    _, world = await start(Console(), PAYMENTS, WORLD, START_TIMEOUT_S)
    async with world:
        samples: list[Sample] = []
        sampling = asyncio.create_task(_sample(world, host, samples))
        try:
            broken = await _faults(random.Random(SEED), verdicts)
            if sampling.done():
                sampling.result()
        finally:
            sampling.cancel()
            await asyncio.wait([sampling])
        trends = judge(samples, BUSY, share=SHARE)
        print(f"\nseed {SEED}: {sum(verdicts.values())} faults in {SOAK_S:.0f} s: {dict(verdicts)}")
        print(f"{len(trends)} gauges over {samples[-1].at_s - samples[0].at_s:.0f} s:\n{report(trends)}")
        waited = await leeward("wait", app, "--timeout", READY_TIMEOUT, timeout_s=DRILL_TIMEOUT_S)
        await world.down()
    assert broken == []
    assert verdicts["did not begin"] == 0
    assert verdicts["passed"] + verdicts["missed an objective"] > verdicts["inconclusive"]
    judged = {each.name for each in trends}
    for region in spec.fleet.spec.regions:
        assert {f"{region.name} {each}" for each in ("disk_bytes", "store_bytes", "latency_ms")} <= judged
        assert [name for name in judged if name.startswith(region.name) and name.endswith("all anonymous_bytes")]
    assert waited.returncode == 0, "everything is ready in the end"
    assert [each.name for each in trends if not each.flat] == []


async def _faults(chance: random.Random, verdicts: Counter[str]) -> list[str]:
    """Break one thing after the other, one a minute; return every rule that was broken."""
    loop = asyncio.get_running_loop()
    until_s, broken = loop.time() + SOAK_S, []
    pending: list[str] = []
    while loop.time() < until_s:
        pending = pending or chance.sample(FAULTS, len(FAULTS))
        began_s, fault, mode = loop.time(), pending.pop(), chance.choice(MODES)
        how = ("--replication", mode, *OPTIONS.get(fault, ()), "-o", "json")
        drill = await leeward("drill", fault, *how, timeout_s=DRILL_TIMEOUT_S)
        verdict = {0: "passed", 1: "missed an objective", 4: "inconclusive"}.get(drill.returncode, "did not begin")
        verdicts[verdict] += 1
        print(f"{fault}, {mode}: {verdict}")
        if verdict != "did not begin":
            result: dict[str, Any] = json.loads(drill.stdout)
            broken += [f"{fault}, {mode}: {each}" for each in result["broken"]]
        await asyncio.sleep(max(0.0, began_s + FAULT_EVERY_S - loop.time()))
    return broken


async def _sample(world: World, host: str, samples: list[Sample]) -> None:
    await asyncio.sleep(SETTLE_S)
    while True:
        # A region may end while it is looked at.
        with suppress(OSError, AssertionError):
            samples.append(await Sampler(await world.info(), host, sums=True).sample())
        await asyncio.sleep(SAMPLE_EVERY_S)
