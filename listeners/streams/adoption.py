"""Adopts entries that Redis has delivered to this instance in an answer that was lost."""

from collections.abc import Sequence

from listeners.errors import GroupMissingError
from listeners.functions.entries import Entry
from listeners.redis.entry_id import EntryId
from listeners.runtime.clock import boot_seconds
from listeners.streams.consumer import Consumer, id_of
from listeners.streams.held import HeldEntries
from listeners.streams.reclaiming import Reclaiming
from listeners.streams.retries import Retries
from listeners.text import decode

__all__ = ["Adoption"]

#: How many pending entries are read in one step.
PAGE = 100


class Adoption:
    """Adopts entries that are pending for this instance and that nothing else here has. They have not been called."""

    def __init__(self, consumer: Consumer, held: HeldEntries, retries: Retries, reclaiming: Reclaiming) -> None:
        self._consumer = consumer
        self._unanswered = consumer.unanswered
        self._held = held
        self._retries = retries
        self._reclaiming = reclaiming

    async def adopt(self, keys: Sequence[str], count: int) -> list[Entry]:
        """Adopt up to `count` entries of one of these streams, if answers to reads were lost. Raises SourceError."""
        for key in keys:
            if self._unanswered.is_due(key) and (entries := await self._adopt(key, count)):
                return entries
        return []

    async def _adopt(self, key: str, count: int) -> list[Entry]:
        entries: list[Entry] = []
        try:
            with self._unanswered.answers.asking(key):
                sent_at = boot_seconds()
                found = await self._find(key, count)
                taken = self._consumer.claims.names.taken
                moved = await self._consumer.claims.move(key, dict.fromkeys(found), held_by=(taken,), to=None)
                still_held = {entry_id: number for entry_id, number in found.items() if entry_id in moved.ids}
                entries = await self._consumer.with_content(key, still_held, sent_at)
                if len(found) == count:
                    self._unanswered.answers.note(key)  # there may be more
        except GroupMissingError:  # nothing is pending; the next read recreates the group
            pass
        finally:
            self._unanswered.forget_closed(key)
        known = self._known(key)  # a suspect may have been claimed meanwhile
        return [entry for entry in entries if id_of(entry) not in known]

    async def _find(self, key: str, count: int) -> dict[str, int]:
        """Return the IDs of up to `count` entries that nothing here has, and their delivery counts."""
        found: dict[str, int] = {}
        start, full = self._unanswered.first_id(key), True
        while full and len(found) < count:
            rows = await self._consumer.pending(key, start, "+", PAGE, self._consumer.claims.names.taken)
            known = self._known(key)
            found |= {entry_id: row[3] for row in rows if (entry_id := decode(row[0])) not in known}
            full = len(rows) == PAGE
            if full:
                start = str(EntryId.parse(rows[-1][0]).next())
        return dict(list(found.items())[:count])

    def _known(self, key: str) -> set[str]:
        reclaiming = self._reclaiming.ids(key) | self._unanswered.claimed(key)
        return self._held.ids(key) | self._retries.ids(key) | reclaiming
