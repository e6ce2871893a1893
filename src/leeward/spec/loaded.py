"""A model together with the document it came from, so that a check can say where."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from leeward.base.problem import Problem, Severity
from leeward.spec.source import Document, Step
from leeward.spec.values import Model

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[M]):
    """A model and the document it was read from."""

    model: M
    document: Document

    def problem(self, code: str, *place: Step, what: str, why: str, fix: str, key: bool = False) -> Problem:
        """Return a problem at a place of the document."""
        where = self.document.where(place, key=key)
        return Problem(code=code, where=where, what=what, why=why, fix=fix)

    def warning(self, code: str, *place: Step, what: str, why: str, fix: str, key: bool = False) -> Problem:
        """Return a warning about a place of the document."""
        where = self.document.where(place, key=key)
        return Problem(code=code, where=where, what=what, why=why, fix=fix, severity=Severity.WARNING)
