"""Finds the line of the user's code where a call failed, or where it is. No I/O."""

import sys
import sysconfig
import traceback
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["raised_at", "stands_at", "waits_at"]

MAX_CHARACTERS = 300
#: Coroutines that wait for each other are followed so far.
MAX_DEPTH = 1000
OURS = str(Path(__file__).parent.parent)
LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
Frame = tuple[FrameType, int]


def raised_at(error: BaseException, handler: Callable[..., Any]) -> str:
    """Where an exception left the handler's code, as "file:line in function"; empty if it was not in it.

    That is the innermost frame that belongs to no library. It shows no value of any variable.
    """
    return _innermost(reversed(list(traceback.walk_tb(error.__traceback__))), handler)


def stands_at(thread: int, handler: Callable[..., Any]) -> str:
    """Where in the handler's code a running thread is now, as raised_at."""
    frame = sys._current_frames().get(thread)
    return _innermost(traceback.walk_stack(frame), handler) if frame is not None else ""


def waits_at(coroutine: Coroutine[Any, Any, Any], handler: Callable[..., Any]) -> str:
    """Where in the handler's code a coroutine waits, as raised_at."""
    return _innermost(reversed(list(_waiting(coroutine))), handler)


def _waiting(coroutine: Any) -> Iterator[Frame]:
    """The frames of a coroutine and of those that it waits for."""
    for _ in range(MAX_DEPTH):
        frame = getattr(coroutine, "cr_frame", None)
        if frame is None:
            return
        yield frame, frame.f_lineno
        coroutine = coroutine.cr_await


def _innermost(innermost_first: Iterable[Frame], handler: Callable[..., Any]) -> str:
    package = _package(getattr(handler, "__module__", None))
    for frame, line in innermost_first:
        code = frame.f_code
        # The app itself may be installed among the libraries.
        if _package(frame.f_globals.get("__name__")) == package or not _is_library(code.co_filename):
            return f"{code.co_filename}:{line} in {code.co_qualname}"[-MAX_CHARACTERS:]
    return ""


def _package(module: object) -> str:
    return str(module).partition(".")[0]


def _is_library(path: str) -> bool:
    return path.startswith((*LIBRARIES, OURS, "<frozen")) or "site-packages" in path or "dist-packages" in path
