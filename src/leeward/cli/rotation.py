"""Exchange a world's authorities, and print which."""

from leeward.cli.exits import ExitCode
from leeward.cli.session import Session
from leeward.operate.rotation import rotate
from leeward.operate.worlds import WorldFleet


def show(session: Session, purposes: tuple[str, ...], timeout_s: float) -> ExitCode:
    """Exchange the authorities of these purposes."""

    async def work(fleet: WorldFleet) -> tuple[str, list[str]]:
        return fleet.world.name, await rotate(fleet, purposes, session.console, timeout_s)

    world, done = session.run(work)
    session.console.data(f"authorities/{world} exchanged: {', '.join(done)}")
    return ExitCode.DONE
