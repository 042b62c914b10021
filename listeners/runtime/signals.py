"""Handlers for SIGTERM and SIGINT."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["on_termination"]

TERMINATION_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_termination(handle: Callable[[signal.Signals], object]) -> Iterator[None]:
    """Call `handle` for each SIGTERM or SIGINT that arrives while the block runs."""
    loop = asyncio.get_running_loop()
    for number in TERMINATION_SIGNALS:
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number in TERMINATION_SIGNALS:
            loop.remove_signal_handler(number)
