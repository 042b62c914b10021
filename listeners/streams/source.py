"""Reads stream triggers: as one consumer of a group, with leases, reclaiming and retries."""

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

#: No blocking read waits longer, so that a dead connection is noticed.
MAX_BLOCK_MS = 1000
#: How often entries of dead consumers are looked for.
RECLAIM_SECONDS = 1.0
#: How often dead consumers that hold nothing are removed, and after how many leases without a sign of life.
TIDY_SECONDS = 60.0
TIDY_LEASES = 10
#: Entries that this process holds back for a retry; while there are more, nothing new is taken.
MAX_HELD = 1000
#: How long a blocking read may still take at the end: longer than it blocks.
LAST_READ_SECONDS = 1.5
SPARE_CONNECTIONS = 4


class StreamSource(Source):
    """The streams of one trigger, read as one consumer.

    `instance` is unique to the process. `lease_seconds`: how long an entry is a consumer's without a sign of life.
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
        # One connection for each blocking read, beside those for claiming and settling.
        self._client = Client(spec, client_name, max_connections=len(trigger.keys) + SPARE_CONNECTIONS)
        self._consumer = Consumer(trigger, function_name, self._client, instance, self._lease_ms)
        self._server = ServerInfo()
        #: What this process has read or claimed and not settled; reclaiming leaves it alone.
        self._in_hand: set[Entry] = set()
        #: Entries that wait for their retry: (when, tie-breaker, entry), soonest first.
        self._held: list[tuple[float, int, Entry]] = []
        self._tie_breaker = itertools.count()
        #: Entries that are ours in Redis and not taken yet: claimed from dead consumers, or more than was asked for.
        self._ahead: list[Entry] = []
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
        """Claim what dead consumers left behind, as far as there is room; now and then remove such consumers."""
        for key in self._trigger.keys:
            room = 0 if self._interrupted else self._room - len(self._ahead)
            if room > 0:
                with contextlib.suppress(GroupMissingError):  # take() makes it again
                    await self._reclaim(key, room)
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + TIDY_SECONDS
            await self._consumer.remove_dead_consumers(TIDY_LEASES * self._lease_ms)
        if self._ahead and self._room == 0:  # claimed while everything was handed back
            await self.release([])
        await asyncio.sleep(RECLAIM_SECONDS)

    async def take(self, count: int) -> list[Entry]:
        self._room = count
        await self._bring_due_retries(count)
        if not self._ahead and len(self._held) >= MAX_HELD:
            await asyncio.sleep(self._block_ms() / 1000)
        elif not self._ahead:
            await self._read(count)
        return self._handed_out(count)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        await self._consumer.acknowledge(
            settlement.entry for settlement in settlements if settlement.outcome is Outcome.SUCCEEDED
        )
        for settlement in settlements:
            if settlement.outcome is Outcome.DEAD_LETTERED:
                await self._consumer.dead_letter(settlement)
        # Holding for a retry comes last: unlike the rest, it must not be done again when an earlier step failed.
        for settlement in settlements:
            if settlement.outcome is Outcome.RETRIED:
                due = time.monotonic() + settlement.delay_ms / 1000
                heapq.heappush(self._held, (due, next(self._tie_breaker), settlement.entry))
            else:
                self._in_hand.discard(settlement.entry)

    async def settle_and_take(self, succeeded: Sequence[Entry], count: int) -> list[Entry]:
        groups = self._client.group_by_slot(self._trigger.keys)
        busy = self._interrupted or self._reads or self._ahead or (self._held and self._held[0][0] <= time.monotonic())
        if busy or len(groups) > 1 or len(self._held) >= MAX_HELD:
            await self._consumer.acknowledge(succeeded)
            self._in_hand.difference_update(succeeded)
            return []
        sent_at = boot_seconds()
        self._own(await self._consumer.settle_and_read(succeeded, groups[0], self._share(count)), sent_at)
        self._in_hand.difference_update(succeeded)
        return self._handed_out(count)

    async def renew(self, entries: Sequence[Entry]) -> None:
        """XCLAIM to ourselves with JUSTID: the idle time starts again, the delivery count stays."""
        for key, group in by_key([*entries, *self._waiting()]):
            sent_at = boot_seconds()
            kept = {decode(entry_id) for entry_id in await self._consumer.keep(key, [id_of(entry) for entry in group])}
            for entry in group:
                entry.lease_ends_at = self._lease_end(sent_at) if id_of(entry) in kept else 0.0

    def may_start(self, entry: Entry) -> bool:
        return boot_seconds() < entry.lease_ends_at

    def stop_waiting(self) -> None:
        """Reclaim nothing more. A blocking XREADGROUP ends by itself: cut off, it could leave entries behind."""
        self._interrupted = True

    async def stop(self) -> list[Entry]:
        """Wait for reads that are under way: what they bring is handed back with what was read ahead."""
        if self._reads:
            await asyncio.wait(self._reads.values(), timeout=LAST_READ_SECONDS)
        return []

    async def release(self, entries: Sequence[Entry]) -> None:
        """XCLAIM with an idle time past the lease, so that any consumer may claim it at once."""
        offers: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
        for entry in [*entries, *self._ahead]:
            offers[entry.key, max(entry.deliveries - 1, 0)].append(id_of(entry))
        for _, _, entry in self._held:  # these have had their delivery
            offers[entry.key, entry.deliveries].append(id_of(entry))
        # Forgotten first: what Redis does not hear of now is reclaimed after its lease.
        self._in_hand.difference_update(entries, self._waiting())
        self._ahead, self._held, self._room = [], [], 0
        for (key, deliveries), ids in offers.items():
            await self._consumer.keep(key, ids, "IDLE", self._lease_ms, "RETRYCOUNT", deliveries)

    async def close(self) -> None:
        await cancel_until_done(self._reads.values(), LAST_READ_SECONDS)
        with contextlib.suppress(SourceError):  # what a consumer leaves behind is reclaimed by others
            await self._consumer.retire()
        await self._client.aclose()

    def _lease_end(self, sent_at: float) -> float:
        return lease_end(sent_at, self._lease_ms / 1000)

    def _handed_out(self, count: int) -> list[Entry]:
        entries = self._ahead[:count]
        del self._ahead[:count]
        return entries

    def _share(self, count: int) -> int:
        """COUNT is per stream, so it is shared out; with more keys than `count` a read may bring a few too many."""
        return max(1, count // len(self._trigger.keys))

    def _waiting(self) -> list[Entry]:
        return [entry for _, _, entry in self._held] + self._ahead

    def _block_ms(self) -> int:
        """How long to wait: the polling interval, or until the next retry is due."""
        longest = min(self._trigger.polling_interval_ms, MAX_BLOCK_MS)
        if self._held:
            longest = min(longest, int((self._held[0][0] - time.monotonic()) * 1000))
        return max(longest, 1)

    async def _read(self, count: int) -> None:
        """XREADGROUP of what was never delivered: one read for all keys, in a cluster one for those of each slot.

        A read that waits outlasts this call: its entries are ours as soon as it has them.
        """
        share = self._share(count)
        for keys in self._client.group_by_slot(self._trigger.keys):
            if keys not in self._reads:
                self._reads[keys] = asyncio.create_task(self._read_together(keys, share), name=f"reading {keys}")
        # Each ends by itself after its BLOCK, or with the connection's time-out: no answer yet is no success.
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
                "%s: %s; group %r is made again: what is still in the stream is delivered again",
                self._function_name,
                error,
                self._consumer.group,
            )
            return
        self._own(entries, sent_at)

    def _own(self, entries: list[Entry], sent_at: float) -> None:
        """Keep entries that are ours in Redis now, as they were asked for at this time, until take() hands them out."""
        ends_at = self._lease_end(sent_at)
        for entry in entries:
            entry.lease_ends_at = ends_at
        self._in_hand.update(entries)
        self._ahead += entries

    async def _bring_due_retries(self, count: int) -> None:
        """Move held entries whose time has come to those that take() hands out, up to `count` in all."""
        while self._held and self._held[0][0] <= time.monotonic() and len(self._ahead) < count:
            held = heapq.heappop(self._held)
            entry, sent_at = held[2], boot_seconds()
            try:
                # On the server too the delivery counts before it is made, so that a crash in it counts.
                kept = await self._consumer.keep(entry.key, [id_of(entry)], "RETRYCOUNT", entry.deliveries + 1)
            except BaseException:
                heapq.heappush(self._held, held)
                raise
            if kept:
                entry.deliveries += 1
                entry.lease_ends_at = self._lease_end(sent_at)
                self._ahead.append(entry)
            else:  # settled by another consumer, or deleted
                self._in_hand.discard(entry)

    async def _reclaim(self, key: str, room: int) -> None:
        """Claim entries whose consumer gave no sign of life for a lease.

        XPENDING and XCLAIM rather than XAUTOCLAIM: every version has them, and XPENDING tells the delivery count.
        """
        in_hand = {id_of(entry) for entry in self._in_hand if entry.key == key}
        deliveries = dict(await self._consumer.overdue(self._server, key, room, in_hand))
        if not deliveries:
            return
        sent_at = boot_seconds()
        claimed = await self._consumer.claim(key, deliveries)
        self._own(claimed, sent_at)
        await self._consumer.settle_deleted(key, set(deliveries) - {id_of(entry) for entry in claimed})
