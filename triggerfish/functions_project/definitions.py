"""A function as its project defines it, in either programming model, and importing a user's code."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from listeners.errors import AppLoadError, ConfigurationError
from listeners.functions.mistakes import mistake_location
from listeners.runtime.code_locations import without_own_frames
from listeners.runtime.logs import steady_logger
from listeners.text import describe_exception, printable

__all__ = ["Definition", "imported", "log"]

log = steady_logger("triggerfish.host")

Loaded = TypeVar("Loaded")
#: How much of an exception's text is shown, as it may be a whole document.
MAX_RAISED_CHARACTERS = 5_000
TRACEBACK_HINT = "`triggerfish run --log-level debug` prints the traceback."


@dataclass(frozen=True)
class Definition:
    """A function as its project defines it. `load` imports its code, which only functions that run need.

    `bindings` and `retry` have the names of function.json. `disabled` is true, or the name of a setting that disables
    the function.
    """

    name: str
    directory: Path
    bindings: object
    load: Callable[[], Callable[..., Any]]
    retry: object = None
    disabled: object = False


def imported(load: Callable[[], Loaded], field: str) -> Loaded:
    """Run an import. Anything that the user's module raises becomes an AppLoadError with the line that raised it."""
    try:
        return load()
    except ConfigurationError:
        raise
    except BaseException as error:  # a module may raise anything, even SystemExit
        log.debug("importing %s failed", field, exc_info=without_own_frames(error))
        raise AppLoadError(field, None, _problem(error)) from error


def _problem(error: BaseException) -> str:
    where = mistake_location(error)
    place = f" at {where}" if where else ""
    if isinstance(error, ModuleNotFoundError):
        if (error.name or "").split(".")[:2] in (["azure"], ["azure", "functions"]):
            return f"It imports azure.functions{place}: pip install 'triggerfish[azure]'."
        return f"No module named {error.name!r} was found{place}. Install what requirements.txt names."
    raised = printable(" ".join(describe_exception(error).split()), MAX_RAISED_CHARACTERS)
    return f"Importing it raised {raised}{place}. {TRACEBACK_HINT}"
