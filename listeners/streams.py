"""Reads stream triggers: as one consumer of a group, with leases, reclaiming and retries."""

import asyncio
import contextlib
import heapq
import itertools
import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from listeners.client import Client, Script
from listeners.clock import boot_seconds, lease_end
from listeners.connection import ConnectionSpec
from listeners.deadletters import DEAD_LETTERS_KEPT, dead_letter_fields, dead_letters_key
from listeners.errors import CommandRefusedError, GroupMissingError, SourceError
from listeners.messages import Entry, Outcome, Settlement, by_key, text
from listeners.server import Server
from listeners.supervisor import cancel_until_done
from listeners.triggers import StreamTrigger

__all__ = ["StreamSource"]

log = logging.getLogger("triggerfish.host")

#: No blocking read waits longer, so that a dead connection is noticed.
MAX_BLOCK_MS = 1000
#: How often entries of dead consumers are looked for, and how many are looked at.
RECLAIM_SECONDS = 1.0
RECLAIM_PAGE = 100
#: How often dead consumers that hold nothing are removed, and after how many leases without a sign of life.
TIDY_SECONDS = 60.0
TIDY_LEASES = 10
#: Entries that this process holds back for a retry; while there are more, nothing new is taken.
MAX_HELD = 1000
#: Entries that one script keeps: Lua's unpack has a limit.
KEEP_PAGE = 1000
CONSUMER_PREFIX = "triggerfish-"
#: How long a blocking read may still take at the end: longer than it blocks.
LAST_READ_SECONDS = 1.5
SPARE_CONNECTIONS = 4


class StreamSource:
    """The streams of one trigger, read as one consumer.

    `instance` is unique to the process. `lease_seconds`: how long an entry is a consumer's without a sign of life.
    """

    def __init__(
        self,
        trigger: StreamTrigger,
        function: str,
        spec: ConnectionSpec,
        *,
        client_name: str,
        instance: str,
        lease_seconds: float,
    ) -> None:
        self._trigger = trigger
        self._function = function
        self._group = trigger.consumer_group
        self._consumer = CONSUMER_PREFIX + instance
        self._lease_ms = int(lease_seconds * 1000)
        # One connection for each blocking read, beside those for claiming and settling.
        self._client = Client(spec, client_name, max_connections=len(trigger.keys) + SPARE_CONNECTIONS)
        self._bury = Script("stream_bury")
        self._retire = Script("stream_retire")
        self._keep_own = Script("stream_keep")
        self._server = Server()
        #: What this process has read or claimed and not settled; reclaiming leaves it alone.
        self._in_hand: set[tuple[str, str]] = set()
        #: Entries that wait for their retry: (when, tie-breaker, entry), soonest first.
        self._held: list[tuple[float, int, Entry]] = []
        self._tie_breaker = itertools.count()
        #: Entries that are ours in Redis and not taken yet: claimed from dead consumers, or more than was asked for.
        self._ahead: list[Entry] = []
        self._reads: dict[tuple[str, ...], asyncio.Task[None]] = {}
        self._room = 0
        self._interrupted = False
        self._tidy_at = 0.0
        #: Where the look at pending entries goes on, before Redis 6.2.
        self._cursors: dict[str, str] = {}

    async def open(self) -> None:
        self._server = await self._client.server()
        await self._create_groups()

    async def describe(self) -> str:
        self._server = await self._client.server()
        return f"{self._server}, XREADGROUP as group {self._group}, consumer {self._consumer}"

    async def attend(self) -> None:
        """Claim what dead consumers left behind, as far as there is room; now and then remove such consumers."""
        for key in self._trigger.keys:
            room = 0 if self._interrupted else self._room - len(self._ahead)
            if room > 0:
                with contextlib.suppress(GroupMissingError):  # take() makes it again
                    await self._reclaim(key, room)
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + TIDY_SECONDS
            await self._remove_dead_consumers()
        if self._ahead and self._room == 0:  # claimed while everything was handed back
            await self.hand_back([])
        await asyncio.sleep(RECLAIM_SECONDS)

    async def take(self, count: int) -> list[Entry]:
        self._room = count
        await self._bring_due_retries(count)
        if not self._ahead and len(self._held) >= MAX_HELD:
            await asyncio.sleep(self._block_ms() / 1000)
        elif not self._ahead:
            await self._read(count)
        entries = self._ahead[:count]
        del self._ahead[:count]
        return entries

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        await self._acknowledge(
            settlement.entry for settlement in settlements if settlement.outcome is Outcome.SUCCEEDED
        )
        for settlement in settlements:
            if settlement.outcome is Outcome.DEAD_LETTERED:
                await self._dead_letter(settlement)
        # Holding for a retry comes last: unlike the rest, it must not be done again when an earlier step failed.
        for settlement in settlements:
            if settlement.outcome is Outcome.RETRIED:
                due = time.monotonic() + settlement.delay_ms / 1000
                heapq.heappush(self._held, (due, next(self._tie_breaker), settlement.entry))
            else:
                self._in_hand.discard((settlement.entry.key, _id(settlement.entry)))

    async def renew(self, entries: Sequence[Entry]) -> None:
        """XCLAIM to ourselves with JUSTID: the idle time starts again, the delivery count stays."""
        for key, group in by_key([*entries, *self._waiting()]):
            sent_at = boot_seconds()
            kept = {text(entry_id) for entry_id in await self._keep(key, [_id(entry) for entry in group])}
            for entry in group:
                entry.lease_ends_at = self._lease_end(sent_at) if _id(entry) in kept else 0.0

    def holds(self, entry: Entry) -> bool:
        return boot_seconds() < entry.lease_ends_at

    def interrupt(self) -> None:
        """Reclaim nothing more. A blocking XREADGROUP ends by itself: cut off, it could leave entries behind."""
        self._interrupted = True

    async def stop(self) -> list[Entry]:
        """Wait for reads that are under way: what they bring is handed back with what was read ahead."""
        if self._reads:
            await asyncio.wait(self._reads.values(), timeout=LAST_READ_SECONDS)
        return []

    async def hand_back(self, entries: Sequence[Entry]) -> None:
        """XCLAIM with an idle time past the lease, so that any consumer may claim it at once."""
        offers: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
        for entry in [*entries, *self._ahead]:
            offers[entry.key, max(entry.deliveries - 1, 0)].append(_id(entry))
        for _, _, entry in self._held:  # these have had their delivery
            offers[entry.key, entry.deliveries].append(_id(entry))
        # Forgotten first: what Redis does not hear of now is reclaimed after its lease.
        self._in_hand.difference_update((entry.key, _id(entry)) for entry in [*entries, *self._waiting()])
        self._ahead, self._held, self._room = [], [], 0
        for (key, deliveries), ids in offers.items():
            await self._keep(key, ids, "IDLE", self._lease_ms, "RETRYCOUNT", deliveries)

    async def close(self) -> None:
        await cancel_until_done(self._reads.values(), LAST_READ_SECONDS)
        with contextlib.suppress(SourceError):  # what a consumer leaves behind is reclaimed by others
            for key in self._trigger.keys:
                await self._retire_consumer(key, self._consumer)
        await self._client.aclose()

    def _lease_end(self, sent_at: float) -> float:
        return lease_end(sent_at, self._lease_ms / 1000)

    def _waiting(self) -> list[Entry]:
        return [entry for _, _, entry in self._held] + self._ahead

    def _block_ms(self) -> int:
        """How long to wait: the polling interval, or until the next retry is due."""
        longest = min(self._trigger.polling_interval_ms, MAX_BLOCK_MS)
        if self._held:
            longest = min(longest, int((self._held[0][0] - time.monotonic()) * 1000))
        return max(longest, 1)

    async def _create_groups(self) -> None:
        """XGROUP CREATE at 0, so that what was added before the first start is delivered."""
        for key in self._trigger.keys:
            try:
                await self._client.command(
                    key, "XGROUP", "CREATE", key, self._group, "0", "MKSTREAM",
                    doing=f"creating group {self._group!r} of stream {key!r}",
                )  # fmt: skip
            except CommandRefusedError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    async def _read(self, count: int) -> None:
        """XREADGROUP of what was never delivered: one read for all keys, in a cluster one for those of each slot.

        COUNT is per stream, so it is shared out; with more keys than `count` it may read a few too many. A read that
        waits outlasts this call: its entries are ours as soon as it has them.
        """
        share = max(1, count // len(self._trigger.keys))
        for keys in self._client.together(self._trigger.keys):
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
        options = ("COUNT", count, "BLOCK", self._block_ms())
        streams = ("STREAMS", *keys, *(">" for _ in keys))
        command = ("XREADGROUP", "GROUP", self._group, self._consumer, *options, *streams)
        try:
            answer = await self._client.command(keys[0], *command, doing=f"reading stream {' '.join(keys)!r}")
        except GroupMissingError as error:
            await self._create_groups()
            log.warning(
                "%s: %s; group %r is made again: what is still in the stream is delivered again",
                self._function,
                error,
                self._group,
            )
            return
        self._own([_entry(text(key), raw) for key, raws in answer or () for raw in raws], sent_at)

    def _own(self, entries: list[Entry], sent_at: float) -> None:
        """Keep entries that are ours in Redis now, as they were asked for at this time, until take() hands them out."""
        for entry in entries:
            entry.lease_ends_at = self._lease_end(sent_at)
        self._in_hand.update((entry.key, _id(entry)) for entry in entries)
        self._ahead += entries

    async def _bring_due_retries(self, count: int) -> None:
        """Move held entries whose time has come to those that take() hands out, up to `count` in all."""
        while self._held and self._held[0][0] <= time.monotonic() and len(self._ahead) < count:
            held = heapq.heappop(self._held)
            entry, sent_at = held[2], boot_seconds()
            try:
                # On the server too the delivery counts before it is made, so that a crash in it counts.
                kept = await self._keep(entry.key, [_id(entry)], "RETRYCOUNT", entry.deliveries + 1)
            except BaseException:
                heapq.heappush(self._held, held)
                raise
            if kept:
                entry.deliveries += 1
                entry.lease_ends_at = self._lease_end(sent_at)
                self._ahead.append(entry)
            else:  # settled by another consumer, or deleted
                self._in_hand.discard((entry.key, _id(entry)))

    async def _reclaim(self, key: str, room: int) -> None:
        """Claim entries whose consumer gave no sign of life for a lease.

        XPENDING and XCLAIM rather than XAUTOCLAIM: every version has them, and XPENDING tells the delivery count.
        """
        deliveries = dict(await self._overdue(key, room))
        if not deliveries:
            return
        sent_at = boot_seconds()
        claimed = [
            _entry(key, raw, deliveries[text(raw[0])] + 1)
            for raw in await self._claim(key, list(deliveries))
            if raw is not None and raw[1] is not None
        ]
        self._own(claimed, sent_at)
        await self._settle_deleted(key, set(deliveries) - {_id(entry) for entry in claimed})

    async def _overdue(self, key: str, room: int) -> list[tuple[str, int]]:
        """IDs and delivery counts of pending entries that nobody gave a sign of life for."""
        if self._server.has(6, 2):
            rows = await self._pending(key, "IDLE", self._lease_ms, "-", "+", min(room, RECLAIM_PAGE))
        else:
            rows = await self._pending(key, self._cursors.get(key, "-"), "+", RECLAIM_PAGE)
            full = len(rows) == RECLAIM_PAGE
            self._cursors[key] = next_id(text(rows[-1][0])) if full else "-"
        return [
            (text(entry_id), count)
            for entry_id, _, idle_ms, count in rows
            if idle_ms >= self._lease_ms and (key, text(entry_id)) not in self._in_hand
        ][:room]

    async def _pending(self, key: str, *arguments: object) -> list[Any]:
        doing = f"looking at pending entries of stream {key!r}"
        rows: list[Any] = await self._client.command(key, "XPENDING", key, self._group, *arguments, doing=doing)
        return rows

    async def _settle_deleted(self, key: str, ids: set[str]) -> None:
        """Acknowledge pending entries that were deleted or trimmed: there is nothing left to deliver."""
        for entry_id in ids:
            doing = f"looking for entry {entry_id} of stream {key!r}"
            if not await self._client.command(key, "XRANGE", key, entry_id, entry_id, doing=doing):
                await self._client.command(key, "XACK", key, self._group, entry_id, doing=doing)

    async def _claim(self, key: str, ids: list[str]) -> list[Any]:
        """XCLAIM; without its group nobody holds an entry, and there is nothing to claim."""
        answer: list[Any] = []
        with contextlib.suppress(GroupMissingError):
            answer = await self._client.command(
                key, "XCLAIM", key, self._group, self._consumer, self._lease_ms, *ids,
                doing=f"claiming entries of stream {key!r}",
            )  # fmt: skip
        return answer

    async def _keep(self, key: str, ids: list[str], *options: object) -> list[Any]:
        """Claim again those entries that are still ours: one whose lease ran out may be another consumer's by now."""
        kept: list[Any] = []
        for at in range(0, len(ids), KEEP_PAGE):
            arguments = [self._group, self._consumer, len(options), *options, *ids[at : at + KEEP_PAGE]]
            with contextlib.suppress(GroupMissingError):  # then nobody holds an entry
                kept += await self._client.evaluate(
                    self._keep_own, [key], arguments, doing=f"keeping entries of stream {key!r}"
                )
        return kept

    async def _acknowledge(self, entries: Iterable[Entry]) -> None:
        for key, group in by_key(entries):
            ids = [_id(entry) for entry in group]
            acknowledge, doing = ("XACK", key, self._group, *ids), f"acknowledging entries of stream {key!r}"
            if self._trigger.delete_after_process:
                await self._client.transaction(key, [acknowledge, ("XDEL", key, *ids)], doing=doing)
            else:
                await self._client.command(key, *acknowledge, doing=doing)

    async def _dead_letter(self, settlement: Settlement) -> None:
        entry = settlement.entry
        delete = int(self._trigger.delete_after_process)
        fields = dead_letter_fields(settlement, self._function)
        # Without its group the entry is nobody's to give up on; the group made again will deliver it.
        with contextlib.suppress(GroupMissingError):
            await self._client.evaluate(
                self._bury,
                [entry.key, dead_letters_key(entry.key)],
                [self._group, _id(entry), delete, DEAD_LETTERS_KEPT, *fields],
                doing=f"dead-lettering from stream {entry.key!r}",
            )

    async def _remove_dead_consumers(self) -> None:
        for key in self._trigger.keys:
            doing = f"looking at consumers of stream {key!r}"
            consumers = await self._client.command(key, "XINFO", "CONSUMERS", key, self._group, doing=doing)
            for flat in consumers:
                consumer = dict(zip(flat[::2], flat[1::2], strict=True))
                name = text(consumer[b"name"])
                dead = consumer[b"pending"] == 0 and consumer[b"idle"] > TIDY_LEASES * self._lease_ms
                if dead and name.startswith(CONSUMER_PREFIX) and name != self._consumer:
                    await self._retire_consumer(key, name)

    async def _retire_consumer(self, key: str, consumer: str) -> None:
        await self._client.evaluate(
            self._retire, [key], [self._group, consumer], doing=f"removing consumer {consumer} of stream {key!r}"
        )


def _entry(key: str, raw: Any, deliveries: int = 1) -> Entry:
    """An entry from its reply: [ID, [name, value, name, value, ...]]."""
    flat = raw[1]
    fields = tuple(zip(flat[::2], flat[1::2], strict=True))
    return Entry(key, fields=fields, id=text(raw[0]), deliveries=deliveries)


def _id(entry: Entry) -> str:
    return entry.id or ""


def next_id(entry_id: str) -> str:
    """The smallest ID after this one; before Redis 6.2 a range cannot exclude its start."""
    milliseconds, _, sequence = entry_id.partition("-")
    return f"{milliseconds}-{int(sequence or 0) + 1}"
