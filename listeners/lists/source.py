"""Reads list triggers: serves the keys in turn, and wakes as soon as one of them has an element."""

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

#: No blocking read waits longer, so that a dead connection is noticed.
MAX_BLOCK_SECONDS = 1.0
#: Before Redis 6.2 nothing can wake the listener: it polls, from this pause up to the polling interval.
FIRST_POLL_SECONDS = 0.01
SPARE_CONNECTIONS = 4


class ListSource(Source):
    """The lists of one trigger. `lease_seconds`: how long an element is ours without a sign of life."""

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
        # One connection for each key's blocking peek, beside those for taking and settling.
        self._client = Client(spec, client_name, max_connections=len(trigger.keys) + SPARE_CONNECTIONS)
        self._delivery: Delivery | None = None
        self._keys: tuple[str, ...] = trigger.keys
        self._turn = 0
        self._can_peek = False
        self._peeks: dict[str, asyncio.Task[None]] = {}
        self._poll_seconds = FIRST_POLL_SECONDS
        #: Set when a wait must end: a retry was scheduled, which may be due before all else; or for good, at the end.
        self._look_again = asyncio.Event()
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
            else f"polled every {self._trigger.polling_interval_ms} ms at most"
        )
        return f"{server}, {delivery.describe()}, {wake}{warning}"

    async def maintain(self) -> None:
        """Nothing has to go on beside taking: the script that takes also reclaims."""
        await asyncio.sleep(MAX_BLOCK_SECONDS)

    async def take(self, count: int) -> list[Entry]:
        if not self._interrupted:
            self._look_again.clear()
        entries, due_seconds = await self._take_in_turn(count)
        if not entries:
            await self._wait(due_seconds)
            entries, _ = await self._take_in_turn(count)
        if entries:
            self._poll_seconds = FIRST_POLL_SECONDS
        return entries

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        for key in {settlement.entry.key for settlement in settlements}:
            group = [settlement for settlement in settlements if settlement.entry.key == key]
            await self._opened().settle(key, group)
        if any(settlement.outcome is Outcome.RETRIED for settlement in settlements):
            self._look_again.set()

    async def settle_and_take(self, succeeded: Sequence[Entry], count: int) -> list[Entry]:
        key = self._keys[self._turn]
        for other, group in by_key(succeeded):
            if other != key:
                await self._opened().settle(other, [Settlement(entry, Outcome.SUCCEEDED) for entry in group])
        entries, _ = await self._take_in_turn(count, [entry for entry in succeeded if entry.key == key])
        return entries

    async def renew(self, entries: Sequence[Entry]) -> None:
        for key, group in by_key(entries):
            await self._opened().renew(key, group)

    def may_start(self, entry: Entry) -> bool:
        return boot_seconds() < entry.lease_ends_at

    def stop_waiting(self) -> None:
        self._interrupted = True
        self._look_again.set()

    async def stop(self) -> list[Entry]:
        """Nothing was read ahead: what is waiting is still in the list."""
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
            raise RuntimeError("open() comes first")
        return self._delivery

    async def _take_in_turn(self, count: int, succeeded: Sequence[Entry] = ()) -> tuple[list[Entry], float | None]:
        """Fill up to `count` from the keys, beginning with another one each time, so that none starves.

        `succeeded`: elements of the first key in turn, to be settled before.
        """
        order = self._keys[self._turn :] + self._keys[: self._turn]
        self._turn = (self._turn + 1) % len(self._keys)
        entries: list[Entry] = []
        nearest: float | None = None
        trouble: SourceError | None = None
        for key in order:
            try:
                taken, due_seconds = await self._opened().take(key, count - len(entries), succeeded)
                succeeded = ()
            except SourceError as error:
                if succeeded:
                    raise
                # What was taken from other keys is ours already; and a key of a wrong type stops no other key.
                trouble = error
                if isinstance(error, WrongTypeError | AccessDeniedError):
                    continue
                break
            entries += taken
            nearest = min((due for due in (nearest, due_seconds) if due is not None), default=None)
            if len(entries) >= count:
                break
        if trouble is not None and not entries:
            raise trouble
        return entries, nearest

    async def _wait(self, due_seconds: float | None) -> None:
        """Wait until a key has an element, one in flight becomes available, or it is time to look again."""
        longest = min(self._trigger.polling_interval_ms / 1000, MAX_BLOCK_SECONDS)
        if not self._can_peek:
            self._poll_seconds = min(self._poll_seconds * 2, longest)
            longest = self._poll_seconds
        seconds = longest if due_seconds is None else min(longest, due_seconds)
        waiting: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._look_again.wait()), *self._start_peeks()]
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting[0].cancel()
        done = [peek for peek in self._peeks.values() if peek.done()]
        self._peeks = {key: peek for key, peek in self._peeks.items() if peek not in done}
        for peek in done:
            peek.result()

    def _start_peeks(self) -> Iterable[asyncio.Future[None]]:
        """One blocking read per key, which may outlast many waits; none where the server cannot."""
        for key in self._keys if self._can_peek else ():
            if key not in self._peeks:
                self._peeks[key] = asyncio.create_task(self._peek(key), name=f"peek {key}")
        return self._peeks.values()

    async def _peek(self, key: str) -> None:
        """Wait until the list has an element, and leave it there: BLMOVE of its end onto the same end (Redis 6.2)."""
        end = "LEFT" if self._trigger.list_pop_from_beginning else "RIGHT"
        await self._client.command(
            key, "BLMOVE", key, key, end, end, MAX_BLOCK_SECONDS, doing=f"waiting for list {key!r}"
        )
