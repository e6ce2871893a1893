"""Problems that several operations have in common."""

from collections.abc import Iterable

from leeward.base.problem import Problem
from leeward.operate.fleet import Fleet
from leeward.operate.outcome import OperationError
from leeward.world.problems import no_such_region


def region_in(fleet: Fleet, region: str) -> str:
    """Return a region of the fleet. Raises ProblemsError for an unknown one."""
    if region not in fleet.regions:
        raise no_such_region(region, fleet.regions)
    return region


def no_agent_answers() -> Problem:
    """Return the problem that no agent answers."""
    return Problem(
        code="no-agent",
        where="the agents of every region",
        what="no agent answers",
        why="their regions are lost or frozen, or still starting",
        fix="see leeward status; leeward fault start --region REGION restarts a lost one",
    )


def no_such_application(app: str, known: Iterable[str]) -> Problem:
    """Return the problem of an unknown application."""
    return Problem(
        code="unknown-application",
        where=f"application {app}",
        what=f"unknown application {app!r}",
        why=f"known applications: {', '.join(known) or 'none'}",
        fix="use one of these names",
    )


def which_application(app: str | None, known: Iterable[str], *, where: str, why: str, usage: str) -> OperationError:
    """Return the error for an application that is unknown, or not named where there are several.

    ``usage``: how a command names it, before the name.
    """
    names = sorted(known)
    return OperationError(
        Problem(
            code="which-application",
            where=where,
            what=f"unknown application {app}" if app else f"there are {len(names)} applications",
            why=why,
            fix=f"{usage}{' | '.join(names)}",
        )
    )
