"""Reads stream triggers as one instance of a group, with leases, reclaiming and retries."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

from listeners.engine.lease_keeper import RENEWALS_PER_LEASE
from listeners.engine.metrics import FunctionMetrics
from listeners.engine.settlement import Outcome, Refusal, Settlement
from listeners.engine.source import Description, LeasedSource, LeaseRenewal
from listeners.errors import GroupMissingError, SourceError
from listeners.functions.entries import Entry, by_key
from listeners.functions.triggers import StreamTrigger
from listeners.redis.client import Client
from listeners.redis.server_info import ServerInfo
from listeners.runtime.clock import boot_seconds
from listeners.runtime.logs import steady_logger
from listeners.runtime.tasks import wait_for_event
from listeners.streams.adoption import Adoption
from listeners.streams.consumer import Consumer
from listeners.streams.held import HeldEntries
from listeners.streams.leases import StreamLeases
from listeners.streams.reclaiming import QUIET_SECONDS, Reclaiming
from listeners.streams.refused import REFUSALS, RefusedStreams
from listeners.streams.retries import Retries
from listeners.tracking.lookout import Look, Lookout
from listeners.tracking.watch import Watch

__all__ = ["StreamSource"]

log = steady_logger("triggerfish.host")

#: How often pending entries whose lease is over are looked for.
RECLAIM_SECONDS = 2.0
#: How often dead consumers that hold no entry are removed.
TIDY_SECONDS = 60.0
#: How many entries this process keeps waiting for a retry. From this number on, nothing new is read.
MAX_WAITING = 1000
#: How many entries are read in one step at most.
MAX_READ = 1000


class StreamSource(LeasedSource):
    """Reads the streams of one trigger.

    `instance` is unique to the process. `lease_seconds`: how long a consumer holds an entry without a renewal.
    `leases` is a client to be used on another event loop.
    """

    def __init__(
        self,
        trigger: StreamTrigger,
        function_name: str,
        client: Client,
        leases: Client,
        watch: Watch,
        *,
        instance: str,
        lease_seconds: float,
        metrics: FunctionMetrics,
    ) -> None:
        self._trigger = trigger
        self._function_name = function_name
        self._instance = instance
        self._lease_ms = int(lease_seconds * 1000)
        self._client = client
        self._leases = leases
        poll = trigger.polling_interval_ms / 1000
        self._lookout = Lookout(
            watch, trigger.keys, entries_exist=False, polling_seconds=poll, on_polled=metrics.polled
        )
        self._consumer = Consumer(
            trigger,
            function_name,
            client,
            instance=instance,
            lease_ms=self._lease_ms,
            metrics=metrics,
            on_return=self._lookout.wake,
        )
        self._retries = Retries(self._consumer)
        self._held = HeldEntries(self._consumer, self._retries)
        self._reclaiming = Reclaiming(self._consumer, self._lookout)
        self._unreachable = self._consumer.unreachable
        self._adoption = Adoption(self._consumer, self._held, self._retries, self._reclaiming)
        self.suspects = self._reclaiming.suspects
        self._server = ServerInfo()
        #: Entries that were read and not returned by take() yet.
        self._buffer: list[Entry] = []
        self._is_open = False
        self._refused = RefusedStreams(trigger.keys, self._consumer, self._retries, self._reclaiming, self._lookout)
        #: Two reads of one stream could be answered in the other order, which looks like lost data.
        self._one_read = asyncio.Lock()
        self._interrupted = False
        self._tidy_at = 0.0

    async def open(self) -> None:
        self._server = await self._client.server()
        self._is_open = True
        self._refused.clear()
        for key in self._unreachable.without(self._trigger.keys):
            with self._refused.noting(key), self._unreachable.passing_over(key):
                await self._consumer.create_group(key)

    async def describe(self) -> Description:
        self._server = await self._client.server()
        group, consumer = self._consumer.group, self._consumer.claims.names.taken
        waits = await self._lookout.describe()
        return Description(f"{self._server}, XREADGROUP as group {group}, consumer {consumer}, {waits}")

    async def maintain(self) -> None:
        """Find entries whose lease is over, and periodically remove dead consumers."""
        if self._retries.forget_gone():  # there may be room again
            self._lookout.wake()
        self._consumer.lost.report()
        tidies = time.monotonic() >= self._tidy_at
        if tidies:
            self._tidy_at = time.monotonic() + TIDY_SECONDS
        with self._held.noting_outages():
            await self._client.for_each_key(self._trigger.keys, lambda key: self._maintain_stream(key, tidies=tidies))
        await asyncio.sleep(min(RECLAIM_SECONDS, self._lease_ms / 1000 / RENEWALS_PER_LEASE))
        if all(self._reclaiming.is_quiet(key) for key in self._trigger.keys):
            await wait_for_event(self._lookout.awake, QUIET_SECONDS / 2)

    async def take(self, count: int, max_bytes: int) -> list[Entry]:
        try:
            if self._buffer or await self._lookout.wait():
                await self._fill_buffer(min(count, MAX_READ))
        except SourceError as error:
            await self._failed(error)
            raise
        return self._pop_buffered(count)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Refusal]:
        refusals = await self._held.settle(settlements)
        if any(settlement.outcome is Outcome.RETRIED for settlement in settlements):
            self._lookout.wake()
        return refusals

    async def settle_and_take(self, succeeded: Sequence[Entry], count: int, max_bytes: int) -> list[Entry]:
        groups = self._client.group_by_slot(self._refused.readable_keys())
        first_others = self._buffer or self._has_available()
        may_read = not self._interrupted and not first_others and len(self._retries) < MAX_WAITING
        may_read = may_read and not self._consumer.unanswered.come_first(groups[0])
        one_slot = len(groups) == 1 and {entry.key for entry in succeeded}.issubset(groups[0])
        if not may_read or not one_slot or not self._held.surely(succeeded):
            await self._held.acknowledge(succeeded)
            return []
        number = self._per_stream(min(count, MAX_READ))
        look = self._lookout.begin()
        try:
            async with self._one_read:
                entries, gaps = await self._consumer.settle_and_read(succeeded, groups[0], number)
                for key in gaps:
                    self._held.doubt(key)
                self._add_read(entries)
        except SourceError as error:
            await self._failed(error)
            raise
        self._looked(look, entries, number)
        self._held.remove(succeeded)
        return self._pop_buffered(count)

    async def take_suspect(self) -> Entry | None:
        try:
            suspect = await self._reclaiming.take_suspect()
        except SourceError as error:
            await self._failed(error)
            raise
        self._held.add([suspect] if suspect is not None else [])
        return suspect

    async def begin(self, entry: Entry, *, counts: bool) -> bool:
        return await self._held.begin(entry, counts=counts)

    def renewal(self) -> LeaseRenewal:
        return StreamLeases(
            self._leases,
            self._trigger.consumer_group,
            self._instance,
            self._lease_ms,
            queued=lambda: list(self._buffer),
            retries=self._retries,
        )

    def may_start(self, entry: Entry) -> bool:
        return boot_seconds() < entry.lease_ends_at

    def end_wait(self) -> None:
        self._lookout.end_wait()

    def stop_waiting(self) -> None:
        """Stop claiming and waiting. A running read is not interrupted, as that could leave entries pending."""
        self._interrupted = True
        self._lookout.stop()

    async def stop(self, seconds: float) -> list[Entry]:
        """Return nothing: entries that were not taken are released with the others."""
        return []

    async def release(self, entries: Sequence[Entry]) -> None:
        """Set the idle time of entries to a whole lease (XCLAIM IDLE), so that any instance may claim them at once."""
        queued, self._buffer = self._buffer, []
        try:
            await self._held.release([*entries, *queued])
        except BaseException:
            self._buffer = [*(entry for entry in queued if entry in self._held), *self._buffer]
            raise
        with self._held.noting_outages():
            await self._retries.release()

    async def close(self) -> None:
        self._lookout.close()
        if self._is_open:
            with contextlib.suppress(SourceError):  # other instances reclaim what this one still holds
                await self._consumer.retire()
        self._consumer.lost.report(closing=True)

    def _add(self, entries: Sequence[Entry]) -> None:
        """Buffer entries that are held now, until take() returns them."""
        self._held.add(entries)
        self._buffer = [*self._buffer, *entries]

    def _add_read(self, entries: Sequence[Entry]) -> None:
        """Buffer entries that were read for the first time."""
        self._held.add_read(entries)
        self._buffer = [*(entry for entry in self._buffer if entry in self._held), *entries]

    def _has_available(self) -> bool:
        """Return whether entries that were delivered before can be taken."""
        return self._retries.is_due() or self._reclaiming.has_ordinary()

    def _pop_buffered(self, count: int) -> list[Entry]:
        entries = self._buffer[:count]
        del self._buffer[:count]
        return entries

    def _per_stream(self, count: int) -> int:
        """Return COUNT for each stream. With more keys than `count`, a read may return a few entries too many."""
        return max(1, count // len(self._trigger.keys))

    async def _fill_buffer(self, number: int) -> None:
        """Take entries that were delivered before, or else read new ones."""
        look = self._lookout.begin()
        while len(self._buffer) < number and not self._interrupted and self._has_available():
            room = number - len(self._buffer)
            self._add(await self._retries.take_due(room) or await self._reclaiming.take_ordinary(room))
        if self._buffer:
            self._lookout.wake()  # new entries were not looked for
        elif len(self._retries) < MAX_WAITING:
            async with self._one_read:
                await self._read(look, number)
        else:
            self._lookout.ended(look, 0, more=False, due_seconds=self._retries.seconds_to_next())

    async def _read(self, look: Look, count: int) -> None:
        """Read new entries: one XREADGROUP for all keys, or in a cluster one per slot."""
        per_stream = self._per_stream(count)
        groups = self._client.group_by_slot(self._refused.readable_keys())
        if len(groups) == 1:
            self._looked(look, await self._read_together(groups[0], per_stream), per_stream)
            return
        reads = [self._read_together(keys, per_stream) for keys in groups]
        found = await asyncio.gather(*reads, return_exceptions=True)
        entries = [entry for each in found if not isinstance(each, BaseException) for entry in each]
        errors = [each for each in found if isinstance(each, BaseException)]
        if errors:
            raise errors[0]
        self._looked(look, entries, per_stream)

    async def _read_together(self, keys: tuple[str, ...], count: int) -> list[Entry]:
        try:
            with self._unreachable.passing_over(*keys):
                if entries := await self._adoption.adopt(keys, count):
                    self._add(entries)
                else:
                    entries = await self._consumer.read(keys, count)
                    self._add_read(entries)
                return entries
        except GroupMissingError as error:
            await self._recreate_groups(error)
        return []

    def _looked(self, look: Look, entries: Sequence[Entry], per_stream: int) -> None:
        """Note what a read of new entries has found."""
        more = len(entries) >= per_stream
        if more and len(self._trigger.keys) > 1:
            more = any(len(of_key) >= per_stream for _, of_key in by_key(entries))
        self._lookout.ended(look, len(entries), more=more, due_seconds=None if more else self._seconds_to_next())

    def _seconds_to_next(self) -> float | None:
        """Return in how many seconds a retry is due, or the question what a read did whose answer was lost."""
        answers = self._consumer.unanswered.answers
        due = (self._retries.seconds_to_next(), *map(answers.seconds_to_next, self._refused.readable_keys()))
        return min((seconds for seconds in due if seconds is not None), default=None)

    async def _maintain_stream(self, key: str, *, tidies: bool) -> None:
        answers = key not in self._refused and not self._unreachable.leaves_out(key)
        if self._interrupted or (answers and not tidies and self._reclaiming.is_quiet(key)):
            return
        with self._refused.noting(key), self._unreachable.probing(key):
            try:
                await self._reclaiming.scan(key, self._server, self._held.ids(key) | self._retries.ids(key))
                if self._reclaiming.has_ordinary():
                    self._lookout.wake()
                if tidies:
                    await self._consumer.remove_dead_consumers(key)
            except GroupMissingError:  # take() or another instance recreates it
                self._held.doubt(key)
        self._refused.raise_error(key)

    async def _failed(self, error: SourceError) -> None:
        """After an outage, doubt what is held. After a refusal, find out which streams it concerns."""
        self._held.note_outage(error)
        if isinstance(error, REFUSALS):
            with self._held.noting_outages():
                await self._refused.find()

    async def _recreate_groups(self, error: GroupMissingError) -> None:
        """Recreate missing groups, and forget what was held in them. Another instance may have been faster."""
        for key in self._unreachable.without(self._trigger.keys):
            with self._refused.noting(key), self._unreachable.passing_over(key):
                self._held.doubt(key)
                if await self._consumer.create_group(key):
                    self._retries.forget(key)
                    self._held.forget(key)
                    self._buffer = [entry for entry in self._buffer if entry.key != key]
        self._lookout.wake()
        log.warning(
            "%s: %s; recreated group %r, so entries still in the stream are delivered again",
            self._function_name,
            error,
            self._consumer.group,
        )
