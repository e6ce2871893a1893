"""Issue a certificate to an operator of a world."""

import datetime
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from leeward.agent.runtime.authorization import NAME
from leeward.base.problem import Problem
from leeward.core.codec import decode
from leeward.core.identities import Grant
from leeward.operate.outcome import OperationError
from leeward.operate.problems import no_agent_answers, no_such_application
from leeward.operate.situation import situation
from leeward.operate.worlds import WorldFleet
from leeward.world import identity
from leeward.world.model import WorldConfig
from leeward.world.problems import from_os_error


def check_name(name: str) -> None:
    """Raise OperationError for a name that the decision log does not take."""
    if not NAME.fullmatch(name):
        raise OperationError(
            Problem(
                code="unusable-name",
                where=f"operator {name!r}",
                what="it is not a valid operator name",
                why="it is written to the decision log",
                fix="use 1 to 64 letters, digits or . _ @ -",
            )
        )


async def issue(fleet: WorldFleet, name: str, grants: Sequence[Grant], out: Path) -> None:
    """Write OUT/ca.crt, tls.crt and tls.key. Raises OperationError, ProblemsError."""
    async with fleet.all_agents() as agents:
        view = situation(await agents.statuses())
    if view.revision is None:
        raise OperationError(no_agent_answers())
    known = [row.name for row in view.applications]
    for grant in grants:
        if grant.app is not None and grant.app not in known:
            raise OperationError(no_such_application(grant.app, known))
    config = decode(WorldConfig, (fleet.control.directory / "config.json").read_text("utf-8"))
    valid = datetime.timedelta(seconds=config.certificates_s)
    fleet_identity = identity.read(config)
    _write(out, fleet_identity.operator_of(name, list(grants), valid=valid))


def _write(out: Path, files: identity.Files) -> None:
    try:
        os.mkdir(out, 0o700)
    except FileExistsError as error:
        raise OperationError(_exists(out)) from error
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
