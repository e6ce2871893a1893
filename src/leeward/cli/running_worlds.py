"""Stop worlds, list them, and print their locations."""

import importlib.metadata
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from leeward.base.problem import ProblemsError
from leeward.base.units import duration_cell
from leeward.cli.exits import ExitCode
from leeward.cli.locations import places_of
from leeward.cli.render import facts, table
from leeward.cli.running import run
from leeward.cli.session import Session
from leeward.operate.worlds import choose, described, running
from leeward.world import engines, places
from leeward.world.client import list_worlds
from leeward.world.model import WorldInfo


def down(session: Session) -> ExitCode:
    """Stop a world and remove all that belongs to it."""
    world = choose(session.world)
    run(world.down(), session.console)
    session.console.data(f"world/{world.directory.name} down")
    return ExitCode.DONE


def listing(session: Session) -> ExitCode:
    """Print every running world."""
    infos = run(running(), session.console)
    names = [f"world/{info.name}" for info in infos]
    session.answer(
        "WorldList", {"worlds": [asdict(info) for info in infos]}, (lambda: _list(infos)) if infos else None, names
    )
    if not infos:
        session.console.note("no world is running; start one: leeward up -f examples/payments")
    return ExitCode.DONE


def _list(infos: Sequence[WorldInfo]) -> str:
    now_s = time.time()
    return table(
        ("NAME", "FLEET", "REGIONS", "DIRECTORY", "AGE"),
        [
            (info.name, info.fleet, states(info), info.directory, duration_cell(now_s - info.started_at_unix_s))
            for info in infos
        ],
    )


def states(info: WorldInfo) -> str:
    """Return how many regions run, of how many."""
    return f"{sum(region.state == 'running' for region in info.regions)}/{len(info.regions)}"


def info(session: Session) -> ExitCode:
    """Print versions and locations, including those of a world if one runs."""
    general: dict[str, Any] = {
        "version": importlib.metadata.version("leeward"),
        "python": platform.python_version(),
        "home": str(places.home()),
        "engines": _engines(),
        "worlds": list(list_worlds()),
    }
    one = session.world or len(general["worlds"]) == 1
    world = run(described(choose(session.world)), session.console) if one else None
    body = {**general, "world": None if world is None else asdict(world)}
    session.answer("Info", body, lambda: _info(general, world))
    return ExitCode.DONE


def _info(general: Mapping[str, Any], world: WorldInfo | None) -> str:
    lines = [
        ("leeward", general["version"]),
        ("python", general["python"]),
        ("home (LEEWARD_HOME)", general["home"]),
        *general["engines"].items(),
        ("worlds", ", ".join(general["worlds"]) or "none"),
    ]
    return facts(lines) + ("" if world is None else "\n\n" + places_of(world))


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
