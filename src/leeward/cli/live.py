"""What applying the files would change in a running cluster, as text."""

from collections import Counter

from leeward.adapters.kubernetes.review import Identity, identity_of
from leeward.cli.console import Style
from leeward.cli.differences import text_of
from leeward.cli.exits import ExitCode
from leeward.cli.running import run
from leeward.cli.session import Session
from leeward.operate.live import ClusterAccess, Comparison, changes_of, compare
from leeward.operate.trees import Files


def diff(session: Session, files: Files, access: ClusterAccess) -> ExitCode:
    """Print what applying the files would change in a cluster."""
    console = session.console
    found = run(compare(files, access, console), console)
    for line in found.not_searched:
        console.note(f"not searched for objects that are no longer rendered: {line}")
    return _report(session, found)


def _report(session: Session, found: Comparison) -> ExitCode:
    console, counts = session.console, Counter[str]()
    for review in found.reviews:
        name = _name(identity_of(review.item))
        if review.refusal is not None:
            counts["refused"] += 1
            console.data(console.mark(f"! {name}", Style.BAD))
            console.data(f"    rejected by the server: {review.refusal}")
        elif review.live is None:
            counts["added"] += 1
            console.data(console.mark(f"+ {name}", Style.GOOD))
        elif changed := changes_of(review):
            counts["changed"] += 1
            console.data(console.mark(f"~ {name}", Style.WARNING))
            for line in (line for each in changed for line in text_of(each)):
                console.data(f"    {line}")
    for identity in found.removed:
        counts["no longer rendered"] += 1
        console.data(console.mark(f"- {_name(identity)}", Style.BAD))
    counts["as rendered"] = len(found.reviews) - counts["refused"] - counts["added"] - counts["changed"]
    console.note(", ".join(f"{count} {what}" for what, count in counts.items()))
    unchecked = sum(each.live is None and each.after is None and each.refusal is None for each in found.reviews)
    if unchecked:
        console.note(f"{unchecked} not checked: their namespace does not exist yet")
    return ExitCode.DONE if counts["as rendered"] == len(found.reviews) and not found.removed else ExitCode.NO


def _name(identity: Identity) -> str:
    _, kind, namespace, name = identity
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
