"""The reads of streams that were not answered: Redis may have delivered entries to this instance by them."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from listeners.redis.entry_id import EntryId
from listeners.redis.outages.lost_answers import ANSWER_LOST, LostAnswers

__all__ = ["UnansweredReads"]

#: How many claims are remembered while the entries of a lost answer are looked for.
MAX_CLAIMS = 1000


@dataclass(slots=True)
class _Lost:
    """Where the entries of lost answers begin, and what was claimed since the first one was lost."""

    after: EntryId | None
    claimed: set[str] = field(default_factory=set)


class UnansweredReads:
    """Knows which entries of this instance's consumer are accounted for, and where to look for others.

    Entries up to the highest ID that was read or claimed are not looked for. Those that were claimed may be suspects,
    which are called alone.
    """

    def __init__(self) -> None:
        self.answers = LostAnswers()
        self._highest: dict[str, EntryId] = {}
        self._lost: dict[str, _Lost] = {}
        self._reading: set[str] = set()

    @contextlib.contextmanager
    def reading(self, keys: Sequence[str]) -> Iterator[None]:
        """Read streams in this block, while no other caller does. If its answer is lost, entries may be found by the
        next read.
        """
        self._reading.update(keys)
        try:
            yield
        except ANSWER_LOST:
            for key in keys:
                self.answers.note(key)
                self._lost.setdefault(key, _Lost(self._highest.get(key)))
            raise
        finally:
            self._reading.difference_update(keys)

    def know(self, key: str, entry_id: EntryId) -> None:
        """Note the ID of an entry that was delivered before, to this instance or another one."""
        if key not in self._highest or entry_id > self._highest[key]:
            self._highest[key] = entry_id

    def know_claims(self, key: str, ids: Sequence[str]) -> None:
        """Note IDs of entries that are about to be claimed, which the consumer then has."""
        if ids:
            self.know(key, max(map(EntryId.parse, ids)))
        if key in self._lost:
            self._lost[key].claimed.update(ids)
            if len(self._lost[key].claimed) > MAX_CLAIMS:
                self.answers.close(key)
                self.forget_closed(key)

    def is_due(self, key: str) -> bool:
        """Return whether to look for entries now. An answer that is on its way may bring some of them."""
        return self.answers.is_due(key) and key not in self._reading

    def come_first(self, keys: Sequence[str]) -> bool:
        """Return whether entries are looked for, or should be, so that another read has to wait."""
        return any(self.answers.is_due(key) or self.answers.is_asking(key) for key in keys)

    def first_id(self, key: str) -> str:
        """Return the ID from which on entries are looked for."""
        after = self._lost[key].after if key in self._lost else self._highest.get(key)
        return str(after.next()) if after else "-"

    def claimed(self, key: str) -> set[str]:
        """Return the IDs among them that were claimed."""
        return self._lost[key].claimed if key in self._lost else set()

    def forget_closed(self, key: str) -> None:
        """Forget a stream of which no more entries are looked for."""
        if not self.answers.is_open(key):
            self._lost.pop(key, None)
