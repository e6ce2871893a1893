"""Write and compare the compiled objects. Compiling itself is elsewhere."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

from leeward.base.suggestions import suggestion
from leeward.compile import KubeObject, compile_cluster
from leeward.compile.app.pod_security import is_policy, translate
from leeward.compile.platform.federation import is_federated, is_unread, strangers
from leeward.compile.platform.sealed import is_sealed
from leeward.compile.site import all_clusters
from leeward.compile.tree.tree import tree
from leeward.operate.outcome import OperationError, Outcome
from leeward.spec import Problem, ProblemsError, Spec, load
from leeward.spec.load import documents_of
from leeward.spec.source import Document
from leeward.world.objects import engine_commands

INDEX = ".leeward-tree.json"
"""The list of the tree's files, so that files no longer part of it can be removed."""


@dataclass(frozen=True, slots=True)
class Written:
    """How many files a tree has, and how many of them differed."""

    files: int
    changed: int
    removed: int


@dataclass(frozen=True, slots=True)
class Files:
    """The user's files, read."""

    spec: Spec
    foreign: list[dict[str, Any]]
    """The other tools' documents that Leeward reads."""
    notes: tuple[str, ...]
    """What is worth knowing about those."""


def write(files: Files, out: Path) -> Written:
    """Write the tree. Files are replaced only where they differ. Raises OperationError."""
    texts = tree(files.spec, engines=engine_commands(), foreign=files.foreign)
    before = _index(out)
    texts[INDEX] = json.dumps(sorted(texts), indent=0) + "\n"
    try:
        old = _texts(out, texts)
        theirs = sorted(name for name, text in old.items() if name not in before and text != texts[name])
        if theirs and not before:
            raise OperationError(_in_the_way(out, theirs), outcome=Outcome.REFUSED)
        changed = [name for name, text in texts.items() if old.get(name) != text]
        for name in changed:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_text(texts[name], "utf-8")
        removed = before.difference(texts)
        for name in removed:
            _remove(out, out / name)
    except (OSError, UnicodeDecodeError) as error:
        raise OperationError(_unwritable(out, error)) from None
    return Written(len(texts), len(changed), len(removed))


def objects_of(files: Files, cluster: str) -> list[KubeObject]:
    """Return one cluster's objects. Raises OperationError for an unknown one."""
    check_cluster(files.spec, cluster)
    return compile_cluster(files.spec, cluster, engines=engine_commands(), foreign=files.foreign)


def differences(files: Files, out: Path, cluster: str | None) -> list[str]:
    """Return the lines that would change in a tree, file by file. Raises OperationError."""
    if cluster is not None:
        check_cluster(files.spec, cluster)
    if not out.is_dir():
        raise OperationError(_no_tree(out))
    new = tree(files.spec, engines=engine_commands(), foreign=files.foreign)
    old = _texts(out, new.keys() | _index(out))
    return [
        line
        for name in sorted(old.keys() | new.keys())
        if cluster is None or cluster in Path(name).parts
        for line in _differences(name, old.get(name, ""), new.get(name, ""))
    ]


def check_cluster(spec: Spec, cluster: str) -> None:
    """Raise OperationError for an unknown cluster."""
    names = [each.name for _, each in all_clusters(spec)]
    if cluster not in names:
        raise OperationError(
            Problem(
                code="unknown-cluster",
                where="--cluster",
                what=f"the fleet has no cluster {cluster}",
                why=f"fleet {spec.fleet.metadata.name} has {', '.join(names)}",
                fix=suggestion(cluster, names),
            )
        )


def read(directory: Path) -> Files:
    """Return the files of a directory. Raises ProblemsError."""
    spec, others = load(directory), foreign(directory)
    return Files(spec, others, (*_notes(spec, others), *_unread(directory)))


def _notes(spec: Spec, others: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for policy in filter(is_policy, others):
        translation = translate(policy)
        reasons = "; ".join(translation.reasons) or "it covers all of the policy"
        yield f"PodSecurityPolicy {policy['metadata']['name']} is the standard {translation.level}: {reasons}"
        yield from (f"  not covered: {line}" for line in translation.beyond)
    known = [cluster.name for _, cluster in all_clusters(spec)]
    for each in filter(is_federated, others):
        for name in strangers(each, known):
            what = f"{each['kind']} {each['metadata']['name']}"
            yield f"{what} is placed on {name}, which is not a cluster of this fleet"


def _unread(directory: Path) -> Iterator[str]:
    for document in documents_of(directory)[0]:
        if is_unread(document.data):
            name = (document.data.get("metadata") or {}).get("name", "without a name")
            kind = document.data.get("kind")
            yield f"{kind} {name} of KubeFed has no effect: Leeward reads its Federated kinds"


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
        fix=f"render it: leeward render -f DIR --out {out}; or compare with a running cluster: --cluster without TREE",
    )


def _differences(name: str, old: str, new: str) -> Iterator[str]:
    return unified_diff(old.splitlines(), new.splitlines(), f"tree/{name}", f"now/{name}", lineterm="")
