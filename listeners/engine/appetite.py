"""How many entries to ask Redis for at once. No I/O."""

__all__ = ["Appetite"]

#: How much more is asked for after each answer that came in time.
GROWTH = 1 + 1 / 16
#: How much the latest answer changes the expected size of an entry.
WEIGHT = 0.25
#: The expected size of the first entries. Small enough to take a whole batch at first: parts of a batch that are taken
#: one after the other would be settled one after the other, too, in twice as many steps.
FIRST_BYTES = 256 * 1024


class Appetite:
    """Asks for half as many entries after an answer that came too late, and for more again step by step.

    It also expects entries to be as large as the last ones were, for sources that cannot look at sizes beforehand.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._limit = float(capacity)
        self._mean_bytes = 0.0

    def count(self, free_slots: int, free_bytes: int) -> int:
        """Return how many entries to ask for: at least one if a slot is free."""
        expected = max(1, int(free_bytes / (self._mean_bytes or FIRST_BYTES)))
        return max(0, min(free_slots, int(self._limit), expected))

    def answered(self, number: int, size: int) -> None:
        """Learn from an answer that came in time: `number` entries with `size` bytes of content in all."""
        if not number:
            return
        self._limit = min(self._capacity, self._limit * GROWTH)
        mean = size / number
        self._mean_bytes += (mean - self._mean_bytes) * (WEIGHT if mean < self._mean_bytes else 1.0)

    def timed_out(self, asked_for: int) -> None:
        """Learn from an answer that did not come in time."""
        self._limit = max(1.0, min(self._limit, asked_for) / 2)
