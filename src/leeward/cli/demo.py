"""The demo: start three regions, lose one under load, measure the impact, and remove everything."""

import asyncio
import os
from pathlib import Path

from leeward.cli.console import Console
from leeward.cli.drills import as_text, code_of
from leeward.cli.exits import ExitCode
from leeward.cli.locations import places_of
from leeward.cli.running import run
from leeward.cli.session import Session
from leeward.drill.summary import Result
from leeward.operate import drills
from leeward.operate.drills import DrillRequest
from leeward.operate.starting import start

DRILL = "region-loss"


def demo(session: Session, directory: Path) -> ExitCode:
    """Run the demo, and return whether every objective was met."""
    name, console = f"demo-{os.getpid()}", session.console
    result = run(_demo(console, directory, name), console, leftover=f"leeward down --world {name}")
    console.data("\n" + as_text(console, result))
    return code_of(result)


async def _demo(console: Console, directory: Path, name: str) -> Result:
    console.heading("1. Starting three regions, connected only by a WAN with realistic delays")
    spec, world = await start(console, directory, name, drills.START_TIMEOUT_S)
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
