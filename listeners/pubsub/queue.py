"""A bounded queue of messages that wait for their function."""

import asyncio
from collections import deque
from collections.abc import Iterable

from listeners.functions.entries import Entry
from listeners.pubsub.drops import DropReason, Drops
from listeners.runtime.tasks import wait_for_event

__all__ = ["MAX_MESSAGES", "MessageQueue"]

#: Messages that may wait for their function; more are dropped.
MAX_MESSAGES = 10_000


class MessageQueue:
    """Messages in order of arrival: at most MAX_MESSAGES, and `max_bytes` of payloads and channels.

    A single message may be larger.
    """

    def __init__(self, drops: Drops, max_bytes: int) -> None:
        self._drops = drops
        self._max_bytes = max_bytes
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Entry) -> bool:
        """Add a message, or drop it if it does not fit. Return whether it was added."""
        size = _size(entry)
        if self._entries and (len(self._entries) >= MAX_MESSAGES or self._bytes + size > self._max_bytes):
            self._drops.add(1, DropReason.QUEUE_FULL)
            return False
        self._entries.append(entry)
        self._bytes += size
        self._wake.set()
        return True

    async def wait(self, seconds: float) -> None:
        """Wait until there is a message or wake() is called, at most `seconds`."""
        if self._entries:
            return
        self._wake.clear()
        await wait_for_event(self._wake, seconds)

    def wake(self) -> None:
        """Make wait() return now."""
        self._wake.set()

    def take(self, count: int, max_bytes: int) -> list[Entry]:
        """Remove and return the oldest messages: at most `count` and `max_bytes`, or one that is larger."""
        taken: list[Entry] = []
        size = 0
        while self._entries and len(taken) < count:
            next_size = _size(self._entries[0])
            if taken and size + next_size > max_bytes:
                break
            taken.append(self._entries.popleft())
            size += next_size
        self._bytes -= size
        return taken

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Add messages that were taken and not called. Their receipts are numbers in order of arrival."""
        returned = list(entries)
        if not returned:
            return
        self._entries = deque(sorted([*returned, *self._entries], key=lambda entry: entry.receipt))
        self._bytes += sum(map(_size, returned))
        self._wake.set()

    def take_all(self) -> list[Entry]:
        """Remove and return all messages."""
        taken = list(self._entries)
        self._entries.clear()
        self._bytes = 0
        return taken

    def drop(self, reason: DropReason) -> None:
        """Drop every message."""
        self._drops.add(len(self.take_all()), reason)


def _size(entry: Entry) -> int:
    return len(entry.payload or b"") + len(entry.key)
