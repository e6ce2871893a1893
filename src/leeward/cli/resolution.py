"""What DNS servers answer, as text."""

from collections.abc import Sequence
from dataclasses import asdict

from leeward.cli.console import Console, Style
from leeward.cli.exits import ExitCode
from leeward.cli.render import table
from leeward.cli.session import Session
from leeward.operate.resolution import Resolution, Resolved, resolve


def show(session: Session, near: str | None) -> ExitCode:
    """Print what each region's server answers."""
    found = session.run(lambda fleet: resolve(fleet, session.application, near))
    session.answer("Resolution", asdict(found), lambda: render(session.console, found))
    return ExitCode.DONE if any(each.code is not None for each in found.answers) else ExitCode.NO


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
