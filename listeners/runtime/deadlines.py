"""Tracks many deadlines with one timer, as a timer per call costs more than most calls."""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Deadlines"]

Item = TypeVar("Item")
#: Shortest timer: the resolution of an event loop's clock.
RESOLUTION_SECONDS = 0.001


class Deadlines(Generic[Item]):
    """Calls `on_expired` with each item that is not removed within `seconds` of its beginning, in order."""

    def __init__(self, seconds: float, on_expired: Callable[[Item], object]) -> None:
        self._seconds = seconds
        self._on_expired = on_expired
        #: When each item began (time.perf_counter), oldest first.
        self._began_at: dict[Item, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: Item, began_at: float) -> None:
        """Add an item that began at a time (time.perf_counter), not before those that were added."""
        self._began_at[item] = began_at
        if self._timer is None:
            left = began_at + self._seconds - time.perf_counter()
            self._timer = asyncio.get_running_loop().call_later(max(left, 0.0), self._check)

    def remove(self, item: Item) -> None:
        """Drop the deadline of an item that has finished."""
        self._began_at.pop(item, None)

    def close(self) -> None:
        """Stop: no further item expires."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        self._timer = None
        now = time.perf_counter()
        for item, began_at in list(self._began_at.items()):
            left = began_at + self._seconds - now
            if left > 0:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(max(left, RESOLUTION_SECONDS), self._check)
                return
            del self._began_at[item]
            self._on_expired(item)
