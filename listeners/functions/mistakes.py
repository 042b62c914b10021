"""Finds the line of user code that made an import fail. No I/O but reading the source."""

import ast
import linecache
import sysconfig
import traceback
from pathlib import Path

from listeners.runtime.code_locations import OWN_PACKAGES

__all__ = ["is_users_file", "mistake_location"]

STANDARD_LIBRARY = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
INSTALLED = ("site-packages", "dist-packages")


def mistake_location(error: BaseException) -> str | None:
    """Return the line of the user's code where an exception was raised, as "file:line"; None if there is none.

    If a decorator raised it, the decorated function is named. It never contains the value of a variable.
    """
    if isinstance(error, SyntaxError) and error.filename is not None and Path(error.filename).is_file():
        return f"{error.filename}:{error.lineno}"
    found = ((frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__))
    lines = [(file, line) for file, line in found if not _is_own_or_standard(file)]
    # The app itself may be installed.
    lines = [(file, line) for file, line in lines if not _is_installed(file)] or lines
    if not lines:
        return None
    file, line = lines[-1]
    for place in reversed(lines):
        if function := _decorated_function(*place):
            inside = "" if place == (file, line) else f" at {place[0]}:{place[1]}"
            return f"{file}:{line}, in the decorator of `{function}`{inside}"
    return f"{file}:{line}"


def is_users_file(file: str) -> bool:
    """Return whether a file belongs to the user's project: not to Triggerfish, Python or an installed package."""
    return not _is_own_or_standard(file) and not _is_installed(file)


def _is_own_or_standard(file: str) -> bool:
    own = file.startswith(("<frozen", *OWN_PACKAGES))
    return own or (file.startswith(STANDARD_LIBRARY) and not _is_installed(file))


def _is_installed(file: str) -> bool:
    return any(name in Path(file).parts for name in INSTALLED)


def _decorated_function(file: str, line: int) -> str | None:
    """Return the name of the function or class that a decorator on this line decorates."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError, RecursionError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                if decorator.lineno <= line <= (decorator.end_lineno or decorator.lineno):
                    return node.name
    return None
