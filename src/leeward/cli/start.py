"""Start a world, and print where it is and what to do next."""

from pathlib import Path

from leeward.cli.console import Style
from leeward.cli.exits import ExitCode
from leeward.cli.locations import places_of
from leeward.cli.render import table
from leeward.cli.running import run
from leeward.cli.session import Session
from leeward.compile.names import host_of
from leeward.compile.region.gateway_ports import gateway_ports
from leeward.operate.outcome import Progress
from leeward.operate.starting import start
from leeward.spec import Spec
from leeward.world.model import WorldInfo


def up(session: Session, directory: Path, *, timeout_s: float) -> ExitCode:
    """Start a world, wait until it is ready, and print its locations."""
    console, name = session.console, session.world or "default"
    work = _up(console, directory, name, timeout_s)
    spec, info = run(work, console, leftover=f"leeward down --world {name}")
    world = "" if name == "default" else f" --world {name}"
    first, *others = spec.applications
    app, other = first.metadata.name, spec.placement(first)[-1]
    console.data(places_of(info))
    if others:
        console.data("\n" + applications_of(spec))
    console.data(
        f"\n{console.mark('Next', Style.STRONG)}\n"
        f"  leeward status --watch{world}\n"
        f"  leeward switchover {app} --to {other}{world}\n"
        f"  leeward down{world}"
    )
    return ExitCode.DONE


async def _up(progress: Progress, directory: Path, name: str, timeout_s: float) -> tuple[Spec, WorldInfo]:
    spec, world = await start(progress, directory, name, timeout_s)
    async with world:
        info = await world.info()
        world.keep()
        return spec, info


def applications_of(spec: Spec) -> str:
    """Return how to reach each of several applications: by host, and by the gateways' ports for their databases."""
    rows = []
    for application in spec.applications:
        ports = gateway_ports(spec, application)
        placed = ", ".join(spec.placement(application))
        rows.append(
            (application.metadata.name, host_of(spec, application), str(ports.primary if ports else "-"), placed)
        )
    return table(("APPLICATION", "HOST", "PRIMARY-PORT", "PLACED-IN"), rows)
