"""Issue a certificate to an operator of a world."""

import datetime
import os
import shutil
from pathlib import Path

from leeward.agent.runtime.authorization import NAME
from leeward.base.problem import Problem
from leeward.cli.console import Console
from leeward.cli.exits import CommandError
from leeward.cli.history import no_agent_answers, no_such_application
from leeward.cli.running import run
from leeward.cli.situation import situation
from leeward.cli.worlds_here import choose, whole_fleet
from leeward.core.codec import decode
from leeward.core.identities import Grant, Right
from leeward.world import identity
from leeward.world.model import WorldConfig
from leeward.world.problems import from_os_error


def issue(console: Console, world: str | None, name: str, apps: list[str], right: Right | None, out: Path) -> None:
    """Write OUT/ca.crt, tls.crt and tls.key. Raises CommandError, ProblemsError."""
    if not NAME.fullmatch(name):
        raise CommandError(
            Problem(
                code="unusable-name",
                where=f"operator {name!r}",
                what="it is not a valid operator name",
                why="it is written to the decision log",
                fix="use 1 to 64 letters, digits or . _ @ -",
            )
        )
    grants = [Grant(app, right) for app in apps] or [Grant(None, right)]
    run(_issue(world, name, grants, out), console)
    console.data(f"operator/{name} issued: may {', '.join(map(str, grants))}")
    console.note(f"act as {name}: LEEWARD_IDENTITY={out} leeward switchover ...")


async def _issue(world: str | None, name: str, grants: list[Grant], out: Path) -> None:
    async with choose(world) as chosen:
        async with whole_fleet(chosen, await chosen.info()) as agents:
            view = situation(await agents.statuses())
        if view.revision is None:
            raise CommandError(no_agent_answers())
        known = [row.name for row in view.applications]
        for grant in grants:
            if grant.app is not None and grant.app not in known:
                raise CommandError(no_such_application(grant.app, known))
        config = decode(WorldConfig, (chosen.directory / "config.json").read_text("utf-8"))
        valid = datetime.timedelta(seconds=config.certificates_s)
        fleet_identity = identity.read(config)
        files = fleet_identity.operator_of(name, grants, valid=valid)
    try:
        os.mkdir(out, 0o700)
    except FileExistsError as error:
        raise CommandError(_exists(out)) from error
    except OSError as error:
        raise from_os_error(error, str(out)) from error
    try:
        identity.put(out, files)
    except OSError as error:
        shutil.rmtree(out, ignore_errors=True)
        raise from_os_error(error, str(out)) from error


def _exists(out: Path) -> Problem:
    return Problem(
        code="directory-exists",
        where=str(out),
        what="it already exists",
        why="existing keys are not replaced",
        fix="choose a new directory",
    )
