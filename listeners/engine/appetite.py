"""How many entries to ask Redis for at once. No I/O."""

from collections.abc import Sequence

from listeners.functions.entries import Entry

__all__ = ["Appetite"]

#: How much the latest answer changes the expected size of an entry.
WEIGHT = 0.25
#: The expected size of the first entries.
FIRST_BYTES = 1024 * 1024


class Appetite:
    """Asks for fewer entries after an answer that came too late, and for twice as many after each that came in time.

    It also expects entries to be as large as the last ones were, for sources that cannot look at sizes beforehand.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._limit = capacity
        self._mean_bytes = 0.0

    def count(self, free_slots: int, free_bytes: int) -> int:
        """Return how many entries to ask for: at least one if a slot is free."""
        return max(0, min(free_slots, self._limit, max(1, int(free_bytes / (self._mean_bytes or FIRST_BYTES)))))

    def answered(self, entries: Sequence[Entry]) -> None:
        """Learn from an answer that came in time."""
        if not entries:
            return
        self._limit = min(self._capacity, self._limit * 2)
        mean = sum(entry.size for entry in entries) / len(entries)
        self._mean_bytes += (mean - self._mean_bytes) * (WEIGHT if mean < self._mean_bytes else 1.0)

    def timed_out(self, asked_for: int) -> None:
        """Learn from an answer that did not come in time."""
        self._limit = max(1, min(self._limit, asked_for) // 2)
