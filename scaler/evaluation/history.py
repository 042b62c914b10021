"""The backlog of a trigger over the last minutes, in bounded memory. No I/O."""

from array import array
from collections.abc import Iterable, Iterator

__all__ = ["HISTORY_SECONDS", "History"]

#: The length of a slot. For each slot one number is kept, the highest backlog in it.
SLOT_SECONDS = 10.0
SLOTS = 60
HISTORY_SECONDS = SLOT_SECONDS * SLOTS
MAX_ENTRIES = 2**63 - 1
_EMPTY, _FAILED = -1, -2


class History:
    """The highest backlog of each slot over the last HISTORY_SECONDS, in half a kilobyte for any number of samples.

    Times are seconds on a monotonic clock.
    """

    __slots__ = ("_newest", "_slots")

    def __init__(self) -> None:
        self._slots = array("q", [_EMPTY]) * SLOTS
        self._newest = 0

    @classmethod
    def of(cls, now: float, points: Iterable[tuple[int, int | None]]) -> "History":
        """Return the history that has these points now."""
        history = cls()
        for ago, entries in sorted(points, reverse=True):
            history.add(now - ago * SLOT_SECONDS, entries)
        return history

    def add(self, now: float, entries: int | None) -> None:
        """Record a backlog, or None if it could not be measured."""
        self._advance(now)
        value = _FAILED if entries is None else min(entries, MAX_ENTRIES)
        index = self._newest % SLOTS
        highest = self._slots[index]
        self._slots[index] = value if highest == _EMPTY else max(highest, value)

    def points(self, now: float) -> Iterator[tuple[int, int | None]]:
        """Yield the slots with samples, oldest first: how many slots ago, and the backlog (None: not measurable)."""
        self._advance(now)
        for ago in reversed(range(SLOTS)):
            value = self._slots[(self._newest - ago) % SLOTS]
            if value != _EMPTY:
                yield ago, None if value == _FAILED else value

    def _advance(self, now: float) -> None:
        current = int(now / SLOT_SECONDS)
        for slot in range(max(self._newest + 1, current - SLOTS + 1), current + 1):
            self._slots[slot % SLOTS] = _EMPTY
        self._newest = max(self._newest, current)
