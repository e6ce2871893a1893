"""A region's Kubernetes objects and logs, printed."""

import sys
from datetime import UTC, datetime

from leeward.cli import objects
from leeward.cli.exits import ExitCode
from leeward.cli.forms import Output
from leeward.cli.session import Session
from leeward.operate.objects import LogRequest, Where, find, log, resource, with_events
from leeward.operate.worlds import WorldFleet
from leeward.ports.cluster import KubeObject


def get(session: Session, where: Where, kind: str, name: str | None) -> ExitCode:
    """Print the objects of one kind."""
    of = resource(kind)
    items = session.run(lambda fleet: find(fleet, where, of, name))
    if not items:
        session.console.note(f"no {of.plural} in {where.namespace or 'any namespace'} of {where.region}")

    def listing() -> str:
        return objects.listing(
            of,
            items,
            now=datetime.now(UTC),
            namespaces=of.namespaced and where.namespace is None,
            wide=session.form.output is Output.WIDE,
        )

    session.print(_document(items, name), listing if items else None, objects.names(of, items))
    return ExitCode.DONE


def describe(session: Session, where: Where, kind: str, name: str) -> ExitCode:
    """Print all about one object, and its events."""
    of = resource(kind)
    item, events = session.run(lambda fleet: with_events(fleet, where, of, name))
    session.console.data(objects.description(item, events, now=datetime.now(UTC)))
    return ExitCode.DONE


def logs(session: Session, where: Where, wanted: LogRequest) -> ExitCode:
    """Copy a container's log to stdout."""

    async def copy(fleet: WorldFleet) -> None:
        async for piece in log(fleet, where, wanted):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()

    session.run(copy)
    return ExitCode.DONE


def _document(items: list[KubeObject], name: str | None) -> KubeObject:
    if name is not None and len(items) == 1:
        return items[0]
    return {"apiVersion": "v1", "kind": "List", "items": items}
