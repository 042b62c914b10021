"""The two ways to take elements from a list: at least once with a lease, or at most once with a plain pop."""

import functools
from collections.abc import Sequence
from typing import Any, Protocol

from listeners.dead_letters.letters import DEAD_LETTERS_KEPT, dead_letter_fields
from listeners.functions.entries import Entry, Outcome, Settlement
from listeners.functions.triggers import ListTrigger, keys_read
from listeners.keys import dead_letters_key, elements_key, inflight_key
from listeners.redis.client import Client
from listeners.redis.scripts import Script
from listeners.redis.server_info import ServerInfo
from listeners.runtime.clock import boot_seconds, lease_end
from listeners.text import decode

__all__ = ["AtLeastOnce", "AtMostOnce", "Delivery", "delivery_for"]


class Delivery(Protocol):
    """How elements are taken from a list, and what happens to them afterwards."""

    def describe(self) -> str:
        """Return a readable description of the commands used."""
        ...

    async def take(self, key: str, count: int, succeeded: Sequence[Entry] = ()) -> tuple[list[Entry], float | None]:
        """Take up to `count` elements. Also return the seconds until one in flight becomes available again, or None.

        Elements of this list in `succeeded` are settled first, in the same step.
        """
        ...

    async def settle(self, key: str, settlements: Sequence[Settlement]) -> None: ...

    async def renew(self, key: str, entries: Sequence[Entry]) -> None: ...

    async def release(self, key: str, entries: Sequence[Entry]) -> None: ...


def delivery_for(
    trigger: ListTrigger, function_name: str, client: Client, server: ServerInfo, lease_seconds: float
) -> Delivery:
    """Return the delivery that the trigger requests, with commands that the server supports."""
    if trigger.delivery == "at-most-once":
        return AtMostOnce(trigger, function_name, client, server)
    return AtLeastOnce(trigger, function_name, client, lease_seconds)


class AtLeastOnce(Delivery):
    """At least once: an element stays recorded until it is settled, and is delivered again when its lease expires.

    Runs one script per key and step. Needs EVALSHA, and no command newer than Redis 5.0.
    """

    def __init__(self, trigger: ListTrigger, function_name: str, client: Client, lease_seconds: float) -> None:
        self._function_name = function_name
        self._from_beginning = int(trigger.list_pop_from_beginning)
        self._lease_ms = int(lease_seconds * 1000)
        self._client = client
        self._take = Script("listeners.lists", "common", "take")
        self._settle = Script("listeners.lists", "common", "settle")
        self._dead_letter = Script("listeners.lists", "common", "dead_letter")

    def describe(self) -> str:
        return f"EVALSHA (at least once, lease {self._lease_ms // 1000} s)"

    async def take(self, key: str, count: int, succeeded: Sequence[Entry] = ()) -> tuple[list[Entry], float | None]:
        sent_at = boot_seconds()
        arguments: list[Any] = [self._lease_ms, count, self._from_beginning]
        for entry in succeeded:
            arguments += (entry.receipt, entry.deliveries)
        due_ms, taken = await self._client.run_script(
            self._take, _keys(key), arguments, doing=f"taking from list {key!r}"
        )
        ends_at = lease_end(sent_at, self._lease_ms / 1000)
        entries = [
            Entry(key, payload=taken[at + 2], deliveries=taken[at + 1], receipt=taken[at], lease_ends_at=ends_at)
            for at in range(0, len(taken), 3)
        ]
        return entries, None if due_ms < 0 else due_ms / 1000

    async def settle(self, key: str, settlements: Sequence[Settlement]) -> None:
        steps: list[Any] = []
        for settlement in settlements:
            entry = settlement.entry
            if settlement.outcome is Outcome.DEAD_LETTERED:
                fields = dead_letter_fields(settlement, self._function_name)
                await self._client.run_script(
                    self._dead_letter,
                    [*_keys(key), dead_letters_key(key)],
                    [entry.receipt, entry.deliveries, DEAD_LETTERS_KEPT, *fields],
                    doing=f"dead-lettering from list {key!r}",
                )
            elif settlement.outcome is not Outcome.LAPSED:
                action = "retry" if settlement.outcome is Outcome.RETRIED else "done"
                steps += (entry.receipt, entry.deliveries, action, settlement.delay_ms)
        await self._run(key, steps)

    async def renew(self, key: str, entries: Sequence[Entry]) -> None:
        sent_at = boot_seconds()
        lost = await self._run(key, [p for e in entries for p in (e.receipt, e.deliveries, "renew", self._lease_ms)])
        for entry in entries:
            entry.lease_ends_at = 0.0 if entry.receipt in lost else lease_end(sent_at, self._lease_ms / 1000)

    async def release(self, key: str, entries: Sequence[Entry]) -> None:
        await self._run(key, [p for e in entries for p in (e.receipt, e.deliveries, "back", 0)])

    async def _run(self, key: str, steps: list[Any]) -> list[bytes]:
        """Run settle.lua. Return the receipts of elements that a later delivery holds by now."""
        if not steps:
            return []
        lost: list[bytes] = await self._client.run_script(
            self._settle, _keys(key), steps, doing=f"settling elements of list {key!r}"
        )
        return lost


class AtMostOnce(Delivery):
    """At most once, as in Azure Functions: LPOP or RPOP, COUNT from Redis 6.2, and LMPOP for several keys from 7.0."""

    def __init__(self, trigger: ListTrigger, function_name: str, client: Client, server: ServerInfo) -> None:
        self._trigger = trigger
        self._function_name = function_name
        self._client = client
        self._server = server
        self._keys = keys_read(trigger, multi_pop=server.supports(7))

    def describe(self) -> str:
        if len(self._keys) > 1:
            return "LMPOP (at most once)"
        return (
            f"{self._pop} with COUNT (at most once)" if self._server.supports(6, 2) else f"{self._pop} (at most once)"
        )

    @property
    def _pop(self) -> str:
        return "LPOP" if self._trigger.list_pop_from_beginning else "RPOP"

    async def take(self, key: str, count: int, succeeded: Sequence[Entry] = ()) -> tuple[list[Entry], float | None]:
        popped_from, payloads = await self._pop_elements(key, count)
        return [Entry(popped_from, payload=payload) for payload in payloads], None

    async def _pop_elements(self, key: str, count: int) -> tuple[str, list[bytes]]:
        doing = f"taking from list {key!r}"
        same_slot = next(group for group in self._client.group_by_slot(self._keys) if key in group)
        if len(same_slot) > 1:
            # LMPOP takes from the first key that has elements. Starting at `key` keeps the rotation fair.
            at = same_slot.index(key)
            order = same_slot[at:] + same_slot[:at]
            end = "LEFT" if self._trigger.list_pop_from_beginning else "RIGHT"
            reply = await self._client.command(key, "LMPOP", len(order), *order, end, "COUNT", count, doing=doing)
            return (decode(reply[0]), reply[1]) if reply else (key, [])
        if self._server.supports(6, 2):
            return key, await self._client.command(key, self._pop, key, count, doing=doing) or []
        payload = await self._client.command(key, self._pop, key, doing=doing)
        return key, [] if payload is None else [payload]

    async def settle(self, key: str, settlements: Sequence[Settlement]) -> None:
        for settlement in settlements:
            if settlement.outcome is Outcome.DEAD_LETTERED:
                dead = dead_letters_key(key)
                fields = dead_letter_fields(settlement, self._function_name)
                await self._client.command(
                    dead, "XADD", dead, "MAXLEN", "~", DEAD_LETTERS_KEPT, "*", *fields,
                    doing=f"dead-lettering from list {key!r}",
                )  # fmt: skip

    async def renew(self, key: str, entries: Sequence[Entry]) -> None:
        """Do nothing: a popped element has no lease."""

    async def release(self, key: str, entries: Sequence[Entry]) -> None:
        """Push back elements whose call did not start, in their original order. The others had their one delivery."""
        payloads = [entry.payload for entry in reversed(entries) if not entry.started]
        if payloads:
            push = "LPUSH" if self._trigger.list_pop_from_beginning else "RPUSH"
            await self._client.command(key, push, key, *payloads, doing=f"returning elements to list {key!r}")


@functools.lru_cache(maxsize=1024)
def _keys(key: str) -> list[str]:
    return [key, inflight_key(key), elements_key(key)]
