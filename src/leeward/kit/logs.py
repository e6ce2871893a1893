"""Logs of a process: structlog, configured once, for our lines and for those of libraries that use ``logging``.

Always true: a line names the process that wrote it (component, and where they apply region and application), unless it
gives one of these a meaning of its own, as the region that a message is about.
"""

import logging
import sys
from collections.abc import MutableMapping
from enum import StrEnum

import structlog

Line = MutableMapping[str, object]


class Form(StrEnum):
    """How a line looks."""

    JSON = "json"
    TEXT = "text"
    """For people: time, component, level, message; then the rest, as KEY=VALUE."""


def configure(component: str, form: Form = Form.JSON, **context: object) -> None:
    """Write to standard error from now on, INFO and above; of libraries, WARNING and above. May be called again."""
    bound = {"component": component, **context}

    def bind(_logger: object, _method: str, line: Line) -> Line:
        return {**bound, **line}

    structlog.configure(
        processors=[
            bind,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer() if form is Form.JSON else _as_text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStructlog()], force=True)


class _ToStructlog(logging.Handler):
    """Writes what a library logs as a line of ours, with the library's logger in it."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info or None
        )


def _as_text(_logger: object, _method: str, line: Line) -> str:
    exception = line.pop("exception", "")
    level = str(line.pop("level")).upper()
    begin = f"{line.pop('timestamp')} {line.pop('component')} {level} {line.pop('event')}"
    rest = "".join(f" {key}={value}" for key, value in line.items())
    return f"{begin}{rest}\n{exception}" if exception else f"{begin}{rest}"
