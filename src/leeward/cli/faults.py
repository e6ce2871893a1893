"""Inject faults into a world, and clear them."""

import signal as signals
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from leeward.base.problem import Problem
from leeward.cli.console import Console
from leeward.cli.exits import CommandError
from leeward.cli.running import run
from leeward.cli.worlds_here import choose, region_of
from leeward.world.client import KEEP, World
from leeward.world.model import Applied

ALL_PEERS = "*"
DONE = {"kill": "killed", "freeze": "frozen", "thaw": "thawed", "start": "started"}


def region(console: Console, world: str | None, name: str, what: str) -> None:
    """Kill, freeze, thaw or start a region."""

    async def apply(chosen: World) -> Applied:
        verbs: dict[str, Callable[[str], Awaitable[Applied]]] = {
            "kill": chosen.kill,
            "freeze": chosen.freeze,
            "thaw": chosen.thaw,
            "start": chosen.start,
        }
        return await verbs[what](name)

    applied = run(_in_world(world, name, None, apply), console)
    console.data(f"region/{name} {DONE[what]}{_at(applied)}")


def signal(console: Console, world: str | None, name: str, part: str, number: str) -> None:
    """Signal the processes of one component of a region."""
    wanted = number.upper() if number.upper().startswith("SIG") else f"SIG{number.upper()}"
    if wanted not in signals.Signals.__members__:
        raise CommandError(
            Problem(
                code="unknown-signal",
                where="--signal",
                what=f"{number!r} is not a valid signal",
                why="expected the name of a signal, such as SIGKILL, SIGSTOP or SIGCONT",
                fix="use one of these; SIGKILL is the default",
            )
        )

    async def apply(chosen: World) -> Applied:
        return await chosen.signal(name, part, signals.Signals[wanted])

    applied = run(_in_world(world, name, None, apply), console)
    pids = ", ".join(map(str, applied.pids)) or "no process"
    console.data(f"region/{name} {part} {wanted} sent to {pids}{_at(applied)}")


def links(
    console: Console,
    world: str | None,
    name: str,
    peer: str | None,
    *,
    cut: bool,
    delay_ms: float | None = None,
    rate_kib_s: float | None = None,
) -> None:
    """Cut or restore the links of a region; given a delay or a rate, restore them with these."""
    slow = delay_ms is not None or rate_kib_s is not None

    async def apply(chosen: World) -> Applied:
        return await chosen.set_link(
            name,
            peer or ALL_PEERS,
            cut=None if slow else cut,
            delay_ms=KEEP if cut or (slow and delay_ms is None) else delay_ms,
            rate_kib_s=KEEP if cut or (slow and rate_kib_s is None) else rate_kib_s,
        )

    applied = run(_in_world(world, name, peer, apply), console)
    done = "cut" if cut else "slow" if slow else "healed"
    console.data(f"region/{name} {done}{f' towards {peer}' if peer else ''}{_at(applied)}")


async def _in_world(
    world: str | None, name: str, peer: str | None, apply: Callable[[World], Awaitable[Applied]]
) -> Applied:
    async with choose(world) as chosen:
        info = await chosen.info()
        for each in (name, peer):
            if each is not None:
                region_of(info, each)
        return await apply(chosen)


def _at(applied: Applied) -> str:
    return f" at {datetime.fromtimestamp(applied.at_unix_s, UTC):%H:%M:%S.%f}"[:-3] + "Z"
