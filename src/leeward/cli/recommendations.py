"""A vertical autoscaler's recommendations, as a table."""

from dataclasses import asdict

from leeward.cli.exits import ExitCode
from leeward.cli.render import table
from leeward.cli.running import run
from leeward.cli.session import Session
from leeward.operate.live import ClusterAccess
from leeward.operate.recommendations import recommended
from leeward.operate.trees import Files

HEAD = ("NAMESPACE", "NAME", "CONTAINER", "RESOURCE", "REQUESTED", "LOWER", "TARGET", "UPPER")


def show(session: Session, files: Files, access: ClusterAccess) -> ExitCode:
    """Print what a cluster recommends for the containers of our workloads."""
    found = run(recommended(files, access), session.console)
    rows = [asdict(each) for each in found.items]
    session.answer(
        "RecommendationList",
        {"recommendations": rows},
        (lambda: table(HEAD, [tuple(each.values()) for each in rows])) if rows else None,
    )
    for line in found.missing:
        session.console.note(line)
    if not found.autoscalers:
        session.console.note(
            f"{access.cluster} has no VerticalPodAutoscaler managed by Leeward: "
            "set service.autoscaling.vertical to recommend"
        )
    return ExitCode.DONE
