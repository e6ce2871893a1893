"""Write, print, compare and draw the compiled objects. Compiling itself is elsewhere."""

import json
from collections.abc import Iterable, Iterator
from difflib import unified_diff
from pathlib import Path
from typing import Any

from leeward.cli.console import Console
from leeward.cli.exits import CommandError, ExitCode
from leeward.compile import compile_cluster
from leeward.compile.app.pod_security import is_policy, translate
from leeward.compile.kube.yaml_text import documents
from leeward.compile.platform.federation import is_federated, is_unread, strangers
from leeward.compile.platform.sealed import is_sealed
from leeward.compile.site import all_clusters
from leeward.compile.tree.diagram import diagram
from leeward.compile.tree.tree import tree
from leeward.spec import Problem, ProblemsError, Spec, load
from leeward.spec.load import documents_of
from leeward.spec.source import Document
from leeward.spec.validate import suggestion
from leeward.world.objects import engine_commands

INDEX = ".leeward-tree.json"
"""The list of the tree's files, so that files no longer part of it can be removed."""


def write(console: Console, directory: Path, out: Path) -> ExitCode:
    """Write the tree. Files are replaced only where they differ."""
    spec, others = read(console, directory)
    files = tree(spec, engines=engine_commands(), foreign=others)
    before = _index(out)
    files[INDEX] = json.dumps(sorted(files), indent=0) + "\n"
    try:
        old = _texts(out, files)
        theirs = sorted(name for name, text in old.items() if name not in before and text != files[name])
        if theirs and not before:
            raise CommandError(_in_the_way(out, theirs), code=ExitCode.REFUSED)
        changed = [name for name, text in files.items() if old.get(name) != text]
        for name in changed:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_text(files[name], "utf-8")
        removed = before.difference(files)
        for name in removed:
            _remove(out, out / name)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(_unwritable(out, error)) from None
    console.data(f"{out}: {len(files)} files, {len(changed)} written, {len(removed)} removed")
    return ExitCode.DONE


def show(console: Console, directory: Path, cluster: str, *, as_json: bool) -> ExitCode:
    """Print one cluster's objects."""
    spec, others = read(console, directory)
    check_cluster(spec, cluster)
    items = compile_cluster(spec, cluster, engines=engine_commands(), foreign=others)
    if as_json:
        console.data(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=2))
    else:
        console.data(documents(items))
    return ExitCode.DONE


def diff(console: Console, directory: Path, out: Path, cluster: str | None) -> ExitCode:
    """Print what would change in a tree, file by file."""
    spec, others = read(console, directory)
    if cluster is not None:
        check_cluster(spec, cluster)
    if not out.is_dir():
        raise CommandError(_no_tree(out))
    new = tree(spec, engines=engine_commands(), foreign=others)
    old = _texts(out, new.keys() | _index(out))
    lines = [
        line
        for name in sorted(old.keys() | new.keys())
        if cluster is None or cluster in Path(name).parts
        for line in _differences(name, old.get(name, ""), new.get(name, ""))
    ]
    if lines:
        console.data("\n".join(lines))
    return ExitCode.NO if lines else ExitCode.DONE


def draw(console: Console, directory: Path) -> ExitCode:
    """Print the diagram."""
    spec, _ = read(console, directory)
    console.data(diagram(spec))
    return ExitCode.DONE


def check_cluster(spec: Spec, cluster: str) -> None:
    """Raise CommandError for an unknown cluster."""
    names = [each.name for _, each in all_clusters(spec)]
    if cluster not in names:
        raise CommandError(
            Problem(
                code="unknown-cluster",
                where="--cluster",
                what=f"the fleet has no cluster {cluster}",
                why=f"fleet {spec.fleet.metadata.name} has {', '.join(names)}",
                fix=suggestion(cluster, names),
            )
        )


def read(console: Console, directory: Path) -> tuple[Spec, list[dict[str, Any]]]:
    """Return the spec and the other tools' documents that Leeward reads; print notes about them."""
    spec = load(directory)
    console.problems(spec.warnings)
    others = foreign(directory)
    for policy in filter(is_policy, others):
        translation = translate(policy)
        reasons = "; ".join(translation.reasons) or "it covers all of the policy"
        console.note(f"PodSecurityPolicy {policy['metadata']['name']} is the standard {translation.level}: {reasons}")
        for line in translation.beyond:
            console.note(f"  not covered: {line}")
    known = [cluster.name for _, cluster in all_clusters(spec)]
    for each in filter(is_federated, others):
        for name in strangers(each, known):
            console.note(
                f"{each['kind']} {each['metadata']['name']} is placed on {name}, which is not a cluster of this fleet"
            )
    for document in documents_of(directory)[0]:
        if is_unread(document.data):
            name = (document.data.get("metadata") or {}).get("name", "without a name")
            console.note(
                f"{document.data.get('kind')} {name} of KubeFed has no effect: Leeward reads its Federated kinds"
            )
    return spec, others


def foreign(directory: Path) -> list[dict[str, Any]]:
    """Return the other tools' documents that Leeward reads. Raises ProblemsError for those without name or spec."""
    found, _ = documents_of(directory)
    ours = [each for each in found if is_policy(each.data) or is_federated(each.data) or is_sealed(each.data)]
    problems = [_shapeless(each) for each in ours if not _has_shape(each.data)]
    if problems:
        raise ProblemsError(problems)
    return [each.data for each in ours]


def _has_shape(data: dict[str, Any]) -> bool:
    metadata = data.get("metadata")
    return isinstance(metadata, dict) and isinstance(metadata.get("name"), str) and isinstance(data.get("spec"), dict)


def _shapeless(document: Document) -> Problem:
    return Problem(
        code="not-an-object",
        where=document.where(()),
        what=f"this {document.data['kind']} has no name or no spec",
        why="Leeward compiles documents of this kind, and needs both",
        fix="write metadata.name and spec as Kubernetes would print them, or remove the document",
    )


def _index(out: Path) -> set[str]:
    """Return the files that the last rendering wrote."""
    try:
        names = json.loads((out / INDEX).read_text("utf-8"))
    except (OSError, ValueError):
        return set()
    # Only paths inside the tree: the index may have been edited.
    return {name for name in names if not Path(name).is_absolute() and ".." not in Path(name).parts}


def _texts(out: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the files that exist."""
    return {name: (out / name).read_text("utf-8") for name in names if (out / name).is_file()}


def _remove(out: Path, path: Path) -> None:
    """Remove a file, and the folders that it leaves empty."""
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == out or not folder.is_dir() or any(folder.iterdir()):
            return
        folder.rmdir()


def _in_the_way(out: Path, names: list[str]) -> Problem:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return Problem(
        code="files-in-the-way",
        where=str(out),
        what=f"{', '.join(names[:3])}{more} would be overwritten",
        why="they were not written by leeward render: nothing was rendered here before",
        fix="render into an empty directory, or move them away",
    )


def _unwritable(out: Path, error: OSError | UnicodeDecodeError) -> Problem:
    return Problem(
        code="out-unwritable",
        where=str(getattr(error, "filename", None) or out),
        what="the tree cannot be written",
        why=getattr(error, "strerror", None) or "a file there is not UTF-8 text",
        fix="give a writable directory; it is created if missing",
    )


def _no_tree(out: Path) -> Problem:
    return Problem(
        code="no-tree",
        where=str(out),
        what="the directory does not exist",
        why="diff compares with a previously rendered tree",
        fix=f"render it: leeward render -f DIR -o {out}; or compare with a running cluster: --cluster without TREE",
    )


def _differences(name: str, old: str, new: str) -> Iterator[str]:
    return unified_diff(old.splitlines(), new.splitlines(), f"tree/{name}", f"now/{name}", lineterm="")
