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
    """Calls `on_expired` with each item that is not removed within `seconds` of being added, in order."""

    def __init__(self, seconds: float, on_expired: Callable[[Item], object]) -> None:
        self._seconds = seconds
        self._on_expired = on_expired
        #: When each item was added (time.perf_counter), oldest first.
        self._added_at: dict[Item, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: Item) -> float:
        """Start the deadline of an item. Return the current time (time.perf_counter)."""
        added_at = self._added_at[item] = time.perf_counter()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._check)
        return added_at

    def remove(self, item: Item) -> None:
        """Drop the deadline of an item that has finished."""
        self._added_at.pop(item, None)

    def close(self) -> None:
        """Stop: no further item expires."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        self._timer = None
        now = time.perf_counter()
        for item, added_at in list(self._added_at.items()):
            left = added_at + self._seconds - now
            if left > 0:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(max(left, RESOLUTION_SECONDS), self._check)
                return
            del self._added_at[item]
            self._on_expired(item)
