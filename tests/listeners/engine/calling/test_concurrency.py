"""`concurrency`: how many calls of a function run at once, for lists, streams and pub/sub."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis.asyncio

from tests.listeners.leases.holders import subscribed
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import (
    Kind,
    add,
    both_kinds,
    dead_letters,
    payload_of,
    settled,
    trigger,
    unfinished,
)
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage

pytestmark = [
    pytest.mark.usefixtures("quick_retries", "quick_reclaims"),
    pytest.mark.releases("redis-5.0", "redis-6.2", "valkey-9.1"),
]

#: How long a call waits for another to begin beside it.
OVERLAP_SECONDS = 0.01
ENTRIES = [str(number) for number in range(30)]


class Gate:
    """Holds calls of a function until it is opened. `begun` has what each was called with."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self._loop, self._thread = asyncio.Event(), threading.Event()

    def open(self) -> None:
        self._loop.set()
        self._thread.set()

    async def wait(self, argument: Any) -> None:
        self.begun.append(argument)
        await self._loop.wait()

    def wait_on_thread(self, argument: Any) -> None:
        self.begun.append(argument)
        self._thread.wait(30)


def add_function(app: App, kind: Kind, gate: Gate, *, is_async: bool, batch: bool, **options: Any) -> None:
    """Add a function that waits at the gate, with the payloads of its entries as text."""

    async def one(message: RedisMessage) -> None:
        await gate.wait(payload_of(message))

    def plain(message: RedisMessage) -> None:
        gate.wait_on_thread(payload_of(message))

    async def many(messages: list[RedisMessage]) -> None:
        await gate.wait([payload_of(message) for message in messages])

    def plain_many(messages: list[RedisMessage]) -> None:
        gate.wait_on_thread([payload_of(message) for message in messages])

    functions: dict[tuple[bool, bool], Callable[..., Any]] = {
        (True, False): one,
        (False, False): plain,
        (True, True): many,
        (False, True): plain_many,
    }
    trigger(app, kind, **options)(functions[is_async, batch])


@both_kinds
@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
async def test_one_call_after_the_other(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, *, is_async: bool
) -> None:
    """With concurrency=1 a call begins when the previous one has ended, in the order of the entries."""
    app, steps, another_began = App(), list[str](), threading.Event()

    def begin(message: RedisMessage) -> None:
        another_began.set()
        another_began.clear()
        steps.append(f"begin {payload_of(message)}")

    async def on_entry(message: RedisMessage) -> None:
        begin(message)
        await asyncio.sleep(OVERLAP_SECONDS)
        steps.append(f"end {payload_of(message)}")

    def on_entry_in_thread(message: RedisMessage) -> None:
        begin(message)
        another_began.wait(OVERLAP_SECONDS)
        steps.append(f"end {payload_of(message)}")

    trigger(app, kind, concurrency=1)(on_entry if is_async else on_entry_in_thread)
    await add(client, kind, *ENTRIES)
    async with run_host(app):
        await eventually(lambda: len(steps) == 2 * len(ENTRIES))
    assert steps == [f"{step} {payload}" for payload in ENTRIES for step in ("begin", "end")]


@both_kinds
@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
@pytest.mark.parametrize(("options", "calls"), [({"concurrency": 2}, 2), ({"concurrency": 6, "batch_size": 2}, 6)])
async def test_no_more_entries_are_taken_than_calls_run(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, options: dict[str, int], calls: int, *, is_async: bool
) -> None:
    """As many calls run as the concurrency allows, more or fewer than are taken at once. Others may take the rest."""
    app, gate = App(), Gate()
    add_function(app, kind, gate, is_async=is_async, batch=False, **options)
    await add(client, kind, *ENTRIES)
    async with run_host(app):
        await eventually(lambda: len(gate.begun) == calls)
        assert await unfinished(client, kind) == calls
        gate.open()
        await eventually(lambda: len(gate.begun) == len(ENTRIES))
        await eventually(lambda: settled(client, kind))
    assert sorted(gate.begun, key=int) == ENTRIES


@both_kinds
@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
async def test_batches_at_once(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, *, is_async: bool) -> None:
    """With concurrency=2 two full batches are called at once, and the other entries remain for other instances."""
    app, gate = App(), Gate()
    add_function(app, kind, gate, is_async=is_async, batch=True, concurrency=2, batch_size=3)
    await add(client, kind, *ENTRIES)
    async with run_host(app):
        await eventually(lambda: len(gate.begun) == 2)
        assert await unfinished(client, kind) == 6
        gate.open()
        await eventually(lambda: len(gate.begun) == 10)
        await eventually(lambda: settled(client, kind))
    assert sorted(gate.begun, key=lambda batch: int(batch[0])) == [ENTRIES[at : at + 3] for at in range(0, 30, 3)]


@both_kinds
async def test_small_batches_at_once(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """Two calls with one entry each are all that concurrency=2 allows: no third entry is taken beside them."""
    app, gate = App(), Gate()
    add_function(app, kind, gate, is_async=True, batch=True, concurrency=2, batch_size=10)
    async with run_host(app):
        for number in range(2):
            await add(client, kind, ENTRIES[number])
            await eventually(lambda: len(gate.begun) == number + 1)  # noqa: B023
        await add(client, kind, *ENTRIES[2:12])
        another = App()

        @trigger(another, kind, batch_size=10)
        async def many(messages: list[RedisMessage]) -> None:
            gate.begun.append([payload_of(message) for message in messages])

        async with run_host(another):  # an instance that has room gets them all
            await eventually(lambda: len(gate.begun) == 3)
        gate.open()
        await eventually(lambda: settled(client, kind))
    assert gate.begun == [["0"], ["1"], ENTRIES[2:12]]


@both_kinds
async def test_entries_of_a_failed_batch_one_after_the_other(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind
) -> None:
    """With concurrency=1 the entries of a batch that failed are called alone, and one after the other."""
    app, running, most, calls = App(), 0, 0, list[list[str]]()

    @trigger(app, kind, concurrency=1, batch_size=5, max_deliveries=2)
    async def on_batch(messages: list[RedisMessage]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(OVERLAP_SECONDS)
        running -= 1
        calls.append([payload_of(message) for message in messages])
        if len(messages) > 1 or calls[-1] == ["3"]:
            raise ValueError("no good")

    await add(client, kind, *ENTRIES[:5])
    async with run_host(app):
        await eventually(lambda: dead_letters(client))
        await eventually(lambda: settled(client, kind))
    assert calls[0] == ENTRIES[:5]
    assert sorted(calls[1:]) == [[payload] for payload in ENTRIES[:5]]
    assert most == 1


@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
@pytest.mark.parametrize("concurrency", [1, 2])
async def test_lists_of_messages(
    client: redis.asyncio.Redis, run_host: RunHost, concurrency: int, *, is_async: bool
) -> None:
    """A pub/sub function that takes a list has as many calls at once as the concurrency, each with what has arrived."""
    app, gate = App("test"), Gate()

    async def on_messages(messages: list[str]) -> None:
        await gate.wait(messages)

    def on_messages_in_thread(messages: list[str]) -> None:
        gate.wait_on_thread(messages)

    on_messages_in_thread.__name__ = "on_messages"
    app.pubsub_trigger(channel="c", concurrency=concurrency)(on_messages if is_async else on_messages_in_thread)
    async with run_host(app):
        await subscribed(client, 1)
        for number in range(concurrency):
            await client.publish("c", str(number))
            await eventually(lambda: len(gate.begun) == number + 1)  # noqa: B023
        for number in range(concurrency, 10):
            await client.publish("c", str(number))
        gate.open()
        await eventually(lambda: sum(map(len, gate.begun)) == 10)
    assert gate.begun[:concurrency] == [[str(number)] for number in range(concurrency)]
    assert sorted((message for messages in gate.begun for message in messages), key=int) == [
        str(number) for number in range(10)
    ]
