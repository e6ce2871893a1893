"""Compiled objects as files and text: render, diff with a tree, diagram."""

from pathlib import Path

from leeward.cli.exits import ExitCode
from leeward.cli.session import Session
from leeward.compile.kube.yaml_text import documents
from leeward.compile.tree.diagram import diagram
from leeward.operate import trees
from leeward.operate.trees import Files


def write(session: Session, directory: Path, out: Path) -> ExitCode:
    """Write the tree. Files are replaced only where they differ."""
    done = trees.write(read(session, directory), out)
    session.console.data(f"{out}: {done.files} files, {done.changed} written, {done.removed} removed")
    return ExitCode.DONE


def show(session: Session, directory: Path, cluster: str) -> ExitCode:
    """Print one cluster's objects."""
    items = trees.objects_of(read(session, directory), cluster)
    names = [f"{each['kind'].lower()}/{each['metadata']['name']}" for each in items]
    # The YAML that kubectl applies: a document for each object.
    session.print({"apiVersion": "v1", "kind": "List", "items": items}, None, names, as_yaml=lambda: documents(items))
    return ExitCode.DONE


def diff(session: Session, directory: Path, tree: Path, cluster: str | None) -> ExitCode:
    """Print what would change in a tree, file by file."""
    lines = trees.differences(read(session, directory), tree, cluster)
    if lines:
        session.console.data("\n".join(lines))
    return ExitCode.NO if lines else ExitCode.DONE


def draw(session: Session, directory: Path) -> ExitCode:
    """Print the diagram."""
    session.console.data(diagram(read(session, directory).spec))
    return ExitCode.DONE


def read(session: Session, directory: Path) -> Files:
    """Return the files, and print warnings and notes about them."""
    files = trees.read(directory)
    session.console.problems(files.spec.warnings)
    for note in files.notes:
        session.console.note(note)
    return files
