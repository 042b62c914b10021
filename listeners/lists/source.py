"""Reads list triggers: serves the keys in rotation, and wakes as soon as one of them has an element."""

import asyncio
import logging
from collections.abc import Sequence

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
from listeners.keys import inflight_key
from listeners.lists.at_least_once import AtLeastOnce, ListLeases
from listeners.lists.at_most_once import AtMostOnce, NoLeases
from listeners.lists.delivery import Delivery, Taken, sooner
from listeners.redis.client import Client
from listeners.redis.outages.unreachable_keys import UnreachableKeys
from listeners.redis.server_info import ServerInfo
from listeners.runtime.clock import boot_seconds
from listeners.runtime.tasks import wait_for_event
from listeners.tracking.lookout import Lookout
from listeners.tracking.watch import Watch

__all__ = ["ListSource"]


class ListSource(LeasedSource):
    """Reads the lists of one trigger. `lease_seconds`: how long an element stays leased without a renewal.

    `leases` is a client to be used on another event loop.
    """

    def __init__(
        self,
        trigger: ListTrigger,
        function_name: str,
        client: Client,
        leases: Client,
        watch: Watch,
        *,
        lease_seconds: float,
        metrics: FunctionMetrics,
    ) -> None:
        self.suspects = asyncio.Event()
        self._trigger = trigger
        self._function_name = function_name
        self._client = client
        self._leases = leases
        self._watch = watch
        self._lease_seconds = lease_seconds
        self._metrics = metrics
        self._delivery: Delivery | None = None
        self._keys: tuple[str, ...] = trigger.keys
        self._unreachable = UnreachableKeys(self._client, self._keys, self._wake)
        self._turn = 0
        #: Whether an element was in flight at the last look, so that its lease may have to be corrected.
        self._in_flight = True
        self._lookout = self._new_lookout()

    async def open(self) -> None:
        server = await self._client.server()
        self._delivery = self._delivery_with(server)
        self._keys = keys_read(self._trigger, multi_pop=server.supports(7))
        self._unreachable = UnreachableKeys(self._client, self._keys, self._wake)
        self._lookout = self._new_lookout()

    async def describe(self) -> Description:
        server = await self._client.server()
        delivery = self._delivery_with(server)
        ignored = self._trigger.keys[len(keys_read(self._trigger, multi_pop=server.supports(7))) :]
        text = f"{server}, {delivery.describe()}, {await self._lookout.describe()}"
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
        if probes or self._in_flight or not self._lookout.rests_wholly:
            await self._client.for_each_key(self._keys, self._maintain_list)
        if not probes:  # that they can be reached again is to be reported now
            await wait_for_event(found, self._lease_seconds / 2)

    async def take(self, count: int, max_bytes: int) -> list[Entry]:
        return await self._look(self._rotation(), count, max_bytes) if await self._lookout.wait() else []

    async def take_suspect(self) -> Entry | None:
        self.suspects.clear()  # before, as a look may find one meanwhile
        for key in self._unreachable.without(self._keys):
            entry: Entry | None = None
            try:
                with self._unreachable.passing_over(key):
                    entry = await self._opened().take_suspect(key)
            except BaseException:
                self.suspects.set()
                raise
            if entry is not None:
                self.suspects.set()
                return entry
        return None

    async def begin(self, entry: Entry, *, counts: bool) -> bool:
        with self._unreachable.reaching(entry.key):
            return await self._opened().begin(entry, counts=counts)

    def renewal(self) -> LeaseRenewal:
        if self._trigger.delivery == "at-most-once":
            return NoLeases()
        return ListLeases(self._leases, self._lease_seconds)

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
            self._lookout.wake()
        return refusals

    async def settle_and_take(self, succeeded: Sequence[Entry], count: int, max_bytes: int) -> list[Entry]:
        rotation = self._rotation()
        key = rotation[0]
        of_key: Sequence[Entry] = ()
        for other, group in by_key(succeeded):
            if other == key:
                of_key = group
            else:
                of_other = [Settlement(entry, Outcome.SUCCEEDED) for entry in group]
                with self._unreachable.reaching(other):
                    refusals = await self._opened().settle(other, of_other)
                for refusal in refusals:
                    raise refusal.error
        return await self._look(rotation, count, max_bytes, of_key)

    def may_start(self, entry: Entry) -> bool:
        return boot_seconds() < entry.lease_ends_at

    def end_wait(self) -> None:
        self._lookout.end_wait()

    def stop_waiting(self) -> None:
        self._lookout.stop()

    async def stop(self, seconds: float) -> list[Entry]:
        """Return nothing: no element is read ahead."""
        return []

    async def release(self, entries: Sequence[Entry]) -> None:
        groups = dict(by_key(entries))
        await self._client.for_each_key(groups, lambda key: self._opened().release(key, groups[key]))

    async def close(self) -> None:
        self._lookout.close()

    def _opened(self) -> Delivery:
        if self._delivery is None:
            raise RuntimeError("call open() first")
        return self._delivery

    def _delivery_with(self, server: ServerInfo) -> Delivery:
        """Return the delivery that the trigger requests, with commands that the server supports."""
        if self._trigger.delivery == "at-most-once":
            return AtMostOnce(self._trigger, self._function_name, self._client, server, self._metrics)
        return AtLeastOnce(self._trigger, self._function_name, self._client, self._lease_seconds, self._metrics)

    def _wake(self) -> None:
        self._lookout.wake()

    def _new_lookout(self) -> Lookout:
        at_least_once = self._trigger.delivery == "at-least-once"
        return Lookout(
            self._watch,
            self._keys,
            # Another instance may release an element before its lease ends.
            not_urgent=[inflight_key(key) for key in self._keys] if at_least_once else (),
            entries_exist=True,
            polling_seconds=self._trigger.polling_interval_ms / 1000,
            on_polled=self._metrics.polled,
        )

    async def _maintain_list(self, key: str) -> None:
        with self._unreachable.probing(key):
            if self._unreachable.leaves_out(key):
                await self._client.command(key, "PING", doing=f"reaching the node of list {key!r}")
            await self._opened().correct_clock(key)

    async def _look(
        self, rotation: Sequence[str], count: int, max_bytes: int, succeeded: Sequence[Entry] = ()
    ) -> list[Entry]:
        look = self._lookout.begin()
        taken = await self._take_round_robin(rotation, count, max_bytes, succeeded)
        self._in_flight = bool(taken.entries) or taken.due_seconds is not None or taken.suspects
        found = len(taken.entries)
        self._lookout.ended(look, found, more=found >= count, due_seconds=taken.due_seconds)
        return taken.entries

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
                taken = await self._opened().take(key, count - len(entries), max_bytes, succeeded)
            except SourceError as error:
                self._unreachable.failed(error, key)
                if succeeded:
                    raise
                if isinstance(error, SourceUnavailableError) and self._unreachable.leaves_out(key):
                    continue  # maintain() reports it
                # Elements taken from other keys are returned anyway, and a key of the wrong type blocks no other.
                failure = error
                if isinstance(error, WrongTypeError | AccessDeniedError):
                    continue
                break
            self._unreachable.answered(key)
            succeeded = ()
            entries += taken.entries
            next_due = sooner(next_due, taken.due_seconds)
            suspects = suspects or taken.suspects
            if len(entries) >= count:
                break
            max_bytes -= sum([entry.size for entry in taken.entries])
            if entries and max_bytes <= 0:
                break
        if suspects:
            self.suspects.set()
        if failure is not None and not entries:
            raise failure
        return Taken(entries, next_due, suspects)
