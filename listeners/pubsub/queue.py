"""A bounded queue of messages that wait for their function; every dropped message is counted."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from listeners.functions.entries import Entry
from listeners.runtime.tasks import wait_for_event

__all__ = ["MessageQueue"]


class MessageQueue:
    """At most `size` messages, in order of arrival. `on_drop` is called with the number of messages dropped."""

    def __init__(self, size: int, on_drop: Callable[[int], object]) -> None:
        self._size = size
        self._on_drop = on_drop
        self._entries: deque[Entry] = deque()
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Entry) -> None:
        """Add a message, or drop it if the queue is full."""
        if len(self._entries) >= self._size:
            self._on_drop(1)
            return
        self._entries.append(entry)
        self._wake.set()

    async def wait(self, seconds: float) -> None:
        """Wait until there is a message or wake() is called, at most `seconds`."""
        if self._entries:
            return
        self._wake.clear()
        await wait_for_event(self._wake, seconds)

    def wake(self) -> None:
        """Make wait() return now."""
        self._wake.set()

    def take(self, count: int | None = None) -> list[Entry]:
        """Remove and return the oldest messages: at most `count`, or all by default."""
        number = len(self._entries) if count is None else min(count, len(self._entries))
        return [self._entries.popleft() for _ in range(number)]

    def drop(self, entries: Iterable[Entry] | None = None) -> None:
        """Count `entries`, which were taken, as dropped. Without them, drop every message in the queue."""
        number = len(self.take() if entries is None else list(entries))
        if number:
            self._on_drop(number)
