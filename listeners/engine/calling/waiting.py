"""The entries of calls that have not begun."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from listeners.engine.calling.limits import Limits
from listeners.functions.entries import Entry, by_call

__all__ = ["Waiting"]


class Waiting:
    """Groups entries by call. `calls` are those that wait for a slot.

    If the limits have a window, entries wait for a full batch before: until end_window(), for which the owner is called
    by `on_window_over` once the first of them has waited that long. Those delivered again do not, as they are called
    alone.
    """

    def __init__(self, limits: Limits, on_window_over: Callable[[], object]) -> None:
        self.calls: deque[list[Entry]] = deque()
        self.window_is_over = False
        self._batch_size = limits.batch_size
        self._window_seconds = limits.window_seconds
        self._on_window_over = on_window_over
        self._gathered: list[Entry] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def room(self) -> int:
        """How many entries may join a batch that is being gathered; 0 if none is."""
        return self._batch_size - len(self._gathered) if self._gathered else 0

    def add(self, entries: Sequence[Entry]) -> None:
        """Add entries that were taken."""
        calls = by_call(entries, batch=self._batch_size > 1)
        if self._window_seconds and calls and calls[0][0].deliveries == 1:
            self._gather(calls.pop(0))
        self.calls += calls

    def end_window(self) -> None:
        """Let the batch that is being gathered, if there is one, wait for a slot."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self.window_is_over = None, False
        if self._gathered:
            self.calls.append(self._gathered)
            self._gathered = []

    def pop(self, number: int) -> list[list[Entry]]:
        """Remove and return the first calls that wait for a slot."""
        if number < len(self.calls):
            return [self.calls.popleft() for _ in range(number)]
        calls = list(self.calls)
        self.calls.clear()
        return calls

    def remove_all(self) -> list[list[Entry]]:
        """Remove and return everything, grouped by call."""
        self.end_window()
        calls = list(self.calls)
        self.calls.clear()
        return calls

    def _gather(self, entries: list[Entry]) -> None:
        self._gathered += entries
        if len(self._gathered) >= self._batch_size:
            self.end_window()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._window_seconds, self._time_is_over)

    def _time_is_over(self) -> None:
        self.window_is_over = True
        self._on_window_over()
