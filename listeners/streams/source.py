"""Reads stream triggers as one instance of a group, with leases, reclaiming and retries."""

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Iterator, Sequence

from listeners.connections.spec import ConnectionSpec
from listeners.engine.lease_keeper import RENEWALS_PER_LEASE
from listeners.engine.metrics import FunctionMetrics
from listeners.engine.settlement import Refusal, Settlement
from listeners.engine.source import Description, LeasedSource, LeaseRenewal
from listeners.errors import AccessDeniedError, GroupMissingError, SourceError, WrongTypeError
from listeners.functions.entries import Entry
from listeners.functions.triggers import StreamTrigger
from listeners.redis.client import Client
from listeners.redis.server_info import ServerInfo
from listeners.runtime.clock import boot_seconds
from listeners.runtime.logs import steady_logger
from listeners.runtime.tasks import cancel_until_done
from listeners.streams.adoption import Adoption
from listeners.streams.consumer import Consumer
from listeners.streams.held import HeldEntries
from listeners.streams.leases import StreamLeases
from listeners.streams.reclaiming import Reclaiming
from listeners.streams.retries import Retries

__all__ = ["StreamSource"]

log = steady_logger("triggerfish.host")

#: The longest blocking read. A bound, so that a dead connection is noticed.
MAX_BLOCK_MS = 1000
#: How often pending entries whose lease is over are looked for.
RECLAIM_SECONDS = 1.0
#: How often dead consumers that hold no entry are removed, and after how many idle lease periods.
TIDY_SECONDS = 60.0
TIDY_LEASES = 10
#: How many entries this process keeps waiting for a retry. From this number on, nothing new is read.
MAX_WAITING = 1000
#: How many entries are read in one step at most.
MAX_READ = 1000
#: How long a blocking read may still take at a drain: longer than it blocks.
LAST_READ_SECONDS = 1.5
SPARE_CONNECTIONS = 4


class StreamSource(LeasedSource):
    """Reads the streams of one trigger.

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
        metrics: FunctionMetrics,
    ) -> None:
        self._trigger = trigger
        self._function_name = function_name
        self._instance = instance
        self._lease_ms = int(lease_seconds * 1000)
        self._new_client = functools.partial(Client, spec, client_name)
        # One connection for each blocking read, in addition to those for claiming and settling.
        self._client = self._new_client(max_connections=len(trigger.keys) + SPARE_CONNECTIONS)
        self._consumer = Consumer(
            trigger, function_name, self._client, instance=instance, lease_ms=self._lease_ms, metrics=metrics
        )
        self._retries = Retries(self._consumer)
        self._held = HeldEntries(self._consumer, self._retries)
        self._reclaiming = Reclaiming(self._consumer)
        self._adoption = Adoption(self._consumer, self._held, self._retries, self._reclaiming)
        self.suspects = self._reclaiming.suspects
        self._server = ServerInfo()
        #: Entries that were read and not returned by take() yet.
        self._buffer: list[Entry] = []
        self._reads: dict[tuple[str, ...], asyncio.Task[None]] = {}
        self._is_open = False
        #: The streams that Redis refuses to read, with the error. The others are read without them.
        self._refused: dict[str, SourceError] = {}
        self._interrupted = False
        self._tidy_at = 0.0

    async def open(self) -> None:
        self._server = await self._client.server()
        self._is_open = True
        self._refused.clear()
        for key in self._trigger.keys:
            with self._noting_refusal(key):
                await self._consumer.create_group(key)

    async def describe(self) -> Description:
        self._server = await self._client.server()
        group, consumer = self._consumer.group, self._consumer.claims.names.taken
        return Description(f"{self._server}, XREADGROUP as group {group}, consumer {consumer}")

    async def maintain(self) -> None:
        """Find entries whose lease is over, and periodically remove dead consumers."""
        self._retries.forget_gone()
        self._consumer.lost.report()
        tidies = time.monotonic() >= self._tidy_at
        if tidies:
            self._tidy_at = time.monotonic() + TIDY_SECONDS
        with self._held.noting_outages():
            await self._client.for_each_key(self._trigger.keys, lambda key: self._maintain_stream(key, tidies=tidies))
        await asyncio.sleep(min(RECLAIM_SECONDS, self._lease_ms / 1000 / RENEWALS_PER_LEASE))

    async def take(self, count: int, max_bytes: int) -> list[Entry]:
        number = min(count, MAX_READ)
        async with self._finding_refused():
            while len(self._buffer) < number and not self._interrupted and self._has_available():
                room = number - len(self._buffer)
                self._add(await self._retries.take_due(room) or await self._reclaiming.take_ordinary(room))
            if not self._buffer and len(self._retries) >= MAX_WAITING:
                await asyncio.sleep(self._block_ms() / 1000)
            elif not self._buffer:
                await self._read(number)
        return self._pop_buffered(count)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Refusal]:
        return await self._held.settle(settlements)

    async def settle_and_take(self, succeeded: Sequence[Entry], count: int, max_bytes: int) -> list[Entry]:
        groups = self._client.group_by_slot(self._readable_keys())
        first_others = self._buffer or self._reads or self._has_available()
        may_read = not self._interrupted and not first_others and len(self._retries) < MAX_WAITING
        may_read = may_read and not self._consumer.unanswered.come_first(groups[0])
        if not may_read or len(groups) > 1 or not self._held.surely(succeeded):
            await self._held.acknowledge(succeeded)
            return []
        number = self._per_stream(min(count, MAX_READ))
        async with self._finding_refused():
            entries, gaps = await self._consumer.settle_and_read(succeeded, groups[0], number)
        for key in gaps:
            self._held.doubt(key)
        self._add_read(entries)
        self._held.remove(succeeded)
        return self._pop_buffered(count)

    async def take_suspect(self) -> Entry | None:
        async with self._finding_refused():
            suspect = await self._reclaiming.take_suspect()
        if suspect is not None:
            self._held.add([suspect])
        return suspect

    async def begin(self, entry: Entry, *, counts: bool) -> bool:
        return await self._held.begin(entry, counts=counts)

    def renewal(self) -> LeaseRenewal:
        return StreamLeases(
            self._new_client(max_connections=2),  # one for the script, and in a cluster one to look up its nodes
            self._trigger.consumer_group,
            self._instance,
            self._lease_ms,
            queued=lambda: list(self._buffer),
            retries=self._retries,
        )

    def may_start(self, entry: Entry) -> bool:
        return boot_seconds() < entry.lease_ends_at

    def stop_waiting(self) -> None:
        """Stop claiming. A blocking XREADGROUP ends by itself; interrupting it could leave entries pending."""
        self._interrupted = True

    async def stop(self) -> list[Entry]:
        """Wait for running reads. Their entries are released together with the others that were not taken."""
        if self._reads:
            await asyncio.wait(self._reads.values(), timeout=LAST_READ_SECONDS)
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
        await cancel_until_done(self._reads.values(), LAST_READ_SECONDS)
        if self._is_open:
            with contextlib.suppress(SourceError):  # other instances reclaim what this one still holds
                await self._consumer.retire()
        self._consumer.lost.report(closing=True)
        await self._client.aclose()

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

    def _block_ms(self) -> int:
        """Return how long to wait: at most the polling interval, and no longer than until the next retry is due."""
        max_ms = min(self._trigger.polling_interval_ms, MAX_BLOCK_MS)
        next_seconds = self._retries.seconds_to_next()
        if next_seconds is not None:
            max_ms = min(max_ms, int(next_seconds * 1000))
        return max(max_ms, 1)

    async def _read(self, count: int) -> None:
        """Read new entries: one XREADGROUP for all keys, or in a cluster one per slot.

        A blocking read may outlast this call. Its entries are in progress as soon as it returns them.
        """
        per_stream = self._per_stream(count)
        for keys in self._client.group_by_slot(self._readable_keys()):
            if not any(set(keys) & set(running) for running in self._reads):  # else their replies could change places
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
        try:
            if adopted := await self._adoption.adopt(keys, count):
                self._add(adopted)
                return
            self._add_read(await self._consumer.read(keys, count, self._block_ms()))
        except GroupMissingError as error:
            await self._recreate_groups(error)

    async def _maintain_stream(self, key: str, *, tidies: bool) -> None:
        if self._interrupted:
            return
        with self._noting_refusal(key):
            try:
                await self._reclaiming.scan(key, self._server, self._held.ids(key) | self._retries.ids(key))
                if tidies:
                    await self._consumer.remove_dead_consumers(key, TIDY_LEASES * self._lease_ms)
            except GroupMissingError:  # take() or another instance recreates it
                self._held.doubt(key)
        if key in self._refused:
            raise self._refused[key]

    def _readable_keys(self) -> Sequence[str]:
        """Return the streams that Redis does not refuse to read. If it refuses all, a read has to tell why."""
        return [key for key in self._trigger.keys if key not in self._refused] or self._trigger.keys

    @contextlib.asynccontextmanager
    async def _finding_refused(self) -> AsyncIterator[None]:
        """After a refusal, find the streams that Redis refuses, so that the next step does without them."""
        with self._held.noting_outages():
            try:
                yield
            except (WrongTypeError, AccessDeniedError):
                self._refused.clear()
                for key in self._trigger.keys:
                    with self._noting_refusal(key), contextlib.suppress(GroupMissingError):
                        await self._consumer.pending(key, "-", "+", 1)
                raise

    @contextlib.contextmanager
    def _noting_refusal(self, key: str) -> Iterator[None]:
        """Note that Redis refuses one stream. Raise the error only if it refuses all of them."""
        try:
            yield
        except (WrongTypeError, AccessDeniedError) as error:
            self._refused[key] = error
            self._retries.forget(key)
            self._reclaiming.forget(key)
            if len(self._refused) == len(self._trigger.keys):
                raise
        else:
            self._refused.pop(key, None)

    async def _recreate_groups(self, error: GroupMissingError) -> None:
        """Recreate missing groups, and forget what was held in them. Another instance may have been faster."""
        for key in self._trigger.keys:
            with self._noting_refusal(key):
                self._held.doubt(key)
                if await self._consumer.create_group(key):
                    self._retries.forget(key)
                    self._held.forget(key)
                    self._buffer = [entry for entry in self._buffer if entry.key != key]
        log.warning(
            "%s: %s; recreated group %r, so entries still in the stream are delivered again",
            self._function_name,
            error,
            self._consumer.group,
        )
