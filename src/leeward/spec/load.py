"""Read the user's files: a ``Spec``, or every problem at once."""

from pathlib import Path

from leeward.base.problem import Problem, ProblemsError, Severity
from leeward.base.suggestions import did_you_mean, suggestion
from leeward.spec.application import Application
from leeward.spec.check_application import check_application, check_unique
from leeward.spec.check_fleet import check_fleet
from leeward.spec.check_together import check_together
from leeward.spec.check_variants import check_variants
from leeward.spec.fleet import Fleet
from leeward.spec.loaded import Loaded
from leeward.spec.schema import KINDS
from leeward.spec.source import Document, paths, read
from leeward.spec.spec import Spec
from leeward.spec.validate import validate
from leeward.spec.values import shown

API_VERSION = "leeward.dev/v1alpha1"


def load(path: Path) -> Spec:
    """Return what a directory's YAML files (not its folders'), or one file, say. Raises ProblemsError.

    Documents of other tools are passed over, so that a kustomization may stand beside ours.
    """
    documents, problems = documents_of(path)
    return resolve(str(path), documents, problems)


def documents_of(path: Path) -> tuple[list[Document], list[Problem]]:
    """Return all documents of a directory's YAML files, other tools' too, and what could not be read."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for file in paths(path):
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(_unreadable(file, error))
            continue
        found, broken = read(str(file), text)
        documents += found
        problems += broken
    return documents, problems


def resolve(where: str, documents: list[Document], problems: list[Problem]) -> Spec:
    """Return the checked whole of documents already read, given the problems met so far. Raises ProblemsError."""
    problems = list(problems)
    fleets: list[Loaded[Fleet]] = []
    applications: list[Loaded[Application]] = []
    ours = 0
    for document in documents:
        kind, found = _kind(document)
        problems += found
        ours += kind is not None or bool(found)
        if kind is None:
            continue
        model, found = validate(document, KINDS[kind])
        problems += found
        if isinstance(model, Fleet):
            fleets.append(Loaded(model, document))
        elif isinstance(model, Application):
            applications.append(Loaded(model, document))
    for fleet in fleets:
        problems += check_fleet(fleet)
    for other in fleets[1:]:
        problems.append(_second_fleet(fleets[0], other))
    problems += check_unique(applications)
    if fleets:
        for application in applications:
            problems += check_application(application, fleets[0].model)
            problems += check_variants(application, fleets[0].model)
        problems += check_together(applications, fleets[0].model)
    # What is missing altogether is only worth saying when nothing broken could have been it.
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if not errors:
        errors = _missing(where, ours, fleets, applications)
    if errors:
        raise ProblemsError([*errors, *(problem for problem in problems if problem.severity is not Severity.ERROR)])
    return Spec(fleets[0].model, tuple(application.model for application in applications), warnings=tuple(problems))


def _kind(document: Document) -> tuple[str | None, list[Problem]]:
    """Return which of our kinds a document is; None with no problem for another tool's document."""
    data = document.data
    if not isinstance(data, dict):
        return None, [
            Problem(
                code="not-a-document",
                where=document.where(()),
                what="this is not a Fleet or Application",
                why="a document is a mapping with the keys apiVersion, kind, metadata and spec",
                fix=f"begin it with apiVersion: {API_VERSION}",
            )
        ]
    version, kind = data.get("apiVersion"), data.get("kind")
    if isinstance(kind, str) and kind in KINDS and (version is None or _is_ours(version)):
        return kind, []
    if isinstance(version, str) and isinstance(kind, str) and not _is_ours(version):
        return None, []
    return None, [
        Problem(
            code="unknown-kind",
            where=document.where(("kind",)),
            what=f"kind is {shown(kind)}" if "kind" in data else "kind is missing",
            why=f"{API_VERSION} has the kinds {' and '.join(KINDS)}",
            fix=suggestion(str(kind), KINDS),
        )
    ]


def _is_ours(version: object) -> bool:
    return isinstance(version, str) and did_you_mean(version.partition("/")[0], ["leeward.dev"]) is not None


def _unreadable(file: Path, error: OSError | UnicodeDecodeError) -> Problem:
    missing = isinstance(error, FileNotFoundError)
    return Problem(
        code="file-not-found" if missing else "file-unreadable",
        where=str(file),
        what="there is no such file or directory" if missing else "the file cannot be read",
        why=error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text",
        fix="give a directory with a Fleet and an Application, such as examples/payments"
        if missing
        else "check its permissions, and save it as UTF-8 text",
    )


def _second_fleet(first: Loaded[Fleet], other: Loaded[Fleet]) -> Problem:
    return other.problem(
        "two-fleets",
        "metadata",
        "name",
        what=f"there is a second fleet, {other.model.metadata.name}",
        why=f"the first one is in {first.document.where(('metadata', 'name'))}; applications run in one fleet",
        fix="put one of them into another directory",
    )


def _missing(
    where: str, ours: int, fleets: list[Loaded[Fleet]], applications: list[Loaded[Application]]
) -> list[Problem]:
    if not ours:
        return [
            Problem(
                code="nothing-found",
                where=where,
                what="no Fleet and no Application found here",
                why=f"no document has apiVersion {API_VERSION}",
                fix="give a directory with both, such as examples/payments",
            )
        ]
    wanted = [kind for kind, found in (("Fleet", fleets), ("Application", applications)) if not found]
    return [
        Problem(
            code="missing-document",
            where=where,
            what=f"no {kind} found here",
            why="a Fleet says where things can run, an Application what is to run there",
            fix=f"add a document with kind: {kind}",
        )
        for kind in wanted
    ]
