"""What a function has in hand: entries taken from Redis and not settled there yet."""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Sequence

from listeners.engine.metrics import FunctionMetrics
from listeners.functions.entries import Entry, Outcome, Settlement

__all__ = ["InProgress"]

log = logging.getLogger("triggerfish.host")


class InProgress:
    """At most `capacity` entries. A `batch` function gets its next batch when it has finished the one before."""

    def __init__(self, function_name: str, capacity: int, *, batch: bool, metrics: FunctionMetrics) -> None:
        self._function_name = function_name
        self._capacity = capacity
        self._batch = batch
        self._metrics = metrics
        self._entries: set[Entry] = set()
        metrics.in_progress.set_function(self._entries.__len__)
        #: Entries that an exchange under way may bring.
        self._reserved = 0
        self.nothing_reserved = asyncio.Event()
        self.nothing_reserved.set()
        #: What became of entries, not told to Redis yet: those whose calls succeeded, and the others.
        self._succeeded: list[Entry] = []
        self._finished: list[Settlement] = []
        self.something_finished = asyncio.Event()

    @property
    def entries(self) -> Collection[Entry]:
        """All of them, also those that are finished."""
        return self._entries

    def free_slots(self) -> int:
        """How many entries may be taken."""
        if self._batch:
            return 0 if self._entries or self._reserved else self._capacity
        return self._capacity - len(self._entries) - self._reserved

    def free_slots_after_settling(self) -> int:
        """How many entries may be taken in the step that settles those whose calls succeeded; 0 if there are none."""
        left = len(self._entries) - len(self._succeeded)
        if not self._succeeded or (self._batch and left):
            return 0
        return self._capacity - left

    def reserve(self, count: int) -> None:
        """Keep room for what an exchange may bring; none when it is over."""
        self._reserved = count
        (self.nothing_reserved.clear if count else self.nothing_reserved.set)()

    def add(self, entries: Iterable[Entry]) -> None:
        """Hold entries that were taken."""
        self._entries.update(entries)

    def succeed(self, entries: Sequence[Entry]) -> None:
        """Entries whose calls succeeded."""
        self._succeeded += entries
        self.something_finished.set()

    def finish(self, settlements: Sequence[Settlement]) -> None:
        """Entries of which something else became."""
        self._finished += settlements
        self.something_finished.set()

    def pop_succeeded(self) -> list[Entry]:
        """Those that are to be settled now, and to be given back to succeed() if that did not work."""
        succeeded, self._succeeded = self._succeeded, []
        return succeeded

    def pop_finished(self) -> list[Settlement]:
        """All that is to be settled now, those that succeeded first; to be given back if that did not work."""
        finished = [Settlement(entry, Outcome.SUCCEEDED) for entry in self.pop_succeeded()] + self._finished
        self._finished = []
        return finished

    def settled(self, settlements: Iterable[Settlement]) -> None:
        """Let go of entries, now that Redis knows what became of them."""
        for settlement in settlements:
            self.remove([settlement.entry], settlement.outcome)
            if settlement.error:
                where = f" ({settlement.where})" if settlement.where else ""
                log.warning("%s: %s: %s%s", self._function_name, settlement.outcome.value, settlement.error, where)

    def remove(self, entries: Collection[Entry], outcome: Outcome | None) -> None:
        """Let go of entries of which the same became; without an outcome they have gone back."""
        self._entries.difference_update(entries)
        if outcome is not None:
            self._metrics.settled(outcome, len(entries))

    def count_taken(self, entries: Sequence[Entry], redelivered: int) -> None:
        """Count entries that were taken."""
        self._metrics.received.inc(len(entries))
        if redelivered:
            self._metrics.redelivered.inc(redelivered)
        now = time.time()
        self._metrics.wait.observe_all(
            [max(0.0, now - int(entry.id.partition("-")[0]) / 1000) for entry in entries if entry.id is not None]
        )
