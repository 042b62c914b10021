"""SIGTERM and SIGINT: the first drains, a later one exits at once."""

import _thread
import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from listeners.runtime.logs import steady_logger

__all__ = ["SAME_REQUEST_SECONDS", "exit_on_termination", "on_termination"]

log = steady_logger("triggerfish")

TERMINATION_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Signals within this time are one request: a supervisor may signal a process and then its whole group.
SAME_REQUEST_SECONDS = 1.0
#: How long what a process runs when it starts may take to end.
START_SECONDS = 3.0
#: How long the last line of the log may take.
LAST_LINE_SECONDS = 1.0


def exit_on_termination(status: int = 0) -> None:
    """Exit with this status at the first SIGTERM or SIGINT, outside of `on_termination`: nothing is in progress yet.

    Otherwise, SIGINT would print a traceback, and SIGTERM be ignored in the first process of a container. An exception
    could be caught by the code that it interrupts.
    """
    for number in TERMINATION_SIGNALS:
        signal.signal(number, lambda *_: os._exit(status))


@contextmanager
def on_termination(
    drain: Callable[[signal.Signals], object], *, is_starting: Callable[[], bool] = lambda: False, status: int = 0
) -> Iterator[None]:
    """Call `drain` at the first SIGTERM or SIGINT that arrives while the block runs.

    A signal that arrives SAME_REQUEST_SECONDS after the first, or later, exits the process at once, also after the
    block. An earlier one is ignored. `drain` runs on the event loop, but nothing else does: a call may block the loop.

    A process that `is_starting` at the first signal and still START_SECONDS later exits then with `status`: nothing is
    in progress yet.
    """
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in TERMINATION_SIGNALS}
    first_at: float | None = None

    def signalled(number: int, _: object) -> None:
        nonlocal first_at
        now = time.monotonic()
        if first_at is None:
            first_at = now
            loop.call_soon_threadsafe(drain, signal.Signals(number))
            if is_starting():
                _thread.start_new_thread(_exit_if, (is_starting, status))  # threading.Thread would take a lock
        elif now - first_at >= SAME_REQUEST_SECONDS:
            _exit_now(signal.Signals(number))

    for number in TERMINATION_SIGNALS:
        signal.signal(number, signalled)
    try:
        yield
    finally:
        if first_at is None:  # otherwise the process is ending, and the same request must not kill it now
            for number in TERMINATION_SIGNALS:
                signal.signal(number, before[number])


def _exit_now(number: signal.Signals) -> NoReturn:
    """Exit from a signal handler, which may have interrupted code that holds a lock of logging."""
    status = 128 + number
    try:
        _thread.start_new_thread(_exit_later, (status,))  # threading.Thread would take a lock
        log.warning("%s again: exiting now", number.name)
    finally:
        os._exit(status)


def _exit_if(is_starting: Callable[[], bool], status: int) -> None:
    time.sleep(START_SECONDS)
    if is_starting():
        os._exit(status)


def _exit_later(status: int) -> None:
    time.sleep(LAST_LINE_SECONDS)
    os._exit(status)
