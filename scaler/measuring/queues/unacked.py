"""Messages of some queues among those that Celery's workers hold. By default, all queues share one hash."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from listeners.errors import CommandRefusedError, SourceError, SourceTimeoutError
from listeners.redis.client import Client
from listeners.redis.scripts import ScriptCall, load_script
from listeners.redis.server_info import ServerInfo
from listeners.text import decode, printable
from scaler.measuring.backlog import Jobs, KeyBacklog, KeySample
from scaler.measuring.queries import run
from scaler.measuring.queues.rights import of_trigger
from scaler.queues.celery import CeleryQueue

__all__ = ["UnackedScans"]

SCAN = load_script("scaler.queues", "unacked")
#: How many messages one step reads, which takes the server a millisecond or two. It serves others between two steps.
STEP_MESSAGES = 500
#: Where a scan stops. What it has not read by then is only known to be there.
MAX_MESSAGES = 50_000
MAX_SECONDS = 1.0
MAX_NAME_CHARACTERS = 100
#: A scan that took longer than CHEAP_SECONDS is used for KEPT_MULTIPLE times as long.
CHEAP_SECONDS = 0.01
KEPT_MULTIPLE = 20
#: How many bindings of an exchange are read, and of how many exchanges.
MAX_BINDINGS, MAX_EXCHANGES = 1_000, 50
Source = tuple[str, str, str]
Binding = tuple[str, str, str]


@dataclass
class _Held:
    """The messages in a hash by exchange and routing key, and the bindings of the exchanges. `unread` messages were
    not scanned, and of `unreadable` ones neither is known.
    """

    taken_at: float
    messages: Counter[tuple[str, str]] = field(default_factory=Counter)
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    total: int = 0
    unreadable: int = 0
    complete: bool = False
    kept_until: float = 0.0

    def of(self, queues: Iterable[str]) -> int:
        """Return how many messages are of some queues. One that may be of them counts."""
        wanted = set(queues)
        return self.unreadable + sum(
            number for (exchange, key), number in self.messages.items() if self._leads_to(exchange, key, wanted)
        )

    def _leads_to(self, exchange: str, routing_key: str, queues: set[str]) -> bool:
        if not exchange:
            return routing_key in queues
        bindings = self.bindings.get(exchange)
        if not bindings:  # without any, kombu delivers to the queue that the routing key names
            return routing_key in queues or bindings is None
        return any(queue in queues and (key == routing_key or pattern) for key, pattern, queue in bindings)


class UnackedScans:
    """Scans hashes of one Redis, each once for all triggers that ask at the same time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._kept: dict[Source, _Held] = {}
        self._running: dict[Source, asyncio.Task[_Held]] = {}
        self._next: dict[Source, asyncio.Task[_Held]] = {}

    def measure(
        self, trigger: CeleryQueue, total: int, server: ServerInfo
    ) -> "asyncio.Future[KeySample | SourceError]":
        """Return the messages of a trigger's queues, by a scan that begins after this call. `total`: how many messages
        the hash has.
        """
        return asyncio.ensure_future(self._measure(trigger, total, server))

    async def close(self) -> None:
        """Stop scanning."""
        tasks = [*self._running.values(), *self._next.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _measure(self, trigger: CeleryQueue, total: int, server: ServerInfo) -> KeySample | SourceError:
        source = trigger.unacked, trigger.global_keyprefix, trigger.sep
        held = self._kept.get(source)
        try:
            if held is None or time.monotonic() >= held.kept_until:
                held = await asyncio.shield(self._scan_after_now(source, server))
                self._keep(source, held)
        except SourceError as error:
            return of_trigger(printable(trigger.reads, MAX_NAME_CHARACTERS), error)
        except asyncio.CancelledError:
            return SourceTimeoutError(f"key {trigger.unacked!r}: its Redis is no longer measured")
        newer = max(total - held.total, 0) if held.complete else 0  # all of them may be of these queues
        found = min(held.of(trigger.queue) + newer, max(total, held.total))
        return KeySample(KeyBacklog(trigger.unacked, 0, found, jobs=Jobs(capped=not held.complete)), held.taken_at)

    def _keep(self, source: Source, held: _Held) -> None:
        """Keep the result of a scan, and drop expired ones."""
        now = time.monotonic()
        for expired in [each for each, kept in self._kept.items() if now >= kept.kept_until]:
            del self._kept[expired]
        if now < held.kept_until:
            self._kept[source] = held

    def _scan_after_now(self, source: Source, server: ServerInfo) -> "asyncio.Task[_Held]":
        """Return a scan that has not begun yet: a running one may have passed what has just been added."""
        if source not in self._next:
            before = self._running.get(source)
            task = self._next[source] = asyncio.create_task(self._scan(source, server, before), name="scanning unacked")
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._next[source]

    async def _scan(self, source: Source, server: ServerInfo, before: "asyncio.Task[_Held] | None") -> _Held:
        if before is not None:
            await asyncio.wait({before})
        self._running[source] = self._next.pop(source)
        try:
            return await self._held(*source, server)
        finally:
            self._running.pop(source, None)

    async def _held(self, key: str, prefix: str, separator: str, server: ServerInfo) -> _Held:
        held = _Held(time.monotonic())
        cursor, seconds = b"0", 0.0
        while held.total < MAX_MESSAGES and time.monotonic() - held.taken_at < MAX_SECONDS:
            began = time.monotonic()
            call = ScriptCall(SCAN, (key,), (cursor, STEP_MESSAGES), read_only=server.supports(7))
            [reply] = await run(self._client, server, [(key, [call])])
            cursor = _read(reply.read(f"searching key {key!r}"), held)
            seconds += time.monotonic() - began
            if cursor == b"0":
                held.complete = True
                break
        exchanges = sorted({exchange for exchange, _ in held.messages if exchange})
        held.bindings = await self._bindings(prefix, separator, exchanges)
        held.kept_until = time.monotonic() + (KEPT_MULTIPLE * seconds if seconds > CHEAP_SECONDS else 0.0)
        return held

    async def _bindings(self, prefix: str, separator: str, exchanges: list[str]) -> dict[str, list[Binding]]:
        """Return the bindings of exchanges. Those of which they are not known lead to all queues."""
        keys = [f"{prefix}_kombu.binding.{exchange}" for exchange in exchanges[:MAX_EXCHANGES]]
        if not keys:
            return {}
        groups = [(key, [("SRANDMEMBER", key, MAX_BINDINGS)]) for key in keys]
        replies = await self._client.transactions(groups, doing="reading bindings")
        found: dict[str, list[Binding]] = {}
        for exchange, reply in zip(exchanges, replies, strict=False):
            match reply:
                case [[*members]] if len(members) < MAX_BINDINGS:
                    bindings = [_binding(member, separator) for member in members]
                    if None not in bindings:
                        found[exchange] = [binding for binding in bindings if binding is not None]
        return found


def _binding(member: Any, separator: str) -> Binding | None:
    """Return the routing key, pattern and queue of a binding; None if they cannot be told apart."""
    match decode(member).split(separator) if isinstance(member, bytes) else []:
        case [routing_key, pattern, queue]:
            return routing_key, pattern, queue
        case _:
            return None


def _read(values: list[Any], held: _Held) -> bytes:
    """Add what a step has found, and return the cursor of the next step. Raises CommandRefusedError."""
    match values:
        case [[bytes(cursor), int(read), [*found]]]:
            for name, number in zip(found[::2], found[1::2], strict=False):
                if not isinstance(name, bytes) or type(number) is not int or number < 0:
                    break
                exchange, newline, routing_key = decode(name).partition("\n")
                if newline:
                    held.messages[exchange, routing_key] += number
                else:
                    held.unreadable += number
            else:
                held.total += read
                return cursor
    raise CommandRefusedError("searching for unacknowledged messages: unreadable reply")
