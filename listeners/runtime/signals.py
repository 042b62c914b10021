"""Handlers for SIGTERM and SIGINT."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["exit_on_termination", "on_termination"]

TERMINATION_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def exit_on_termination() -> None:
    """Exit with status 0 at the first SIGTERM or SIGINT, outside of `on_termination`: nothing is in progress yet.

    Otherwise, SIGINT would print a traceback, and SIGTERM be ignored in the first process of a container. An exception
    could be caught by the code that it interrupts.
    """
    for number in TERMINATION_SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))


@contextmanager
def on_termination(handle: Callable[[signal.Signals], object]) -> Iterator[None]:
    """Call `handle` for each SIGTERM or SIGINT that arrives while the block runs."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in TERMINATION_SIGNALS}
    for number in TERMINATION_SIGNALS:
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number in TERMINATION_SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])
