"""The main job in one command: three regions, one lost under load, what it cost, and nothing left behind."""

import asyncio
import os
from pathlib import Path

from leeward.cli import start, trials
from leeward.cli.console import Console
from leeward.cli.exits import ExitCode
from leeward.cli.running import run
from leeward.cli.running_worlds import places_of
from leeward.cli.trials import Wish
from leeward.drill.summary import Result

DRILL = "region-loss"


def demo(console: Console, directory: Path) -> ExitCode:
    """Do it, and return whether every objective was met."""
    name = f"demo-{os.getpid()}"
    result = run(_demo(console, directory, name), console, leftover=f"leeward down --world {name}")
    console.data("\n" + trials.as_text(console, result))
    return trials.code_of(result)


async def _demo(console: Console, directory: Path, name: str) -> Result:
    console.heading("1. Three regions start, joined only by a WAN with realistic delays")
    spec, world = await start.start(console, directory, name, trials.START_TIMEOUT_S)
    try:
        console.heading("2. Where everything is; clients pay through every gateway from now on")
        console.note(places_of(await world.info()))
        console.note(f"\nlook around meanwhile: leeward status --watch --world {name}")
        application = spec.applications[0]
        home = spec.placement(application)[0]
        console.heading(f"3. {home} dies; 4. it returns, and the primary fails back")
        return await trials.perform(console, spec, world, Wish(DRILL, home, None, 1, app=application.metadata.name))
    finally:
        console.heading("5. Everything stops")
        await asyncio.shield(world.down())
