"""SIGTERM and SIGINT: the first drains, a later one exits at once."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from listeners.runtime.logs import steady_logger

__all__ = ["SAME_REQUEST_SECONDS", "exit_on_termination", "on_termination"]

log = steady_logger("triggerfish")

TERMINATION_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Signals within this time are one request: a supervisor may signal a process and then its whole group.
SAME_REQUEST_SECONDS = 1.0


def exit_on_termination() -> None:
    """Exit with status 0 at the first SIGTERM or SIGINT, outside of `on_termination`: nothing is in progress yet.

    Otherwise, SIGINT would print a traceback, and SIGTERM be ignored in the first process of a container. An exception
    could be caught by the code that it interrupts.
    """
    for number in TERMINATION_SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))


@contextmanager
def on_termination(drain: Callable[[signal.Signals], object]) -> Iterator[None]:
    """Call `drain` at the first SIGTERM or SIGINT that arrives while the block runs.

    A signal that arrives SAME_REQUEST_SECONDS after the first, or later, exits the process at once, also after the
    block. An earlier one is ignored.
    """
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in TERMINATION_SIGNALS}
    first_at: float | None = None

    def signalled(number: signal.Signals) -> None:
        nonlocal first_at
        now = time.monotonic()
        if first_at is None:
            first_at = now
            drain(number)
        elif now - first_at >= SAME_REQUEST_SECONDS:
            log.warning("%s again: exiting now", number.name)
            os._exit(128 + number)

    for number in TERMINATION_SIGNALS:
        loop.add_signal_handler(number, signalled, number)
    try:
        yield
    finally:
        for number in TERMINATION_SIGNALS:
            loop.remove_signal_handler(number)
            if first_at is None:
                signal.signal(number, before[number])
            else:  # the process is ending, and the same request must not kill it now
                signal.signal(number, lambda received, _: signalled(signal.Signals(received)))
