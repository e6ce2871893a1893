"""Write, print, compare and draw what is compiled. Compiling itself is elsewhere."""

import json
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path
from typing import Any

from leeward.cli.console import Console
from leeward.cli.exits import CommandError, ExitCode
from leeward.compile import compile_cluster, tree
from leeward.compile.diagram import diagram
from leeward.compile.federation import is_federated
from leeward.compile.pod_security import is_policy, translate
from leeward.compile.sealed import is_sealed
from leeward.compile.site import all_clusters
from leeward.compile.yaml_text import documents
from leeward.spec import Problem, Spec, load
from leeward.spec.load import documents_of
from leeward.spec.validate import suggestion
from leeward.world.objects import engine_commands

INDEX = ".leeward-tree.json"
"""What the tree consists of, so that what is no longer part of it can go."""


def write(console: Console, directory: Path, out: Path) -> ExitCode:
    """Write the tree. Files are replaced only where they differ."""
    spec, others = read(console, directory)
    files = tree(spec, engines=engine_commands(), foreign=others)
    before = _index(out)
    files[INDEX] = json.dumps(sorted(files), indent=0) + "\n"
    changed = 0
    for name, text in files.items():
        path = out / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            changed += 1
    removed = 0
    for name in before.difference(files):
        (out / name).unlink(missing_ok=True)
        removed += 1
    console.data(f"{out}: {len(files)} files, {changed} written, {removed} removed")
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
    new = tree(spec, engines=engine_commands(), foreign=others)
    old = {name: (out / name).read_text("utf-8") for name in new.keys() | _index(out) if (out / name).is_file()}
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
    """Raise CommandError for a cluster there is not."""
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
    """Return the spec and the other tools' documents that Leeward reads; show what is worth knowing about them."""
    spec = load(directory)
    console.problems(spec.warnings)
    others = foreign(directory)
    for policy in filter(is_policy, others):
        translation = translate(policy)
        reasons = "; ".join(translation.reasons) or "all it asks is in it"
        console.note(f"PodSecurityPolicy {policy['metadata']['name']} is the standard {translation.level}: {reasons}")
        for line in translation.beyond:
            console.note(f"  beyond it: {line}")
    return spec, others


def foreign(directory: Path) -> list[dict[str, Any]]:
    """Return the other tools' documents that Leeward reads."""
    found, _ = documents_of(directory)
    return [each.data for each in found if is_policy(each.data) or is_federated(each.data) or is_sealed(each.data)]


def _index(out: Path) -> set[str]:
    """Return what a tree's last rendering wrote."""
    path = out / INDEX
    names = json.loads(path.read_text("utf-8")) if path.exists() else []
    # Only what lies inside: the index may have been edited.
    return {name for name in names if not Path(name).is_absolute() and ".." not in Path(name).parts}


def _differences(name: str, old: str, new: str) -> Iterator[str]:
    return unified_diff(old.splitlines(), new.splitlines(), f"tree/{name}", f"now/{name}", lineterm="")
