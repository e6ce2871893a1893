"""The demo: start three regions, lose one under load, measure the impact, and remove everything."""

import asyncio
import os
from pathlib import Path

from leeward.cli import drills, start
from leeward.cli.console import Console
from leeward.cli.drills import DrillRequest
from leeward.cli.exits import ExitCode
from leeward.cli.running import run
from leeward.cli.running_worlds import places_of
from leeward.drill.summary import Result

DRILL = "region-loss"


def demo(console: Console, directory: Path) -> ExitCode:
    """Run the demo, and return whether every objective was met."""
    name = f"demo-{os.getpid()}"
    result = run(_demo(console, directory, name), console, leftover=f"leeward down --world {name}")
    console.data("\n" + drills.as_text(console, result))
    return drills.code_of(result)


async def _demo(console: Console, directory: Path, name: str) -> Result:
    console.heading("1. Starting three regions, connected only by a WAN with realistic delays")
    spec, world = await start.start(console, directory, name, drills.START_TIMEOUT_S)
    try:
        console.heading("2. Addresses and files; clients send payments through every gateway from now on")
        console.note(places_of(await world.info()))
        console.note(f"\nto watch it: leeward status --watch --world {name}")
        application = spec.applications[0]
        home = spec.placement(application)[0]
        console.heading(f"3. Losing {home}; 4. restarting it, and failing back")
        return await drills.perform(
            console, spec, world, DrillRequest(DRILL, home, None, 1, app=application.metadata.name)
        )
    finally:
        console.heading("5. Stopping everything")
        await asyncio.shield(world.down())
