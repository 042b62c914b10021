"""Logging: loggers that an app's own logging configuration cannot silence, and the formats of lines."""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TextIO

from listeners.text import escape

__all__ = ["CALL_LOGGER", "LogFormat", "as_json_line", "log_to_stderr", "steady_logger"]

#: The parent of all loggers of the project.
ROOT_NAME = "triggerfish"
TEXT_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(place)s%(message)s"
#: The logger of contexts, and what its records have beside the message: the function, and the entry's key and ID.
CALL_LOGGER = "triggerfish.function"
PLACE = ("function", "key", "id")


class LogFormat(StrEnum):
    """The formats of --log-format."""

    TEXT = "text"
    JSON = "json"


def steady_logger(name: str) -> logging.Logger:
    """Return the logger `triggerfish` or one below it, whose lines appear whatever the app does to logging.

    `logging.config.dictConfig` and `fileConfig` disable every existing logger by default, and may leave no handler.
    Text in arguments and tracebacks is escaped: it may come from a producer, and a handler of the app may write it.
    """
    logger = logging.getLogger(name)
    # The logger may exist already, and logging has one object for each name.
    logger.__class__ = _SteadyLogger
    return logger


def log_to_stderr(level: str, log_format: LogFormat, instance: str | None = None) -> None:
    """Write all records of at least `level` to the standard error output. `instance` is named in JSON.

    The level is also set for Triggerfish's own loggers, so that the app's level for the root does not change it.
    """
    formatter = _JsonFormatter(instance) if log_format is LogFormat.JSON else _TextFormatter(TEXT_FORMAT)
    _fallback.setFormatter(formatter)
    root_handler = _StderrHandler()
    root_handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[root_handler])
    steady_logger(ROOT_NAME).setLevel(level.upper())


def as_json_line(record: Mapping[str, object]) -> str:
    """Return an object as one line of printable ASCII."""
    return json.dumps(record).replace("\x7f", "\\u007f")  # json escapes the other control characters


class _SteadyLogger(logging.Logger):
    """A logger that cannot be disabled, and that writes to the standard error output if no handler is left."""

    @property
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        pass

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802  (its name in logging)
        if self.hasHandlers() or _fallback.formatter is None:
            super().callHandlers(record)
        else:
            _fallback.handle(record)

    def makeRecord(self, *arguments: Any, **keywords: Any) -> logging.LogRecord:  # noqa: N802  (its name in logging)
        record = super().makeRecord(*arguments, **keywords)
        if record.args and not isinstance(record.args, Mapping):
            record.args = tuple(_escaped(argument) for argument in record.args)
        if record.exc_info:
            record.exc_text = _escaped_traceback(record.exc_info)  # formatters write it in place of their own
        return record


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what sys.stderr is at the moment, since a live display replaces it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


class _TextFormatter(logging.Formatter):
    """One line for each record, and an indented traceback, so that no text looks like another record."""

    def format(self, record: logging.LogRecord) -> str:
        place = _place(record)
        record.place = f"{' '.join(place.values())}: " if place else ""
        if record.exc_info:
            record.exc_text = None  # a handler of the app may have left a traceback that is not escaped
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (its name in logging)
        return escape(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802  (its name in logging)
        return _escaped_traceback(ei)

    def formatStack(self, stack_info: str) -> str:  # noqa: N802  (its name in logging)
        return _escaped_lines(stack_info)


class _JsonFormatter(logging.Formatter):
    """One JSON object in one line for each record."""

    def __init__(self, instance: str | None) -> None:
        super().__init__()
        self._instance = instance

    def format(self, record: logging.LogRecord) -> str:
        written: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        written |= _place(record)
        if instance := getattr(record, "instance", self._instance):
            written["instance"] = str(instance)
        traces = [self.formatException(record.exc_info)] if record.exc_info else []
        traces += [record.stack_info] if record.stack_info else []
        if traces:
            written["exception"] = "\n".join(traces)
        return as_json_line(written)


def _place(record: logging.LogRecord) -> dict[str, str]:
    """Return the call that a record belongs to; empty for a record of any other logger."""
    if record.name != CALL_LOGGER:
        return {}
    return {name: str(value) for name in PLACE if (value := getattr(record, name, None)) is not None}


def _escaped(argument: object) -> object:
    """Return a number as it is, and anything else as escaped text."""
    if isinstance(argument, int | float):
        return argument
    try:
        return escape(str(argument))
    except BaseException as error:  # noqa: BLE001  (the __str__ of a user's exception may raise anything)
        return f"<{type(argument).__name__}, whose text raised {type(error).__name__}>"


def _escaped_traceback(exc_info: Any) -> str:
    try:
        return _escaped_lines(logging.Formatter().formatException(exc_info))
    except BaseException as error:  # noqa: BLE001  (formatting calls the user's code)
        return f"  <a traceback whose formatting raised {type(error).__name__}>"


def _escaped_lines(text: str) -> str:
    return "\n".join(f"  {escape(line)}" for line in text.split("\n"))


#: In use once log_to_stderr() has given it a format.
_fallback = _StderrHandler()
