"""Stop worlds, list them, and print their locations."""

import importlib.metadata
import platform
import time
from dataclasses import asdict
from typing import Any

from leeward.base.problem import ProblemsError
from leeward.base.units import duration_cell
from leeward.cli.console import Console
from leeward.cli.exits import ExitCode
from leeward.cli.forms import TableOutput
from leeward.cli.render import as_json, facts, table
from leeward.cli.running import run
from leeward.cli.worlds_here import choose
from leeward.world import engines, places
from leeward.world.client import World, list_worlds
from leeward.world.model import WorldInfo


def down(console: Console, name: str | None) -> ExitCode:
    """Stop a world and remove all that belongs to it."""
    world = choose(name)
    run(world.down(), console)
    console.data(f"world/{world.directory.name} down")
    return ExitCode.DONE


def listing(console: Console, output: TableOutput) -> None:
    """Print every running world."""
    infos = run(_infos(), console)
    if output is TableOutput.JSON:
        console.data(as_json("WorldList", {"worlds": [asdict(info) for info in infos]}))
    elif not infos:
        console.note("no world is running; start one: leeward up examples/payments")
    else:
        now_s = time.time()
        console.data(
            table(
                ("NAME", "FLEET", "REGIONS", "DIRECTORY", "AGE"),
                [
                    (info.name, info.fleet, states(info), info.directory, duration_cell(now_s - info.started_at_unix_s))
                    for info in infos
                ],
            )
        )


def states(info: WorldInfo) -> str:
    """Return how many regions run, of how many."""
    return f"{sum(region.state == 'running' for region in info.regions)}/{len(info.regions)}"


def info(console: Console, name: str | None, output: TableOutput) -> None:
    """Print versions and locations, including those of a world if one runs."""
    general: dict[str, Any] = {
        "version": importlib.metadata.version("leeward"),
        "python": platform.python_version(),
        "home": str(places.home()),
        "engines": _engines(),
        "worlds": list(list_worlds()),
    }
    world = run(_info(choose(name)), console) if name or len(general["worlds"]) == 1 else None
    if output is TableOutput.JSON:
        console.data(as_json("Info", {**general, "world": None if world is None else asdict(world)}))
        return
    lines = [
        ("leeward", general["version"]),
        ("python", general["python"]),
        ("home (LEEWARD_HOME)", general["home"]),
        *general["engines"].items(),
        ("worlds", ", ".join(general["worlds"]) or "none"),
    ]
    console.data(facts(lines))
    if world is not None:
        console.data("\n" + places_of(world))


def places_of(world: WorldInfo) -> str:
    """Return a world's locations: files, and front doors by region."""
    general = facts(
        [
            ("world", world.name),
            ("files", ", ".join(world.files)),
            ("directory", world.directory),
            ("operator's identity", f"{world.directory}/operator"),
            ("supervisor's log", f"{world.directory}/supervisor.log"),
            ("isolation", world.isolation),
            *([("not emulated", "; ".join(world.not_emulated))] if world.not_emulated else []),
        ]
    )
    return f"{general}\n\n{front_doors(world)}"


def front_doors(world: WorldInfo) -> str:
    """Return the table of addresses on this machine."""
    return table(
        ("REGION", "STATE", "GATEWAY", "AGENT", "API-SERVER", "DNS"),
        [
            (
                each.name,
                each.state,
                each.gateway_url,
                each.agent_url.removeprefix("https://"),
                each.api_url.removeprefix("https://"),
                # As dig expects it: dig +tcp @HOST -p PORT, with the gateway's host.
                f"-p {each.dns_port}",
            )
            for each in world.regions
        ],
    )


async def _infos() -> list[WorldInfo]:
    found = []
    for name in list_worlds():
        try:
            found.append(await _info(World.open(name)))
        except ProblemsError:  # it is starting or stopping: it has no supervisor to query
            continue
    return found


async def _info(world: World) -> WorldInfo:
    async with world:
        return await world.info()


def _engines() -> dict[str, str | None]:
    """Return the version and path of each engine; all None when leeward doctor reports a problem with one."""
    try:
        found = engines.locate()
    except ProblemsError:
        return {"etcd": None, "envoy": None, "postgres": None}
    return {
        "etcd": f"{found.etcd_version} at {found.etcd}",
        "envoy": f"{found.envoy_version} at {found.envoy}",
        "postgres": f"{found.postgres_version} at {found.postgres_bin}",
    }
