"""Verbs that inject faults: drill, fault."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from leeward.cli.commands.common import InRegion, World, console
from leeward.cli.forms import EXAMPLE, Mode, TableOutput

Peer = Annotated[
    str | None,
    typer.Option("--peer", metavar="REGION", show_default=False, help="Only the link to this region."),
]


class Part(StrEnum):
    """Processes that `fault signal` can target."""

    POSTGRES = "postgres"
    INSTANCE_MANAGER = "instance-manager"
    AGENT = "agent"
    ETCD = "etcd"
    GATEWAY = "gateway"


def register(app: typer.Typer) -> None:
    """Add the verbs of this group."""
    app.command()(drill)
    faults = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    for verb in (kill, freeze, thaw, start, signal, cut, slow, heal):
        faults.command()(verb)
    app.add_typer(
        faults,
        name="fault",
        help="""Inject a fault into a world, or clear it.

        \b
        Examples:
          leeward fault kill --region us-east-1
          leeward fault start --region us-east-1
          leeward fault cut --region us-east-1 --peer japaneast
        """,
    )


def drill(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Drill to run; `leeward drill list` prints all.")],
    application: Annotated[
        str | None,
        typer.Option("--app", metavar="APP", show_default="the only one", help="Application to put under load."),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option("--region", "-r", show_default="the primary's", help="Region to inject the fault in."),
    ] = None,
    replication: Annotated[Mode | None, typer.Option(show_default="unchanged", help="Replication mode.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Number of runs.")] = 1,
    duration: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            show_default="blip 30s, pod-kill 120s",
            help="How long blip or pod-kill lasts, such as 90s, 10m or 1h.",
        ),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(metavar="TIME", show_default="30s", help="Interval between the kills of pod-kill."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed for pod-kill.")] = 1,
    output: Annotated[
        TableOutput, typer.Option("-o", "--output", help="A table, or one JSON object.")
    ] = TableOutput.TABLE,
    directory: Annotated[
        Path | None,
        typer.Option("-f", metavar="DIR", show_default=EXAMPLE, help="Files to start a world from, when none runs."),
    ] = None,
    world: World = None,
) -> None:
    """Inject a fault under load, and measure the impact on clients.

    Uses the running world, or starts one and stops it at the end. Exit status 0: every objective
    was met; 1: one was missed; 2: could not run; 4: inconclusive.

    \b
    Examples:
      leeward drill list
      leeward drill region-loss --region us-east-1 --replication sync --runs 20
      leeward drill region-loss --app payments
      leeward drill blip -f examples/payments --duration 10m -o json | jq .failovers
      leeward drill pod-kill --every 10s --duration 5m --seed 7
    """
    from leeward.cli import drills

    if name == "list":
        drills.names(console(context))
        return
    request = drills.DrillRequest(name, region, replication, runs, duration, every, seed, application)
    raise typer.Exit(drills.drill(console(context), world, directory, request, output))


def kill(context: typer.Context, region: InRegion, world: World = None) -> None:
    """Kill every process of a region at once.

    \b
    Examples:
      leeward fault kill --region us-east-1
    """
    _fault(context, world, "kill", region)


def freeze(context: typer.Context, region: InRegion, world: World = None) -> None:
    """Suspend every process of a region.

    \b
    Examples:
      leeward fault freeze --region us-east-1
    """
    _fault(context, world, "freeze", region)


def thaw(context: typer.Context, region: InRegion, world: World = None) -> None:
    """Resume a frozen region.

    \b
    Examples:
      leeward fault thaw --region us-east-1
    """
    _fault(context, world, "thaw", region)


def start(context: typer.Context, region: InRegion, world: World = None) -> None:
    """Restart a lost region with its old disks.

    \b
    Examples:
      leeward fault start --region us-east-1
    """
    _fault(context, world, "start", region)


def signal(
    context: typer.Context,
    part: Annotated[Part, typer.Argument(help="Processes to signal.")],
    region: InRegion,
    number: Annotated[str, typer.Option("--signal", "-s", metavar="SIGNAL", help="Signal to send.")] = "SIGKILL",
    world: World = None,
) -> None:
    """Send a signal to the processes of one component of a region.

    \b
    Examples:
      leeward fault signal postgres --region us-east-1
      leeward fault signal agent --region us-east-1 --signal SIGSTOP
    """
    from leeward.cli import faults

    faults.signal(console(context), world, region, part.value, number)


def cut(context: typer.Context, region: InRegion, peer: Peer = None, world: World = None) -> None:
    """Cut a region off from the others, or from one of them.

    \b
    Examples:
      leeward fault cut --region us-east-1
      leeward fault cut --region us-east-1 --peer japaneast
    """
    from leeward.cli import faults

    faults.links(console(context), world, region, peer, cut=True)


def heal(context: typer.Context, region: InRegion, peer: Peer = None, world: World = None) -> None:
    """Undo cuts and slow links of a region.

    \b
    Examples:
      leeward fault heal --region us-east-1
    """
    from leeward.cli import faults

    faults.links(console(context), world, region, peer, cut=False)


def slow(
    context: typer.Context,
    region: InRegion,
    peer: Peer = None,
    delay_ms: Annotated[
        float | None, typer.Option("--delay-ms", min=0, show_default=False, help="Delay in each direction.")
    ] = None,
    rate_kib_s: Annotated[
        float | None,
        typer.Option("--rate-kib-s", min=1, show_default=False, help="Bandwidth in each direction, in KiB/s."),
    ] = None,
    world: World = None,
) -> None:
    """Set the delay or the bandwidth of a region's links.

    \b
    Examples:
      leeward fault slow --region japaneast --delay-ms 500
      leeward fault slow --region japaneast --rate-kib-s 64
    """
    from leeward.cli import faults

    faults.links(console(context), world, region, peer, cut=False, delay_ms=delay_ms, rate_kib_s=rate_kib_s)


def _fault(context: typer.Context, world: str | None, what: str, region: str) -> None:
    from leeward.cli import faults

    faults.region(console(context), world, region, what)
