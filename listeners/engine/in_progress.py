"""Tracks the entries in progress: taken from Redis and not settled there yet."""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Sequence

from listeners.engine.metrics import FunctionMetrics
from listeners.functions.entries import Entry, Outcome, Settlement

__all__ = ["InProgress"]

log = logging.getLogger("triggerfish.host")


class InProgress:
    """Holds at most `capacity` entries. A `batch` function gets its next batch once the previous one has finished."""

    def __init__(self, function_name: str, capacity: int, *, batch: bool, metrics: FunctionMetrics) -> None:
        self._function_name = function_name
        self._capacity = capacity
        self._batch = batch
        self._metrics = metrics
        self._entries: set[Entry] = set()
        metrics.in_progress.set_function(self._entries.__len__)
        #: How many entries a running exchange may return.
        self._reserved = 0
        self.nothing_reserved = asyncio.Event()
        self.nothing_reserved.set()
        #: Outcomes that are not settled in Redis yet: entries whose calls succeeded, and all others.
        self._succeeded: list[Entry] = []
        self._finished: list[Settlement] = []
        self.something_finished = asyncio.Event()

    @property
    def entries(self) -> Collection[Entry]:
        """All entries in progress, including those that have finished and are not settled."""
        return self._entries

    def free_slots(self) -> int:
        """Return how many entries may be taken."""
        if self._batch:
            return 0 if self._entries or self._reserved else self._capacity
        return self._capacity - len(self._entries) - self._reserved

    def free_slots_after_settling(self) -> int:
        """Return how many entries may be taken in the step that settles the succeeded ones; 0 if none succeeded."""
        left = len(self._entries) - len(self._succeeded)
        if not self._succeeded or (self._batch and left):
            return 0
        return self._capacity - left

    def reserve(self, count: int) -> None:
        """Reserve slots for what an exchange may return; 0 once it is over."""
        self._reserved = count
        (self.nothing_reserved.clear if count else self.nothing_reserved.set)()

    def add(self, entries: Iterable[Entry]) -> None:
        """Add entries that were taken."""
        self._entries.update(entries)

    def succeed(self, entries: Sequence[Entry]) -> None:
        """Record entries whose calls succeeded."""
        self._succeeded += entries
        self.something_finished.set()

    def finish(self, settlements: Sequence[Settlement]) -> None:
        """Record entries with any other outcome."""
        self._finished += settlements
        self.something_finished.set()

    def pop_succeeded(self) -> list[Entry]:
        """Return the succeeded entries to settle now. If settling fails, pass them to succeed() again."""
        succeeded, self._succeeded = self._succeeded, []
        return succeeded

    def pop_finished(self) -> list[Settlement]:
        """Return everything to settle now, successes first. If settling fails, pass it to finish() again."""
        finished = [Settlement(entry, Outcome.SUCCEEDED) for entry in self.pop_succeeded()] + self._finished
        self._finished = []
        return finished

    def settled(self, settlements: Iterable[Settlement]) -> None:
        """Remove entries that are settled in Redis, and log the errors of those that failed."""
        for settlement in settlements:
            self.remove([settlement.entry], settlement.outcome)
            if settlement.error:
                where = f" ({settlement.where})" if settlement.where else ""
                log.warning("%s: %s: %s%s", self._function_name, settlement.outcome.value, settlement.error, where)

    def remove(self, entries: Collection[Entry], outcome: Outcome | None) -> None:
        """Remove entries that share an outcome; None means that they were released."""
        self._entries.difference_update(entries)
        if outcome is not None:
            self._metrics.settled(outcome, len(entries))

    def count_taken(self, entries: Sequence[Entry], redelivered: int) -> None:
        """Count entries that were taken, and measure how long stream entries waited."""
        self._metrics.received.inc(len(entries))
        if redelivered:
            self._metrics.redelivered.inc(redelivered)
        now = time.time()
        self._metrics.wait.observe_all(
            [max(0.0, now - int(entry.id.partition("-")[0]) / 1000) for entry in entries if entry.id is not None]
        )
