"""Reads list triggers: serves the keys in rotation, and wakes as soon as one of them has an element."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from listeners.connections.spec import ConnectionSpec
from listeners.engine.source import Source
from listeners.errors import AccessDeniedError, SourceError, WrongTypeError
from listeners.functions.entries import Entry, Outcome, Settlement, by_key
from listeners.functions.triggers import ListTrigger, keys_read
from listeners.lists.delivery import Delivery, delivery_for
from listeners.redis.client import Client
from listeners.runtime.clock import boot_seconds

__all__ = ["ListSource"]

#: The longest blocking read. A bound, so that a dead connection is noticed.
MAX_BLOCK_SECONDS = 1.0
#: Before Redis 6.2 nothing can wake the listener. It polls, with pauses from this one up to the polling interval.
FIRST_POLL_SECONDS = 0.01
SPARE_CONNECTIONS = 4


class ListSource(Source):
    """Reads the lists of one trigger. `lease_seconds`: how long an element stays leased without a renewal."""

    def __init__(
        self,
        trigger: ListTrigger,
        function_name: str,
        spec: ConnectionSpec,
        *,
        client_name: str,
        lease_seconds: float,
    ) -> None:
        self._trigger = trigger
        self._function_name = function_name
        self._lease_seconds = lease_seconds
        # One connection for each key's blocking peek, in addition to those for taking and settling.
        self._client = Client(spec, client_name, max_connections=len(trigger.keys) + SPARE_CONNECTIONS)
        self._delivery: Delivery | None = None
        self._keys: tuple[str, ...] = trigger.keys
        self._turn = 0
        self._can_peek = False
        self._peeks: dict[str, asyncio.Task[None]] = {}
        self._poll_seconds = FIRST_POLL_SECONDS
        #: Ends a wait. Set when a retry was scheduled, as it may be due first, and permanently at a drain.
        self._wake = asyncio.Event()
        self._interrupted = False

    async def open(self) -> None:
        server = await self._client.server()
        self._delivery = delivery_for(self._trigger, self._function_name, self._client, server, self._lease_seconds)
        self._keys = keys_read(self._trigger, multi_pop=server.supports(7))
        self._can_peek = server.supports(6, 2)

    async def describe(self) -> str:
        server = await self._client.server()
        delivery = delivery_for(self._trigger, self._function_name, self._client, server, self._lease_seconds)
        ignored = self._trigger.keys[len(keys_read(self._trigger, multi_pop=server.supports(7))) :]
        warning = f"; WARNING: {server} has no LMPOP, so keys {' '.join(ignored)} are not read" if ignored else ""
        wake = (
            "woken by BLMOVE"
            if server.supports(6, 2)
            else f"polled at intervals of up to {self._trigger.polling_interval_ms} ms"
        )
        return f"{server}, {delivery.describe()}, {wake}{warning}"

    async def maintain(self) -> None:
        """Only pause: the script that takes elements also reclaims them."""
        await asyncio.sleep(MAX_BLOCK_SECONDS)

    async def take(self, count: int) -> list[Entry]:
        if not self._interrupted:
            self._wake.clear()
        entries, due_seconds = await self._take_round_robin(count)
        if not entries:
            await self._wait(due_seconds)
            entries, _ = await self._take_round_robin(count)
        if entries:
            self._poll_seconds = FIRST_POLL_SECONDS
        return entries

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        for key in {settlement.entry.key for settlement in settlements}:
            group = [settlement for settlement in settlements if settlement.entry.key == key]
            await self._opened().settle(key, group)
        if any(settlement.outcome is Outcome.RETRIED for settlement in settlements):
            self._wake.set()

    async def settle_and_take(self, succeeded: Sequence[Entry], count: int) -> list[Entry]:
        key = self._keys[self._turn]
        for other, group in by_key(succeeded):
            if other != key:
                await self._opened().settle(other, [Settlement(entry, Outcome.SUCCEEDED) for entry in group])
        entries, _ = await self._take_round_robin(count, [entry for entry in succeeded if entry.key == key])
        return entries

    async def renew(self, entries: Sequence[Entry]) -> None:
        for key, group in by_key(entries):
            await self._opened().renew(key, group)

    def may_start(self, entry: Entry) -> bool:
        return boot_seconds() < entry.lease_ends_at

    def stop_waiting(self) -> None:
        self._interrupted = True
        self._wake.set()

    async def stop(self) -> list[Entry]:
        """Return nothing: no element is read ahead."""
        return []

    async def release(self, entries: Sequence[Entry]) -> None:
        for key, group in by_key(entries):
            await self._opened().release(key, group)

    async def close(self) -> None:
        for peek in self._peeks.values():
            peek.cancel()
        await asyncio.gather(*self._peeks.values(), return_exceptions=True)
        await self._client.aclose()

    def _opened(self) -> Delivery:
        if self._delivery is None:
            raise RuntimeError("call open() first")
        return self._delivery

    async def _take_round_robin(self, count: int, succeeded: Sequence[Entry] = ()) -> tuple[list[Entry], float | None]:
        """Take up to `count` from the keys, starting with the next key each time, so that none starves.

        `succeeded`: elements of the first key in the rotation, to settle before taking.
        """
        order = self._keys[self._turn :] + self._keys[: self._turn]
        self._turn = (self._turn + 1) % len(self._keys)
        entries: list[Entry] = []
        next_due: float | None = None
        failure: SourceError | None = None
        for key in order:
            try:
                taken, due_seconds = await self._opened().take(key, count - len(entries), succeeded)
                succeeded = ()
            except SourceError as error:
                if succeeded:
                    raise
                # Elements taken from other keys are returned anyway, and a key of the wrong type blocks no other.
                failure = error
                if isinstance(error, WrongTypeError | AccessDeniedError):
                    continue
                break
            entries += taken
            next_due = min((due for due in (next_due, due_seconds) if due is not None), default=None)
            if len(entries) >= count:
                break
        if failure is not None and not entries:
            raise failure
        return entries, next_due

    async def _wait(self, due_seconds: float | None) -> None:
        """Wait until a key has an element, one in flight becomes available, `_wake` is set, or the next poll is due."""
        max_seconds = min(self._trigger.polling_interval_ms / 1000, MAX_BLOCK_SECONDS)
        if not self._can_peek:
            self._poll_seconds = min(self._poll_seconds * 2, max_seconds)
            max_seconds = self._poll_seconds
        seconds = max_seconds if due_seconds is None else min(max_seconds, due_seconds)
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._wake.wait()), *self._start_peeks()]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waits[0].cancel()
        done = [peek for peek in self._peeks.values() if peek.done()]
        self._peeks = {key: peek for key, peek in self._peeks.items() if peek not in done}
        for peek in done:
            peek.result()

    def _start_peeks(self) -> Iterable[asyncio.Future[None]]:
        """Keep one blocking read per key, which may outlast many waits; none if the server does not support it."""
        for key in self._keys if self._can_peek else ():
            if key not in self._peeks:
                self._peeks[key] = asyncio.create_task(self._peek(key), name=f"peek {key}")
        return self._peeks.values()

    async def _peek(self, key: str) -> None:
        """Wait until the list has an element, and leave it there: BLMOVE from one end to the same end (Redis 6.2)."""
        end = "LEFT" if self._trigger.list_pop_from_beginning else "RIGHT"
        await self._client.command(
            key, "BLMOVE", key, key, end, end, MAX_BLOCK_SECONDS, doing=f"waiting for list {key!r}"
        )
