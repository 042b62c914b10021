"""Messages that wait for their function: a bounded queue in which nothing disappears uncounted."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from listeners.functions.entries import Entry
from listeners.runtime.tasks import wait_for_event

__all__ = ["MessageQueue"]


class MessageQueue:
    """Messages in the order in which they came, at most `size`; `on_drop` is told how many were dropped."""

    def __init__(self, size: int, on_drop: Callable[[int], object]) -> None:
        self._size = size
        self._on_drop = on_drop
        self._entries: deque[Entry] = deque()
        self._woken = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Entry) -> None:
        """Add a message, or drop it if the queue is full."""
        if len(self._entries) >= self._size:
            self._on_drop(1)
            return
        self._entries.append(entry)
        self._woken.set()

    async def wait(self, seconds: float) -> None:
        """Wait for a message, until stirred or at most so long."""
        if self._entries:
            return
        self._woken.clear()
        await wait_for_event(self._woken, seconds)

    def wake(self) -> None:
        """Let wait() return now."""
        self._woken.set()

    def take(self, count: int | None = None) -> list[Entry]:
        """The oldest messages, at most `count`; all without it."""
        number = len(self._entries) if count is None else min(count, len(self._entries))
        return [self._entries.popleft() for _ in range(number)]

    def drop(self, entries: Iterable[Entry] | None = None) -> None:
        """Count messages that were taken as dropped; without them, drop all that wait."""
        number = len(self.take() if entries is None else list(entries))
        if number:
            self._on_drop(number)
