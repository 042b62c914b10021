"""The backlog of a trigger over the last minutes, in bounded memory, and its chart. Pure."""

from array import array
from collections.abc import Iterator

__all__ = ["HISTORY_SECONDS", "History"]

#: One number is kept for so long a time: the highest backlog in it.
SLOT_SECONDS = 10.0
SLOTS = 60
HISTORY_SECONDS = SLOT_SECONDS * SLOTS
MAX_ENTRIES = 2**63 - 1
_NOTHING, _FAILED = -1, -2


class History:
    """The highest backlog of each slot over the last HISTORY_SECONDS: half a kilobyte, however often it is added to.

    Times are seconds on a clock that only goes forward.
    """

    __slots__ = ("_newest", "_slots")

    def __init__(self) -> None:
        self._slots = array("q", [_NOTHING]) * SLOTS
        self._newest = 0

    def add(self, now: float, entries: int | None) -> None:
        """Take note of a backlog; None: it could not be measured."""
        self._advance(now)
        value = _FAILED if entries is None else min(entries, MAX_ENTRIES)
        place = self._newest % SLOTS
        kept = self._slots[place]
        self._slots[place] = value if kept == _NOTHING else max(kept, value)

    def points(self, now: float) -> Iterator[tuple[int, int | None]]:
        """What is known, oldest first: how many slots ago, and the backlog (None: it could not be measured)."""
        self._advance(now)
        for ago in reversed(range(SLOTS)):
            value = self._slots[(self._newest - ago) % SLOTS]
            if value != _NOTHING:
                yield ago, None if value == _FAILED else value

    def _advance(self, now: float) -> None:
        slot = int(now / SLOT_SECONDS)
        for passed in range(max(self._newest + 1, slot - SLOTS + 1), slot + 1):
            self._slots[passed % SLOTS] = _NOTHING
        self._newest = max(self._newest, slot)
