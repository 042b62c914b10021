"""Tells which of many things take too long, with one timer for all: one for each would cost more than most calls."""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Deadlines"]

Thing = TypeVar("Thing")
#: A loop's clock is only so fine.
RESOLUTION_SECONDS = 0.001


class Deadlines(Generic[Thing]):
    """Things that may each take `seconds` from when they are added; `on_late` is told of each that is still there."""

    def __init__(self, seconds: float, on_late: Callable[[Thing], object]) -> None:
        self._seconds = seconds
        self._on_late = on_late
        #: When each began (time.perf_counter), the oldest first.
        self._began: dict[Thing, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, thing: Thing) -> float:
        """Begin to watch something; returns the time (time.perf_counter)."""
        began = self._began[thing] = time.perf_counter()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look)
        return began

    def remove(self, thing: Thing) -> None:
        """It has ended."""
        self._began.pop(thing, None)

    def close(self) -> None:
        """Watch nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        now = time.perf_counter()
        for thing, began in list(self._began.items()):
            left = began + self._seconds - now
            if left > 0:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(max(left, RESOLUTION_SECONDS), self._look)
                return
            del self._began[thing]
            self._on_late(thing)
