"""Verbs that inject faults: drill, fault."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from leeward.cli.commands.common import (
    AppOption,
    InRegion,
    ReportForm,
    World,
    bytes_per_s,
    duration_option,
    files_option,
    session,
)
from leeward.cli.forms import EXAMPLE, TABLE, Mode

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
    app: AppOption = None,
    region: Annotated[
        str | None,
        typer.Option(
            "--region",
            "-r",
            metavar="REGION",
            show_default="the primary's",
            help="Name of the region to inject the fault in.",
        ),
    ] = None,
    replication: Annotated[Mode | None, typer.Option(show_default="unchanged", help="Replication mode.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Number of runs.")] = 1,
    duration_s: Annotated[
        float | None,
        duration_option("--duration", default="blip 30s, pod-kill 120s", text="How long blip or pod-kill lasts."),
    ] = None,
    every_s: Annotated[
        float | None,
        duration_option("--every", default="30s", text="Interval between the kills of pod-kill."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed for pod-kill.")] = 1,
    output: ReportForm = TABLE,
    files: Annotated[Path | None, files_option(EXAMPLE, text="Files to start a world from, when none runs.")] = None,
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
    from leeward.core.values import ReplicationMode
    from leeward.operate.drills import DrillRequest

    asked = session(context, world, app, output)
    if name == "list":
        drills.names(asked.console)
        return
    mode = None if replication is None else ReplicationMode(replication)
    request = DrillRequest(name, region, mode, runs, duration_s, every_s, seed, app)
    raise typer.Exit(drills.drill(asked, files, request))


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

    faults.signal(session(context, world), region, part.value, number)


def cut(context: typer.Context, region: InRegion, peer: Peer = None, world: World = None) -> None:
    """Cut a region off from the others, or from one of them.

    \b
    Examples:
      leeward fault cut --region us-east-1
      leeward fault cut --region us-east-1 --peer japaneast
    """
    from leeward.cli import faults

    faults.cut(session(context, world), region, peer)


def heal(context: typer.Context, region: InRegion, peer: Peer = None, world: World = None) -> None:
    """Undo cuts and slow links of a region.

    \b
    Examples:
      leeward fault heal --region us-east-1
    """
    from leeward.cli import faults

    faults.heal(session(context, world), region, peer)


def slow(
    context: typer.Context,
    region: InRegion,
    peer: Peer = None,
    delay_s: Annotated[float | None, duration_option("--delay", default=False, text="Delay in each direction.")] = None,
    rate_bytes_s: Annotated[
        float | None,
        typer.Option(
            "--rate",
            parser=bytes_per_s,
            metavar="BANDWIDTH",
            show_default=False,
            help="Bandwidth in each direction, such as 64KiB/s.",
        ),
    ] = None,
    world: World = None,
) -> None:
    """Set the delay or the bandwidth of a region's links.

    \b
    Examples:
      leeward fault slow --region japaneast --delay 500ms
      leeward fault slow --region japaneast --rate 64KiB/s
    """
    if delay_s is None and rate_bytes_s is None:
        raise typer.BadParameter("give --delay or --rate; fault heal restores both")
    from leeward.cli import faults

    faults.slow(session(context, world), region, peer, delay_s, rate_bytes_s)


def _fault(context: typer.Context, world: str | None, what: str, region: str) -> None:
    from leeward.cli import faults

    faults.region(session(context, world), region, what)
