"""Reads list triggers: serves the keys in rotation, and wakes as soon as one of them has an element."""

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

from listeners.connections.spec import ConnectionSpec
from listeners.engine.metrics import FunctionMetrics
from listeners.engine.settlement import Outcome, Refusal, Settlement
from listeners.engine.source import Description, LeasedSource, LeaseRenewal
from listeners.errors import (
    AccessDeniedError,
    SourceError,
    SourceTimeoutError,
    SourceUnavailableError,
    WrongTypeError,
)
from listeners.functions.entries import Entry, by_key
from listeners.functions.triggers import ListTrigger, keys_read
from listeners.keys import check_key
from listeners.lists.at_least_once import AtLeastOnce, ListLeases
from listeners.lists.at_most_once import AtMostOnce, NoLeases
from listeners.lists.delivery import Delivery, Taken
from listeners.redis.client import Client
from listeners.redis.error_translation import is_command_refused
from listeners.redis.server_info import ServerInfo
from listeners.redis.unreachable_keys import UnreachableKeys
from listeners.runtime.clock import boot_seconds
from listeners.runtime.logs import steady_logger
from listeners.runtime.tasks import wait_for_event

__all__ = ["ListSource"]

log = steady_logger("triggerfish.host")

#: The longest blocking read. A bound, so that a dead connection is noticed.
MAX_BLOCK_SECONDS = 1.0
#: Without BLMOVE (before Redis 6.2, denied or renamed) nothing can wake the listener. It polls, with pauses from this
#: one up to the polling interval.
FIRST_POLL_SECONDS = 0.01
#: How long after a refusal of BLMOVE it is tried again, as the user's rights may have been changed.
REFUSED_SECONDS = 60.0
SPARE_CONNECTIONS = 4


class ListSource(LeasedSource):
    """Reads the lists of one trigger. `lease_seconds`: how long an element stays leased without a renewal."""

    def __init__(
        self,
        trigger: ListTrigger,
        function_name: str,
        spec: ConnectionSpec,
        *,
        client_name: str,
        lease_seconds: float,
        metrics: FunctionMetrics,
    ) -> None:
        self.suspects = asyncio.Event()
        self._trigger = trigger
        self._function_name = function_name
        self._spec = spec
        self._client_name = client_name
        self._lease_seconds = lease_seconds
        self._metrics = metrics
        # One connection for each key's blocking peek, in addition to those for taking and settling.
        self._client = Client(spec, client_name, max_connections=len(trigger.keys) + SPARE_CONNECTIONS)
        self._delivery: Delivery | None = None
        self._keys: tuple[str, ...] = trigger.keys
        self._unreachable = UnreachableKeys(self._client, self._keys)
        self._turn = 0
        self._has_peek = False
        self._refused_until = -math.inf
        self._logged_refusal = False
        self._peeks: dict[str, asyncio.Task[None]] = {}
        self._poll_seconds = FIRST_POLL_SECONDS
        #: Ends a wait. Set when a retry was scheduled, as it may be due first, and permanently at a drain.
        self._wake = asyncio.Event()
        self._interrupted = False

    async def open(self) -> None:
        server = await self._client.server()
        self._delivery = self._delivery_with(server)
        self._keys = keys_read(self._trigger, multi_pop=server.supports(7))
        self._unreachable = UnreachableKeys(self._client, self._keys)
        self._has_peek = server.supports(6, 2)

    async def describe(self) -> Description:
        server = await self._client.server()
        delivery = self._delivery_with(server)
        ignored = self._trigger.keys[len(keys_read(self._trigger, multi_pop=server.supports(7))) :]
        can_peek = server.supports(6, 2) and not await self._refuses_peek()
        text = f"{server}, {delivery.describe()}, {'woken by BLMOVE' if can_peek else self._polled()}"
        if not ignored:
            return Description(text)
        return Description(text, f"{server} has no LMPOP, so keys {' '.join(ignored)} are not read", logging.WARNING)

    async def maintain(self) -> None:
        """End leases that last too long because the server's clock has stepped back. take() ends all others.

        Find lists that can be reached again.
        """
        found = self._unreachable.found
        probes = found.is_set()
        found.clear()
        await self._client.for_each_key(self._keys, self._maintain_list)
        if not probes:  # that they can be reached again is to be reported now
            await wait_for_event(found, self._lease_seconds / 2)

    async def take(self, count: int, max_bytes: int) -> list[Entry]:
        if not self._interrupted:
            self._wake.clear()
        knew_suspects = self.suspects.is_set()
        taken = await self._take_round_robin(self._rotation(), count, max_bytes)
        if not taken.entries and (knew_suspects or not taken.suspects):
            await self._wait(taken.due_seconds)
            taken = await self._take_round_robin(self._rotation(), count, max_bytes)
        if taken.entries:
            self._poll_seconds = FIRST_POLL_SECONDS
        return taken.entries

    async def take_suspect(self) -> Entry | None:
        for key in self._unreachable.without(self._keys):
            with self._unreachable.passing_over(key):
                entry = await self._opened().take_suspect(key)
                if entry is not None:
                    return entry
        self.suspects.clear()
        return None

    async def begin(self, entry: Entry, *, counts: bool) -> bool:
        with self._unreachable.reaching(entry.key):
            return await self._opened().begin(entry, counts=counts)

    def renewal(self) -> LeaseRenewal:
        if self._trigger.delivery == "at-most-once":
            return NoLeases()
        return ListLeases(self._spec, self._client_name, self._lease_seconds)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Refusal]:
        refusals: list[Refusal] = []

        async def settle_in(key: str) -> None:
            of_key = [settlement for settlement in settlements if settlement.entry.key == key]
            try:
                with self._unreachable.reaching(key):
                    refusals.extend(await self._opened().settle(key, of_key))
            except (SourceUnavailableError, SourceTimeoutError) as error:
                if not self._unreachable.leaves_out(key):
                    raise
                refusals.extend(Refusal(settlement, error) for settlement in of_key)

        keys = dict.fromkeys(settlement.entry.key for settlement in settlements)
        await self._client.for_each_key(keys, settle_in)
        if any(settlement.outcome is Outcome.RETRIED for settlement in settlements):
            self._wake.set()
        return refusals

    async def settle_and_take(self, succeeded: Sequence[Entry], count: int, max_bytes: int) -> list[Entry]:
        rotation = self._rotation()
        key = rotation[0]
        for other, group in by_key(succeeded):
            if other != key:
                of_other = [Settlement(entry, Outcome.SUCCEEDED) for entry in group]
                with self._unreachable.reaching(other):
                    refusals = await self._opened().settle(other, of_other)
                for refusal in refusals:
                    raise refusal.error
        of_key = [entry for entry in succeeded if entry.key == key]
        taken = await self._take_round_robin(rotation, count, max_bytes, of_key)
        return taken.entries

    def may_start(self, entry: Entry) -> bool:
        return boot_seconds() < entry.lease_ends_at

    def stop_waiting(self) -> None:
        self._interrupted = True
        self._wake.set()

    async def stop(self) -> list[Entry]:
        """Return nothing: no element is read ahead."""
        return []

    async def release(self, entries: Sequence[Entry]) -> None:
        groups = dict(by_key(entries))
        await self._client.for_each_key(groups, lambda key: self._opened().release(key, groups[key]))

    async def close(self) -> None:
        for peek in self._peeks.values():
            peek.cancel()
        await asyncio.gather(*self._peeks.values(), return_exceptions=True)
        await self._client.aclose()

    def _opened(self) -> Delivery:
        if self._delivery is None:
            raise RuntimeError("call open() first")
        return self._delivery

    def _delivery_with(self, server: ServerInfo) -> Delivery:
        """Return the delivery that the trigger requests, with commands that the server supports."""
        if self._trigger.delivery == "at-most-once":
            return AtMostOnce(self._trigger, self._function_name, self._client, server, self._metrics)
        return AtLeastOnce(self._trigger, self._function_name, self._client, self._lease_seconds, self._metrics)

    async def _maintain_list(self, key: str) -> None:
        with self._unreachable.probing(key):
            if self._unreachable.leaves_out(key):
                await self._client.command(key, "PING", doing=f"reaching the node of list {key!r}")
            await self._opened().correct_clock(key)

    def _rotation(self) -> Sequence[str]:
        """Return the keys in the order in which to take from them: each comes first in turn, so that none starves."""
        order = self._keys[self._turn :] + self._keys[: self._turn]
        self._turn = (self._turn + 1) % len(self._keys)
        return self._unreachable.without(order)

    async def _take_round_robin(
        self, rotation: Sequence[str], count: int, max_bytes: int, succeeded: Sequence[Entry] = ()
    ) -> Taken:
        """Take up to `count` from the keys in the rotation.

        `succeeded`: elements of the first one, to settle before taking.
        """
        entries: list[Entry] = []
        next_due: float | None = None
        suspects = False
        failure: SourceError | None = None
        for key in rotation:
            try:
                with self._unreachable.probing(key):
                    taken = await self._opened().take(key, count - len(entries), max_bytes, succeeded)
                succeeded = ()
            except SourceError as error:
                if succeeded:
                    raise
                if isinstance(error, SourceUnavailableError) and self._unreachable.leaves_out(key):
                    continue  # maintain() reports it
                # Elements taken from other keys are returned anyway, and a key of the wrong type blocks no other.
                failure = error
                if isinstance(error, WrongTypeError | AccessDeniedError):
                    continue
                break
            entries += taken.entries
            max_bytes -= sum(entry.size for entry in taken.entries)
            next_due = min((due for due in (next_due, taken.due_seconds) if due is not None), default=None)
            suspects = suspects or taken.suspects
            if len(entries) >= count or (entries and max_bytes <= 0):
                break
        if suspects:
            self.suspects.set()
        if failure is not None and not entries:
            raise failure
        return Taken(entries, next_due, suspects)

    @property
    def _can_peek(self) -> bool:
        return self._has_peek and time.monotonic() >= self._refused_until

    def _polled(self) -> str:
        return f"polled at intervals of up to {self._trigger.polling_interval_ms} ms"

    async def _refuses_peek(self) -> bool:
        """Return whether the server refuses BLMOVE: of a key that does not exist, which changes nothing."""
        key = check_key(self._trigger.keys[0])
        try:
            # Redis 6.2 rounds a timeout of 1 ms down to 0, which is for ever.
            await self._client.blocking_command(key, "BLMOVE", key, key, "LEFT", "LEFT", 0.01, doing="trying BLMOVE")
        except SourceError as error:
            return is_command_refused(error)
        return False

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
            self._end_peek(peek)

    def _end_peek(self, peek: asyncio.Task[None]) -> None:
        """Poll from now on if the server refused the blocking read. Raises SourceError for other failures."""
        try:
            peek.result()
        except SourceError as error:
            if not is_command_refused(error):
                raise
            self._refused_until = time.monotonic() + REFUSED_SECONDS
            if not self._logged_refusal:
                log.warning("%s: %s. Its lists are %s", self._function_name, error, self._polled())
                self._logged_refusal = True

    def _start_peeks(self) -> Iterable[asyncio.Future[None]]:
        """Keep one blocking read per key, which may outlast many waits; none if the server does not support it."""
        for key in self._unreachable.without(self._keys) if self._can_peek else ():
            if key not in self._peeks:
                self._peeks[key] = asyncio.create_task(self._peek(key), name=f"peek {key}")
        return self._peeks.values()

    async def _peek(self, key: str) -> None:
        """Wait until the list has an element, and leave it there: BLMOVE from one end to the same end (Redis 6.2)."""
        end = "LEFT" if self._trigger.list_pop_from_beginning else "RIGHT"
        with self._unreachable.passing_over(key):
            await self._client.blocking_command(
                key, "BLMOVE", key, key, end, end, MAX_BLOCK_SECONDS, doing=f"waiting for list {key!r}"
            )
