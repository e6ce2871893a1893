"""A world that nobody uses stays as it is while its DNS servers are sent nonsense, and still fails over at the end.

``make soak SOAK_S=3600`` runs it for an hour; ``make test`` runs 20 minutes of it beside what starts no
database and no world.
The world is tethered to this process: however this ends, nothing of the world is left.
"""

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from leeward.cli.console import Console
from leeward.compile.names import host_of
from leeward.operate.starting import start
from leeward.spec import load
from tests.soak.commands import PAYMENTS, WORLD, leeward
from tests.soak.questions import Questions
from tests.soak.sampling import Sampler
from tests.soak.slopes import Sample, judge, report
from tests.world.drilled import TRIES, Result, Trials, outcome

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]

SOAK_S = float(os.environ.get("LEEWARD_SOAK_S", "1200"))
SETTLE_S = min(240.0, SOAK_S / 5)
"""Before anything is judged: caches fill, drills' and start-up's sessions end."""
EVERY_S = 10.0
START_TIMEOUT_S = 240.0
SEED = 9
FAILOVERS, FAILOVER_TIMEOUT_S = 3, 900.0


async def test_a_world_that_nobody_uses_stays_as_it_is(home: Path, undecided: list[str]) -> None:
    spec = load(PAYMENTS)
    _, world = await start(Console(), PAYMENTS, WORLD, START_TIMEOUT_S)
    async with world:
        info = await world.info()
        host = host_of(spec, spec.applications[0])
        questions = Questions(info, host, SEED)
        samples = await _soaked(Sampler(info, host), questions)
        print(f"\nnonsense for the DNS servers, seed {SEED}: {dict(questions.count)}")
        assert questions.count["answered"] > 0
        assert await questions.answered() == [region.name for region in info.regions]
        assert _tracebacks(home) == []
        trends = judge(samples)
        print(f"\n{len(trends)} gauges over {samples[-1].at_s - samples[0].at_s:.0f} s:\n{report(trends)}")
        # The primary's region is lost and returns; all follow in the end.
        failovers = [await _failover(undecided) for _ in range(FAILOVERS)]
        await world.down()
    assert [each.name for each in trends if not each.flat] == []
    judged = {each.name for each in trends}
    assert {f"{region.name} latency_ms" for region in info.regions} <= judged, "every request was answered"
    drills = [drill for each in failovers for drill in each.results]
    assert [sentence for drill in drills for sentence in drill["broken"]] == []
    objectives = [each for drill in drills for each in drill["objectives"]]
    assert [each for each in objectives if each["name"] in ("lost", "duplicated") and not each["met"]] == []
    assert [each.why for each in failovers if each.why is not None] == []
    runs = [run for each in failovers for run in each.results[-1]["timeline"]]
    assert [run for run in runs if run["first_write"] is None] == []


@dataclass(frozen=True, slots=True)
class Failover:
    """The tries of losing the primary's region once."""

    results: list[Result]
    why: str | None
    """Why none of them tells how it went; None: the last one does, or the machine is to blame."""


async def _failover(undecided: list[str]) -> Failover:
    trials, results = Trials("region-loss after the soak", undecided), list[Result]()
    for _ in range(TRIES):
        drill = await leeward("drill", "region-loss", "--runs", "1", "-o", "json", timeout_s=FAILOVER_TIMEOUT_S)
        result = outcome(drill)
        if not isinstance(result, str):
            print(f"failover after that: {json.dumps(result['objectives'])}; broken: {result['broken']}")
            results.append(result)
        # Aside: it may wait until the machine is calm.
        if await asyncio.to_thread(trials.ended_with, result):
            return Failover(results, None)
    return Failover(results, trials.why)


async def _soaked(sampler: Sampler, questions: Questions) -> list[Sample]:
    """Return the samples of the time that is judged."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    samples = []
    asking = asyncio.create_task(questions.run())
    try:
        while loop.time() < began_s + SOAK_S:
            await asyncio.wait([asking], timeout=EVERY_S)
            if asking.done():
                asking.result()
            if loop.time() >= began_s + SETTLE_S:
                samples.append(await sampler.sample())
    finally:
        asking.cancel()
        await asyncio.wait([asking])
    return samples


def _tracebacks(home: Path) -> list[str]:
    """Return the logs of the world that hold one."""
    return [str(path) for path in sorted(home.rglob("*.log")) if "Traceback" in path.read_text("utf-8", "replace")]
