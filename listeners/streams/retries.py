"""Entries that wait for their next call: pending for the instance's waiting consumer, with their content in Redis."""

import heapq
import itertools
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from listeners.functions.entries import Entry
from listeners.runtime.clock import boot_seconds
from listeners.streams.consumer import Consumer

__all__ = ["Retries", "Waiting"]


class Waiting(NamedTuple):
    """An entry that waits until `due_at` (time.monotonic). `number` breaks ties."""

    due_at: float
    number: int
    key: str
    id: str
    deliveries: int


class Retries:
    """The entries that this instance calls again later. StreamLeases renews their leases, so that no other does."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._heap: list[Waiting] = []
        self._numbers = itertools.count()
        #: Entries that a renewal has found to be gone, each with whether it was deleted from its stream.
        self._gone: deque[tuple[Waiting, bool]] = deque()

    def __len__(self) -> int:
        """Return how many wait in streams that are not left out."""
        return sum(1 for _ in self._in_reach()) if self._consumer.unreachable.leaves_any_out else len(self._heap)

    def add(self, key: str, entry_id: str, deliveries: int, delay_seconds: float) -> None:
        """Add an entry that has been moved to the waiting consumer."""
        due_at = time.monotonic() + delay_seconds
        heapq.heappush(self._heap, Waiting(due_at, next(self._numbers), key, entry_id, deliveries))

    def ids(self, key: str) -> set[str]:
        """Return the IDs of those in one stream."""
        return {waiting.id for waiting in self._of(key)}

    def seconds_to_next(self) -> float | None:
        """Return in how many seconds the next one is due, 0 or less if it is; None if there is none."""
        first = self._first()
        return first.due_at - time.monotonic() if first else None

    def is_due(self) -> bool:
        """Return whether one is due."""
        first = self._first()
        return first is not None and first.due_at <= time.monotonic()

    async def take_due(self, count: int) -> list[Entry]:
        """Take up to `count` entries of one stream that are due. May return none although some are due."""
        first, now = self._first(), time.monotonic()
        if first is None or first.due_at > now:
            return []
        key = first.key
        due = heapq.nsmallest(
            count, (waiting for waiting in self._heap if waiting.key == key and waiting.due_at <= now)
        )
        names, sent_at = self._consumer.claims.names, boot_seconds()
        with self._consumer.unreachable.passing_over(key):
            # Both consumers, so that it can be repeated after an error.
            moved = await self._consumer.claims.move(
                key, {waiting.id: None for waiting in due}, held_by=(names.waiting, names.taken), to=names.taken
            )
            deliveries = {waiting.id: waiting.deliveries for waiting in due if waiting.id in moved.ids}
            entries = await self._consumer.with_content(key, deliveries, sent_at)
            self._remove(due)
            return entries
        return []

    def by_key(self) -> dict[str, list[Waiting]]:
        """Return those that wait now, by stream. May be called on any thread."""
        groups: defaultdict[str, list[Waiting]] = defaultdict(list)
        for waiting in list(self._heap):
            groups[waiting.key].append(waiting)
        return groups

    def note_gone(self, waiting: Waiting, *, deleted: bool) -> None:
        """Note that another instance has claimed an entry, or that it was deleted. May be called on any thread."""
        self._gone.append((waiting, deleted))

    def forget_gone(self) -> bool:
        """Forget the entries that are gone, and report those that were deleted. Return whether there were any."""
        number = len(self._heap)
        while self._gone:
            waiting, deleted = self._gone.popleft()
            if waiting in self._heap:
                self._remove([waiting])
                self._consumer.lost.add(int(deleted))
        return len(self._heap) < number

    async def release(self) -> None:
        """Make all of them available to every instance at once."""
        await self._consumer.client.for_each_key(self.by_key(), self._release_stream)

    async def _release_stream(self, key: str) -> None:
        waiting, names = self._of(key), self._consumer.claims.names
        ids: dict[str, int | None] = {each.id: None for each in waiting}
        self._remove(waiting)  # before, because a renewal after the release would make others wait for the lease
        try:
            await self._consumer.claims.move(
                key, ids, held_by=(names.waiting, names.taken), to=names.waiting, idle_ms=self._consumer.lease_ms
            )
        except BaseException:
            for each in waiting:
                heapq.heappush(self._heap, each)
            raise

    def forget(self, key: str) -> None:
        """Forget the entries of one stream: its group was recreated, or Redis refuses it."""
        self._remove(self._of(key))

    def _first(self) -> Waiting | None:
        """Return the one that is due first, of those in streams that are not left out."""
        if not self._heap or not self._consumer.unreachable.leaves_out(self._heap[0].key):
            return self._heap[0] if self._heap else None
        return min(self._in_reach(), default=None)

    def _in_reach(self) -> Iterator[Waiting]:
        leaves_out = self._consumer.unreachable.leaves_out
        return (waiting for waiting in self._heap if not leaves_out(waiting.key))

    def _of(self, key: str) -> list[Waiting]:
        return [waiting for waiting in self._heap if waiting.key == key]

    def _remove(self, removed: Iterable[Waiting]) -> None:
        gone = set(removed)
        if gone:
            self._heap = [waiting for waiting in self._heap if waiting not in gone]
            heapq.heapify(self._heap)
