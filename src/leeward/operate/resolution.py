"""Query a world's DNS servers for an application's name, as its users' resolvers would."""

import asyncio
from dataclasses import dataclass
from typing import Any

from leeward.adapters.dns.client import NoAnswerError, ask
from leeward.base.problem import Problem
from leeward.operate.agents import newest
from leeward.operate.outcome import OperationError
from leeward.operate.worlds import WorldFleet, region_of
from leeward.world.model import GATEWAY_ENDPOINT, RegionInfo, WorldInfo, address, network

ANSWER_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Resolved:
    """One server's answer."""

    region: str
    code: str | None
    """NOERROR, NXDOMAIN...; None when it did not answer."""
    leads_to: tuple[str, ...]
    """The regions of the addresses."""
    addresses: tuple[str, ...]
    ttl_s: int | None
    because: str | None
    """Why it did not answer."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """All servers' answers for one application."""

    app: str
    host: str
    near: str | None
    answers: tuple[Resolved, ...]
    left_out: dict[str, str]
    """Regions left out of the answers, and why, from the agent with the newest state."""


async def resolve(fleet: WorldFleet, app: str, near: str | None) -> Resolution:
    """Return what each region's server answers, ``near``: to users near that region. Raises OperationError."""
    info = fleet.world
    subnet = None if near is None else network(region_of(info, near).index)
    async with fleet.agents() as agents:
        best = newest(await agents.statuses())
    names = _names(app, {} if best is None else best.body)
    host = str(names["host"])
    answers = await asyncio.gather(*(_ask(info, region, host, subnet) for region in info.regions))
    return Resolution(app, host, near, tuple(answers), dict(names["left_out"]))


async def _ask(info: WorldInfo, region: RegionInfo, host: str, subnet: str | None) -> Resolved:
    try:
        reply = await ask(region.dns_host, region.dns_port, host, near=subnet, timeout_s=ANSWER_TIMEOUT_S)
    except NoAnswerError as error:
        return Resolved(region.name, None, (), (), None, f"{region.state}: {error}")
    gateways = {address(each.index, GATEWAY_ENDPOINT[0]): each.name for each in info.regions}
    leads_to = tuple(gateways[each] for each in reply.addresses if each in gateways)
    return Resolved(region.name, reply.code, leads_to, reply.addresses, reply.ttl_s, None)


def _names(app: str, status: Any) -> Any:
    known = status.get("names") or {}
    if app in known:
        return known[app]
    raise OperationError(
        Problem(
            code="no-such-name",
            where="command line",
            what=f"no agent serves DNS for application {app}",
            why=f"they serve {', '.join(known)}"
            if known
            else "no agent answers yet, or the Fleet sets no domain or another DNS provider",
            fix="use one of these"
            if known
            else "see leeward status; set domain in the Fleet, and leave dns.provider out",
        )
    )
