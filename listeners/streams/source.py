"""Reads stream triggers as one consumer of a group, with leases, reclaiming and retries."""

import asyncio
import contextlib
import heapq
import itertools
import logging
import time
from collections import defaultdict
from collections.abc import Sequence

from listeners.connections.spec import ConnectionSpec
from listeners.engine.source import Source
from listeners.errors import GroupMissingError, SourceError
from listeners.functions.entries import Entry, Outcome, Settlement, by_key
from listeners.functions.triggers import StreamTrigger
from listeners.redis.client import Client
from listeners.redis.server_info import ServerInfo
from listeners.runtime.clock import boot_seconds, lease_end
from listeners.runtime.tasks import cancel_until_done
from listeners.streams.consumer import Consumer, id_of
from listeners.text import decode

__all__ = ["StreamSource"]

log = logging.getLogger("triggerfish.host")

#: The longest blocking read. A bound, so that a dead connection is noticed.
MAX_BLOCK_MS = 1000
#: How often entries of dead consumers are reclaimed.
RECLAIM_SECONDS = 1.0
#: How often dead consumers that hold no entry are removed, and after how many idle lease periods.
TIDY_SECONDS = 60.0
TIDY_LEASES = 10
#: How many entries this process holds for a retry. From this number on, nothing new is read.
MAX_HELD = 1000
#: How long a blocking read may still take at a drain: longer than it blocks.
LAST_READ_SECONDS = 1.5
SPARE_CONNECTIONS = 4


class StreamSource(Source):
    """Reads the streams of one trigger as one consumer.

    `instance` is unique to the process. `lease_seconds`: how long a consumer holds an entry without a renewal.
    """

    def __init__(
        self,
        trigger: StreamTrigger,
        function_name: str,
        spec: ConnectionSpec,
        *,
        client_name: str,
        instance: str,
        lease_seconds: float,
    ) -> None:
        self._trigger = trigger
        self._function_name = function_name
        self._lease_ms = int(lease_seconds * 1000)
        # One connection for each blocking read, in addition to those for claiming and settling.
        self._client = Client(spec, client_name, max_connections=len(trigger.keys) + SPARE_CONNECTIONS)
        self._consumer = Consumer(trigger, function_name, self._client, instance, self._lease_ms)
        self._server = ServerInfo()
        #: Entries that this process has read or claimed and not settled. Reclaiming skips them.
        self._in_progress: set[Entry] = set()
        #: Entries held for their retry: (due time, tie-breaker, entry), soonest first.
        self._held: list[tuple[float, int, Entry]] = []
        self._tie_breaker = itertools.count()
        #: Entries read or claimed and not taken yet: claimed from dead consumers, or more than requested.
        self._buffer: list[Entry] = []
        self._reads: dict[tuple[str, ...], asyncio.Task[None]] = {}
        self._room = 0
        self._interrupted = False
        self._tidy_at = 0.0

    async def open(self) -> None:
        self._server = await self._client.server()
        await self._consumer.create_groups()

    async def describe(self) -> str:
        self._server = await self._client.server()
        return f"{self._server}, XREADGROUP as group {self._consumer.group}, consumer {self._consumer.name}"

    async def maintain(self) -> None:
        """Claim entries of dead consumers while there are free slots, and periodically remove such consumers."""
        for key in self._trigger.keys:
            room = 0 if self._interrupted else self._room - len(self._buffer)
            if room > 0:
                with contextlib.suppress(GroupMissingError):  # take() recreates it
                    await self._reclaim(key, room)
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + TIDY_SECONDS
            await self._consumer.remove_dead_consumers(TIDY_LEASES * self._lease_ms)
        if self._buffer and self._room == 0:  # claimed while everything was released
            await self.release([])
        await asyncio.sleep(RECLAIM_SECONDS)

    async def take(self, count: int) -> list[Entry]:
        self._room = count
        await self._buffer_due_retries(count)
        if not self._buffer and len(self._held) >= MAX_HELD:
            await asyncio.sleep(self._block_ms() / 1000)
        elif not self._buffer:
            await self._read(count)
        return self._pop_buffered(count)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        await self._consumer.acknowledge(
            settlement.entry for settlement in settlements if settlement.outcome is Outcome.SUCCEEDED
        )
        for settlement in settlements:
            if settlement.outcome is Outcome.DEAD_LETTERED:
                await self._consumer.dead_letter(settlement)
        # Holding entries for a retry comes last. Unlike the other steps, it must not be repeated after a failure.
        for settlement in settlements:
            if settlement.outcome is Outcome.RETRIED:
                due = time.monotonic() + settlement.delay_ms / 1000
                heapq.heappush(self._held, (due, next(self._tie_breaker), settlement.entry))
            else:
                self._in_progress.discard(settlement.entry)

    async def settle_and_take(self, succeeded: Sequence[Entry], count: int) -> list[Entry]:
        groups = self._client.group_by_slot(self._trigger.keys)
        busy = self._interrupted or self._reads or self._buffer or (self._held and self._held[0][0] <= time.monotonic())
        if busy or len(groups) > 1 or len(self._held) >= MAX_HELD:
            await self._consumer.acknowledge(succeeded)
            self._in_progress.difference_update(succeeded)
            return []
        sent_at = boot_seconds()
        self._add_to_buffer(
            await self._consumer.settle_and_read(succeeded, groups[0], self._per_stream(count)), sent_at
        )
        self._in_progress.difference_update(succeeded)
        return self._pop_buffered(count)

    async def renew(self, entries: Sequence[Entry]) -> None:
        """Claim entries again with JUSTID, which resets their idle time and keeps their delivery count."""
        for key, group in by_key([*entries, *self._queued()]):
            sent_at = boot_seconds()
            kept = {decode(entry_id) for entry_id in await self._consumer.keep(key, [id_of(entry) for entry in group])}
            for entry in group:
                entry.lease_ends_at = self._lease_end(sent_at) if id_of(entry) in kept else 0.0

    def may_start(self, entry: Entry) -> bool:
        return boot_seconds() < entry.lease_ends_at

    def stop_waiting(self) -> None:
        """Stop reclaiming. A blocking XREADGROUP ends by itself; interrupting it could leave entries pending."""
        self._interrupted = True

    async def stop(self) -> list[Entry]:
        """Wait for running reads. Their entries are released together with the others that were not taken."""
        if self._reads:
            await asyncio.wait(self._reads.values(), timeout=LAST_READ_SECONDS)
        return []

    async def release(self, entries: Sequence[Entry]) -> None:
        """Set the idle time of entries to a whole lease (XCLAIM IDLE), so that any consumer may claim them at once."""
        offers: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
        for entry in [*entries, *self._buffer]:
            offers[entry.key, max(entry.deliveries - 1, 0)].append(id_of(entry))
        for _, _, entry in self._held:  # their delivery took place, so it counts
            offers[entry.key, entry.deliveries].append(id_of(entry))
        # Forgotten first, as entries that cannot be released now are reclaimed after their lease.
        self._in_progress.difference_update(entries, self._queued())
        self._buffer, self._held, self._room = [], [], 0
        for (key, deliveries), ids in offers.items():
            await self._consumer.keep(key, ids, "IDLE", self._lease_ms, "RETRYCOUNT", deliveries)

    async def close(self) -> None:
        await cancel_until_done(self._reads.values(), LAST_READ_SECONDS)
        with contextlib.suppress(SourceError):  # other consumers reclaim what this one still holds
            await self._consumer.retire()
        await self._client.aclose()

    def _lease_end(self, sent_at: float) -> float:
        return lease_end(sent_at, self._lease_ms / 1000)

    def _pop_buffered(self, count: int) -> list[Entry]:
        entries = self._buffer[:count]
        del self._buffer[:count]
        return entries

    def _per_stream(self, count: int) -> int:
        """Return COUNT for each stream. With more keys than `count`, a read may return a few entries too many."""
        return max(1, count // len(self._trigger.keys))

    def _queued(self) -> list[Entry]:
        return [entry for _, _, entry in self._held] + self._buffer

    def _block_ms(self) -> int:
        """Return how long to wait: at most the polling interval, and no longer than until the next retry is due."""
        max_ms = min(self._trigger.polling_interval_ms, MAX_BLOCK_MS)
        if self._held:
            max_ms = min(max_ms, int((self._held[0][0] - time.monotonic()) * 1000))
        return max(max_ms, 1)

    async def _read(self, count: int) -> None:
        """Read new entries: one XREADGROUP for all keys, or in a cluster one per slot.

        A blocking read may outlast this call. Its entries are in progress as soon as it returns them.
        """
        per_stream = self._per_stream(count)
        for keys in self._client.group_by_slot(self._trigger.keys):
            if keys not in self._reads:
                self._reads[keys] = asyncio.create_task(self._read_together(keys, per_stream), name=f"reading {keys}")
        # Each ends by itself after its BLOCK or the connection's timeout. No reply yet does not count as success.
        await asyncio.wait(self._reads.values(), return_when=asyncio.FIRST_COMPLETED)
        done = {keys: read for keys, read in self._reads.items() if read.done()}
        for keys in done:
            del self._reads[keys]
        errors = [error for read in done.values() if (error := read.exception()) is not None]
        if errors:
            raise errors[0]

    async def _read_together(self, keys: tuple[str, ...], count: int) -> None:
        sent_at = boot_seconds()
        try:
            entries = await self._consumer.read(keys, count, self._block_ms())
        except GroupMissingError as error:
            await self._consumer.create_groups()
            log.warning(
                "%s: %s; recreated group %r, so entries still in the stream are delivered again",
                self._function_name,
                error,
                self._consumer.group,
            )
            return
        self._add_to_buffer(entries, sent_at)

    def _add_to_buffer(self, entries: list[Entry], sent_at: float) -> None:
        """Buffer entries that were requested at `sent_at` and are held now, until take() returns them."""
        ends_at = self._lease_end(sent_at)
        for entry in entries:
            entry.lease_ends_at = ends_at
        self._in_progress.update(entries)
        self._buffer += entries

    async def _buffer_due_retries(self, count: int) -> None:
        """Move held entries whose retry is due to the buffer, until it has `count` entries."""
        while self._held and self._held[0][0] <= time.monotonic() and len(self._buffer) < count:
            held = heapq.heappop(self._held)
            entry, sent_at = held[2], boot_seconds()
            try:
                # The server counts the delivery before it is made, so that a crash during it counts.
                kept = await self._consumer.keep(entry.key, [id_of(entry)], "RETRYCOUNT", entry.deliveries + 1)
            except BaseException:
                heapq.heappush(self._held, held)
                raise
            if kept:
                entry.deliveries += 1
                entry.lease_ends_at = self._lease_end(sent_at)
                self._buffer.append(entry)
            else:  # settled by another consumer, or deleted
                self._in_progress.discard(entry)

    async def _reclaim(self, key: str, room: int) -> None:
        """Claim entries whose lease expired.

        Uses XPENDING and XCLAIM, not XAUTOCLAIM: every version has them, and XPENDING returns the delivery count.
        """
        in_progress = {id_of(entry) for entry in self._in_progress if entry.key == key}
        deliveries = dict(await self._consumer.overdue(self._server, key, room, in_progress))
        if not deliveries:
            return
        sent_at = boot_seconds()
        claimed = await self._consumer.claim(key, deliveries)
        self._add_to_buffer(claimed, sent_at)
        await self._consumer.settle_deleted(key, set(deliveries) - {id_of(entry) for entry in claimed})
