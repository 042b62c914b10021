"""The entries that this process has taken and not settled, and how they are settled."""

import contextlib
import math
from collections.abc import Awaitable, Iterable, Iterator, Sequence

from listeners.engine.settlement import Outcome, Refusal, Settlement
from listeners.errors import SourceError, SourceTimeoutError, SourceUnavailableError
from listeners.functions.entries import Entry, by_key
from listeners.redis.entry_id import EntryId
from listeners.runtime.clock import boot_seconds
from listeners.streams.consumer import Consumer, id_of
from listeners.streams.retries import Retries

__all__ = ["HeldEntries"]


class HeldEntries:
    """The entries of one trigger that this process holds: queued in the source, or in progress."""

    def __init__(self, consumer: Consumer, retries: Retries) -> None:
        self._consumer = consumer
        self._retries = retries
        self._entries: set[Entry] = set()
        #: Those that were taken before Redis was unreachable, or before it turned out to have lost data.
        self._uncertain: set[Entry] = set()
        #: The last ID that was read from each stream.
        self._last_read: dict[str, EntryId] = {}

    def __contains__(self, entry: Entry) -> bool:
        return entry in self._entries

    def ids(self, key: str) -> set[str]:
        """Return the IDs of those in one stream."""
        return {id_of(entry) for entry in self._entries if entry.key == key}

    def add(self, entries: Iterable[Entry]) -> None:
        """Add entries that were taken."""
        self._entries.update(entries)

    def add_read(self, entries: Sequence[Entry]) -> None:
        """Add entries that were read for the first time, in order.

        If their IDs do not follow those of the last read, the group lost data or was set back. It delivers entries from
        the first ID on again, so those that were held before are forgotten.
        """
        for key, group in by_key(entries):
            first, last = _parsed(group[0]), _parsed(group[-1])
            if key in self._last_read and first <= self._last_read[key]:
                self.doubt(key)
                self._retries.forget(key)
                self.remove([entry for entry in self._entries if entry.key == key and _parsed(entry) >= first])
            self._last_read[key] = last
            self._consumer.unanswered.know(key, last)
        self.add(entries)

    def doubt(self, key: str) -> None:
        """Note that Redis has lost data of a stream, so that others may hold the entries that this process holds."""
        self._uncertain.update(entry for entry in self._entries if entry.key == key)

    def remove(self, entries: Iterable[Entry]) -> None:
        """Remove entries that were settled, or that turned out to be gone."""
        removed = list(entries)
        self._entries.difference_update(removed)
        self._uncertain.difference_update(removed)

    def forget(self, key: str) -> None:
        """Forget the entries of one stream: its group was recreated, so nothing is pending."""
        self.remove([entry for entry in self._entries if entry.key == key])

    async def settle(self, settlements: Sequence[Settlement]) -> list[Refusal]:
        """Settle entries according to their outcome, and return what Redis refused; see Source."""
        # An entry that was settled or released before may have been given to another holder since.
        own = [settlement for settlement in settlements if settlement.entry in self._entries]
        refusals: list[Refusal] = []

        async def settle_in(key: str) -> None:
            of_key = [settlement for settlement in own if settlement.entry.key == key]
            try:
                with self._consumer.unreachable.reaching(key):
                    refusals.extend(await self._settle_in(key, of_key))
            except (SourceUnavailableError, SourceTimeoutError) as error:
                if not self._consumer.unreachable.leaves_out(key):
                    raise
                refusals.extend(Refusal(settlement, error) for settlement in of_key)

        with self.noting_outages():
            keys = dict.fromkeys(settlement.entry.key for settlement in own)
            await self._consumer.client.for_each_key(keys, settle_in)
        return refusals

    async def acknowledge(self, entries: Sequence[Entry]) -> None:
        """Settle entries whose calls succeeded."""
        groups = dict(by_key(entry for entry in entries if entry in self._entries))

        async def acknowledge_in(key: str) -> None:
            with self._consumer.unreachable.reaching(key):
                await self._acknowledge(key, groups[key])
            self.remove(groups[key])

        with self.noting_outages():
            await self._consumer.client.for_each_key(groups, acknowledge_in)

    async def release(self, entries: Sequence[Entry]) -> None:
        """Make entries available to every instance at once (XCLAIM IDLE, with the length of a lease)."""
        groups = dict(by_key(entry for entry in entries if entry in self._entries))

        async def release_in(key: str) -> None:
            await self._release(key, groups[key])
            self.remove(groups[key])

        try:
            with self.noting_outages():
                await self._consumer.client.for_each_key(groups, release_in)
        except SourceError:
            # Their leases are renewed no more. They must be found again by this instance too.
            self.remove(entry for group in groups.values() for entry in group if entry.is_uncalled_suspect)
            raise

    async def begin(self, entry: Entry, *, counts: bool) -> bool:
        """Record that the call with a suspect begins, and fetch its content; see LeasedSource."""
        if entry not in self._entries:
            return False
        names, sent_at = self._consumer.claims.names, boot_seconds()
        with self.noting_outages(), self._consumer.unreachable.reaching(entry.key):
            moved = await self._consumer.claims.move(
                entry.key,
                {id_of(entry): entry.deliveries + 1 if counts else None},
                held_by=(names.taken, names.alone),
                to=names.alone if counts else names.taken,
            )
            self._report_gone([entry])
            deliveries = dict.fromkeys(moved.ids, entry.deliveries)
            found = await self._consumer.with_content(entry.key, deliveries, sent_at)
        if not found:
            self.remove([entry])
            return False
        entry.flat_fields = found[0].flat_fields
        entry.lease_ends_at = max(entry.lease_ends_at, found[0].lease_ends_at)
        return True

    async def _settle_in(self, key: str, settlements: Sequence[Settlement]) -> list[Refusal]:
        """Settle entries of one stream."""
        refusals: list[Refusal] = []
        succeeded, retried = (
            [settlement for settlement in settlements if settlement.outcome is outcome]
            for outcome in (Outcome.SUCCEEDED, Outcome.RETRIED)
        )
        if succeeded:
            entries = [settlement.entry for settlement in succeeded]
            refusals += await self._unless_refused(succeeded, self._acknowledge(key, entries))
        for settlement in settlements:
            if settlement.outcome is Outcome.DEAD_LETTERED:
                dead_letter = self._consumer.dead_letter(settlement, gone=_is_gone(settlement.entry))
                refusals += await self._unless_refused([settlement], dead_letter)
        if retried:
            refusals += await self._unless_refused(retried, self._keep_for_retry(key, retried))
        self.remove(settlement.entry for settlement in settlements if settlement.outcome is Outcome.LAPSED)
        return refusals

    async def _acknowledge(self, key: str, entries: Sequence[Entry]) -> None:
        """Acknowledge entries of one stream; those that others may have claimed, only if they have not."""
        if self.surely(entries):
            await self._acknowledge_sure(key, entries)
            return
        sure = {entry for entry in entries if self.surely([entry])}
        if sure:
            await self._acknowledge_sure(key, list(sure))
        await self._consumer.acknowledge_held(key, [entry for entry in entries if entry not in sure])

    async def _acknowledge_sure(self, key: str, entries: Sequence[Entry]) -> None:
        if not await self._consumer.acknowledge(key, entries):
            self.doubt(key)

    async def _keep_for_retry(self, key: str, settlements: Sequence[Settlement]) -> None:
        """Move entries of one stream to the waiting consumer, with the call that failed in their delivery count."""
        names = self._consumer.claims.names
        deliveries: dict[str, int] = {id_of(each.entry): each.entry.deliveries + 1 for each in settlements}
        moved = await self._consumer.claims.move(key, deliveries, held_by=names, to=names.waiting)
        self._report_gone(each.entry for each in settlements)
        for each in settlements:
            entry_id = id_of(each.entry)
            if entry_id in moved.ids:
                self._retries.add(key, entry_id, deliveries[entry_id], each.delay_ms / 1000)

    async def _release(self, key: str, entries: Sequence[Entry]) -> None:
        """Release entries of one stream. A suspect whose call has not begun remains a suspect."""
        names, lease_ms = self._consumer.claims.names, self._consumer.lease_ms
        others: dict[str, int | None] = {
            id_of(entry): entry.deliveries for entry in entries if not entry.is_uncalled_suspect
        }
        await self._consumer.claims.move(key, others, held_by=names, to=names.waiting, idle_ms=lease_ms)
        # The count and the state are those before begin(), which may have changed them even if its reply was lost.
        for died_alone, to in ((False, names.taken), (True, names.alone)):
            suspects: dict[str, int | None] = {
                id_of(entry): entry.deliveries
                for entry in entries
                if entry.is_uncalled_suspect and entry.died_alone is died_alone
            }
            held_by = (names.taken, names.alone)
            await self._consumer.claims.move(key, suspects, held_by=held_by, to=to, idle_ms=lease_ms)
        self._report_gone(entries)

    def _report_gone(self, entries: Iterable[Entry]) -> None:
        """Report entries that should be delivered again, and of which a renewal has found that they are gone."""
        self._consumer.lost.add(sum(map(_is_gone, entries)))

    def surely(self, entries: Sequence[Entry]) -> bool:
        """Return whether no other instance can have claimed any of the entries."""
        if not self._entries.issuperset(entries) or not self._uncertain.isdisjoint(entries):
            return False
        return min([entry.lease_ends_at for entry in entries], default=math.inf) > boot_seconds()

    async def _unless_refused(self, settlements: Sequence[Settlement], step: Awaitable[None]) -> list[Refusal]:
        """Run a step that settles entries of one stream. Return the settlements if Redis refuses it."""
        try:
            await step
        except (SourceUnavailableError, SourceTimeoutError):
            raise
        except SourceError as error:
            return [Refusal(settlement, error) for settlement in settlements]
        self.remove(settlement.entry for settlement in settlements)
        return []

    @contextlib.contextmanager
    def noting_outages(self) -> Iterator[None]:
        """After an outage Redis may have older data, in which others hold the entries that this process holds."""
        try:
            yield
        except SourceError as error:
            self.note_outage(error)
            raise

    def note_outage(self, error: SourceError) -> None:
        """Doubt all entries if an error means an outage."""
        if isinstance(error, SourceUnavailableError | SourceTimeoutError):
            self._uncertain |= self._entries


def _parsed(entry: Entry) -> EntryId:
    return EntryId.parse(id_of(entry))


def _is_gone(entry: Entry) -> bool:
    """Return whether a renewal found that the entry was deleted or trimmed while this process held it."""
    return entry.lease_ends_at == math.inf
