"""Where values come from, as a table."""

from pathlib import Path

from leeward.cli.exits import ExitCode
from leeward.cli.render import table
from leeward.cli.session import Session
from leeward.operate import origins, trees


def explain(session: Session, directory: Path, field: str, cluster: str | None) -> ExitCode:
    """Print a row for each cluster: the value, and what set it."""
    found = origins.explain(trees.read(directory), directory, field, session.app, cluster)
    rows = [(each.cluster, each.value, each.set_by) for each in found]
    session.console.data(table(("CLUSTER", "VALUE", "FROM"), rows))
    return ExitCode.DONE
