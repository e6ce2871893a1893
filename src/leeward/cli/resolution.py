"""Query a world's DNS servers for an application's name, as its users' resolvers would."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from leeward.adapters.dns.client import NoAnswerError, ask
from leeward.base.problem import Problem
from leeward.cli.agents import newest
from leeward.cli.console import Console, Style
from leeward.cli.exits import CommandError, ExitCode
from leeward.cli.forms import TableOutput
from leeward.cli.render import as_json, table
from leeward.cli.running import run
from leeward.cli.worlds_here import agents_of, choose, region_of
from leeward.world.model import GATEWAY_DOOR, RegionInfo, WorldInfo, address, network

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


def show(console: Console, name: str | None, app: str, near: str | None, output: TableOutput) -> ExitCode:
    """Print what each region's server answers."""
    resolution = run(_resolve(name, app, near), console)
    if output is TableOutput.JSON:
        console.data(as_json("Resolution", asdict(resolution)))
    else:
        console.data(render(console, resolution))
    return ExitCode.DONE if any(each.code is not None for each in resolution.answers) else ExitCode.NO


async def _resolve(name: str | None, app: str, near: str | None) -> Resolution:
    async with choose(name) as world:
        info = await world.info()
        subnet = None if near is None else network(region_of(info, near).index)
        async with agents_of(world, info) as agents:
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
    gateways = {address(each.index, GATEWAY_DOOR[0]): each.name for each in info.regions}
    leads_to = tuple(gateways[each] for each in reply.addresses if each in gateways)
    return Resolved(region.name, reply.code, leads_to, reply.addresses, reply.ttl_s, None)


def _names(app: str, status: Any) -> Any:
    known = status.get("names") or {}
    if app in known:
        return known[app]
    raise CommandError(
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


def render(console: Console, resolution: Resolution) -> str:
    """Return the answers as a table, and the regions they leave out."""
    users = "its own users" if resolution.near is None else f"users near {resolution.near}"
    lines = [f"{resolution.host}, for {users}", "", _table(resolution.answers)]
    lines += [
        console.mark(f"left out: {region}", Style.WARNING) + f", because {because}"
        for region, because in resolution.left_out.items()
    ]
    return "\n".join(lines)


def _table(answers: Sequence[Resolved]) -> str:
    return table(
        ("ASKED-IN", "LEADS-TO", "ADDRESS", "TTL"),
        [
            (
                each.region,
                ", ".join(each.leads_to) or each.code or each.because,
                ", ".join(each.addresses) or None,
                None if each.ttl_s is None else f"{each.ttl_s}s",
            )
            for each in answers
        ],
    )
