"""The end of a process that does not wait for its threads."""

import atexit
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from listeners.runtime.logs import steady_logger

__all__ = ["exit_after", "exit_process"]

log = steady_logger("triggerfish.host")

#: How long atexit handlers may take, such as one that sends the last telemetry.
HANDLERS_SECONDS = 5.0
FLUSH_SECONDS = 1.0


def exit_process(status: int) -> NoReturn:
    """Run atexit handlers, flush logs and standard output, and exit. No handler or thread delays it for long."""
    # Handlers run on a thread, since one that hangs cannot be stopped. They may also need an event loop.
    if not _ran(atexit._run_exitfuncs, HANDLERS_SECONDS):
        _warn(f"atexit handlers are still running after {HANDLERS_SECONDS:g} s: exiting without them")
    _ran(logging.shutdown, FLUSH_SECONDS)
    _ran(_flush, FLUSH_SECONDS)
    os._exit(status)


@contextlib.contextmanager
def exit_after(seconds: float, status: int) -> Iterator[None]:
    """Exit with this status if the block takes longer, even if it blocks the event loop."""
    timer = threading.Timer(seconds, os._exit, (status,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _ran(work: Callable[[], object], seconds: float) -> bool:
    """Run `work` on a thread. Return whether it ended within `seconds`."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed
            stream.flush()


def _warn(text: str) -> None:
    """Log from a thread: a handler that hangs may hold a lock of logging."""
    _ran(lambda: log.warning("%s", text), FLUSH_SECONDS)
