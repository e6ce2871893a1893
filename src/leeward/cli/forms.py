"""Values of command-line options: formats, kinds, modes. Imports nothing, so that help stays fast."""

from dataclasses import dataclass
from enum import StrEnum

EXAMPLE = "examples/payments"


class Output(StrEnum):
    """The formats of answers."""

    TABLE = "table"
    WIDE = "wide"
    SHORT = "short"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"
    JSONPATH = "jsonpath"


@dataclass(frozen=True, slots=True)
class Form:
    """The value of ``-o``."""

    output: Output
    template: str = ""
    """Of ``jsonpath=TEMPLATE``."""


TABLE = Form(Output.TABLE)


class Kind(StrEnum):
    """The kinds a user writes."""

    FLEET = "fleet"
    APPLICATION = "application"


class Mode(StrEnum):
    """Replication modes."""

    ASYNC = "async"
    SYNC = "sync"
    QUORUM = "quorum"
