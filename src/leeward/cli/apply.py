"""Apply changed files to a running world: the plan as text, and the outcome."""

from collections.abc import Iterator, Sequence

from leeward.cli.exits import ExitCode
from leeward.cli.session import Session
from leeward.operate import applying
from leeward.operate.apply_plan import Plan, identity_of
from leeward.operate.worlds import WorldFleet


def apply(session: Session, *, timeout_s: float, dry_run: bool) -> ExitCode:
    """Apply the world's files as they are now, or print what that would change."""

    async def work(fleet: WorldFleet) -> list[str]:
        if dry_run:
            return list(lines_of(applying.plans_of(fleet)[1]))
        changed = await applying.apply(fleet, session.console, timeout_s)
        return [f"world/{fleet.world.name} {'configured' if changed else 'unchanged'}"]

    for line in session.run(work):
        session.console.data(line)
    return ExitCode.DONE


def lines_of(plans: Sequence[Plan]) -> Iterator[str]:
    """Yield each change as ``leeward diff`` marks it."""
    for each in plans:
        marked = [*(("+", item) for item in each.added), *(("~", item) for item in each.changed)]
        for mark, item in [*marked, *(("-", item) for item in each.removed)]:
            _, kind, namespace, name = identity_of(item)
            yield f"{mark} {each.region}: {kind} {namespace + '/' if namespace else ''}{name}"
        if each.restarts_agent:
            yield f"  {each.region}: its agent and gateway restart"
