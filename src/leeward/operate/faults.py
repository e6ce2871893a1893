"""Inject faults into a world, and clear them."""

import signal as signals
from collections.abc import Awaitable, Callable

from leeward.base.problem import Problem
from leeward.operate.outcome import OperationError
from leeward.operate.problems import region_in
from leeward.operate.worlds import WorldFleet
from leeward.world.client import KEEP
from leeward.world.model import Applied

ALL_PEERS = "*"


async def on_region(fleet: WorldFleet, region: str, what: str) -> Applied:
    """``kill``, ``freeze``, ``thaw`` or ``start`` a region. Raises ProblemsError."""
    verbs: dict[str, Callable[[str], Awaitable[Applied]]] = {
        "kill": fleet.control.kill,
        "freeze": fleet.control.freeze,
        "thaw": fleet.control.thaw,
        "start": fleet.control.start,
    }
    return await verbs[what](region_in(fleet, region))


def signal_of(name: str) -> signals.Signals:
    """Return the signal of a name, such as SIGSTOP or stop. Raises OperationError."""
    wanted = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    if wanted not in signals.Signals.__members__:
        raise OperationError(
            Problem(
                code="unknown-signal",
                where="--signal",
                what=f"{name!r} is not a valid signal",
                why="expected the name of a signal, such as SIGKILL, SIGSTOP or SIGCONT",
                fix="use one of these; SIGKILL is the default",
            )
        )
    return signals.Signals[wanted]


async def signal(fleet: WorldFleet, region: str, part: str, number: signals.Signals) -> Applied:
    """Signal the processes of one component of a region. Raises ProblemsError."""
    return await fleet.control.signal(region_in(fleet, region), part, number)


async def cut(fleet: WorldFleet, region: str, peer: str | None) -> Applied:
    """Cut the links of a region, or the one to a peer. Raises ProblemsError."""
    return await _set_link(fleet, region, peer, cut=True, delay_ms=KEEP, rate_kib_s=KEEP)


async def heal(fleet: WorldFleet, region: str, peer: str | None) -> Applied:
    """Restore the links of a region, or the one to a peer, as the files have them. Raises ProblemsError."""
    return await _set_link(fleet, region, peer, cut=False, delay_ms=None, rate_kib_s=None)


async def slow(
    fleet: WorldFleet, region: str, peer: str | None, *, delay_s: float | None, rate_bytes_s: float | None
) -> Applied:
    """Set the one-way delay or the bandwidth of a region's links; None: as it is. Raises ProblemsError."""
    delay_ms = KEEP if delay_s is None else delay_s * 1000
    rate_kib_s = KEEP if rate_bytes_s is None else rate_bytes_s / 1024
    return await _set_link(fleet, region, peer, cut=None, delay_ms=delay_ms, rate_kib_s=rate_kib_s)


async def _set_link(
    fleet: WorldFleet,
    region: str,
    peer: str | None,
    *,
    cut: bool | None,
    delay_ms: float | None,
    rate_kib_s: float | None,
) -> Applied:
    target = ALL_PEERS if peer is None else region_in(fleet, peer)
    return await fleet.control.set_link(
        region_in(fleet, region), target, cut=cut, delay_ms=delay_ms, rate_kib_s=rate_kib_s
    )
