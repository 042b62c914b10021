"""Finds the line of user code where a call failed or currently is, and cuts our frames from tracebacks. No I/O."""

import importlib
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TypeVar

from listeners.errors import TriggerfishError

__all__ = ["OWN_PACKAGES", "busy_at", "raised_at", "running_at", "suspended_at", "without_own_frames"]

AnyError = TypeVar("AnyError", bound=BaseException)

MAX_CHARACTERS = 300
#: How many levels of nested coroutines are followed.
MAX_DEPTH = 1000
#: Packages whose frames are never the user's.
OWN_PACKAGES = tuple(str(Path(__file__).parents[2] / name) + os.sep for name in ("listeners", "scaler", "triggerfish"))
#: What a traceback has between our frames and those of a user's module that is imported.
IMPORT_MACHINERY = ("<frozen importlib", importlib.__file__)
LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
#: How many exceptions of a chain are without our frames. No more are formatted.
MAX_EXCEPTIONS = 100
Frame = tuple[FrameType, int]


def raised_at(error: BaseException, handler: Callable[..., Any]) -> str:
    """Return where an exception left the handler's code, as "file:line in function"; empty if none of it was involved.

    That is the innermost frame that belongs to no library. It never contains the value of a variable.
    """
    return _innermost_user_frame(reversed(list(traceback.walk_tb(error.__traceback__))), handler)


def without_own_frames(error: AnyError) -> AnyError:
    """Remove our own frames from the tracebacks of an exception, of its causes and of the members of groups.

    Returns the exception. One without other frames that Triggerfish raised by mistake keeps them, as it shows a bug.
    """
    seen: dict[int, BaseException] = {}
    unseen: list[BaseException | None] = [error]
    while unseen and len(seen) < MAX_EXCEPTIONS:
        one = unseen.pop(0)
        if one is None or id(one) in seen:
            continue
        seen[id(one)] = one
        others, is_bug = _without_own(one.__traceback__)
        if others is not None or not is_bug or isinstance(one, TriggerfishError):
            one.__traceback__ = others
        unseen += (one.__cause__, one.__context__)
        unseen += one.exceptions[:MAX_EXCEPTIONS] if isinstance(one, BaseExceptionGroup) else ()
    return error


def running_at(thread: int, handler: Callable[..., Any] | None) -> str:
    """Return where in the handler's code a thread currently is, in the format of raised_at."""
    frame = sys._current_frames().get(thread)
    return _innermost_user_frame(traceback.walk_stack(frame), handler) if frame is not None else ""


def busy_at(thread: int) -> str:
    """Return which line of any user code a thread is running, in the format of raised_at."""
    return running_at(thread, None)


def suspended_at(coroutine: Coroutine[Any, Any, Any] | AsyncGenerator[Any, Any], handler: Callable[..., Any]) -> str:
    """Return where in the handler's code a coroutine or an async generator is suspended, in the format of raised_at."""
    return _innermost_user_frame(reversed(list(_frames(coroutine))), handler)


def _frames(coroutine: Any) -> Iterator[Frame]:
    """Yield the frames of a coroutine or an async generator and of the coroutines it awaits, outermost first."""
    for _ in range(MAX_DEPTH):
        kind = "ag" if inspect.isasyncgen(coroutine) else "cr"
        frame = getattr(coroutine, f"{kind}_frame", None)
        if frame is None:
            return
        yield frame, frame.f_lineno
        coroutine = getattr(coroutine, f"{kind}_await", None)


def _innermost_user_frame(innermost_first: Iterable[Frame], handler: Callable[..., Any] | None) -> str:
    package = _package(getattr(handler, "__module__", None))
    for frame, line in innermost_first:
        code = frame.f_code
        # The app itself may be installed among the libraries.
        if _package(frame.f_globals.get("__name__")) == package or not _is_library(code.co_filename):
            return f"{code.co_filename}:{line} in {code.co_qualname}"[-MAX_CHARACTERS:]
    return ""


def _without_own(trace: TracebackType | None) -> tuple[TracebackType | None, bool]:
    """Return a traceback without our frames, and whether its innermost frame is ours."""
    kept: list[TracebackType] = []
    file = ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith((*OWN_PACKAGES, *IMPORT_MACHINERY)):
            kept.append(trace)
        trace = trace.tb_next
    found: TracebackType | None = None
    for one in reversed(kept):
        found = TracebackType(found, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return found, file.startswith(OWN_PACKAGES)


def _package(module: object) -> str:
    return str(module).partition(".")[0]


def _is_library(path: str) -> bool:
    return path.startswith((*LIBRARIES, *OWN_PACKAGES, "<frozen")) or "site-packages" in path or "dist-packages" in path
