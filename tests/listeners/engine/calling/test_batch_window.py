"""`batch_window_ms`: a call with a list waits for a fuller batch, and never for longer than that."""

import asyncio
import time

import pytest
import redis.asyncio

from tests.listeners.engine.calling.windows import NEVER_MS, SHORT_MS, Calls, add_one_by_one, taken
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import (
    Kind,
    add,
    both_kinds,
    dead_letters,
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


@both_kinds
@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
async def test_a_batch_that_becomes_full(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, *, is_async: bool
) -> None:
    """Entries that arrive one by one are called together as soon as there are enough, and so are the next ones."""
    app, calls = App(), Calls()
    trigger(app, kind, batch_size=4, batch_window_ms=NEVER_MS)(calls.function(is_async=is_async))
    async with run_host(app):
        for batch in (["0", "1", "2"], ["4", "5", "6"]):
            await add_one_by_one(client, kind, *batch)
            await add(client, kind, str(int(batch[-1]) + 1))
            await eventually(lambda: settled(client, kind))
    assert calls.batches == [["0", "1", "2", "3"], ["4", "5", "6", "7"]]


@both_kinds
async def test_more_entries_than_a_batch(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """A full batch does not wait, and no batch has more than `batch_size`. The window begins with what is left."""
    app, calls = App(), Calls()
    trigger(app, kind, batch_size=4, batch_window_ms=NEVER_MS)(calls.function())
    await add(client, kind, *map(str, range(10)))
    async with run_host(app):
        await eventually(lambda: len(calls.batches) == 2)
        await taken(client, kind, 2)
        await add(client, kind, *map(str, range(10, 15)))
        await eventually(lambda: len(calls.batches) == 3)
        await taken(client, kind, 3)
    assert calls.batches == [["0", "1", "2", "3"], ["4", "5", "6", "7"], ["8", "9", "10", "11"], ["12", "13", "14"]]


@both_kinds
@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
async def test_a_window_that_ends(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, *, is_async: bool
) -> None:
    """After the window the entries are called that are there, and the first of them has waited that long."""
    app, calls = App(), Calls()
    trigger(app, kind, batch_size=10, batch_window_ms=SHORT_MS)(calls.function(is_async=is_async))
    async with run_host(app):
        for batch in (["0", "1", "2"], ["3", "4"]):
            began = time.monotonic()
            await add(client, kind, *batch)
            await eventually(lambda: settled(client, kind))
            await eventually(lambda: calls.batches and calls.batches[-1] == batch)  # noqa: B023
            assert calls.began_at[-1] - began >= SHORT_MS / 1000
    assert calls.batches == [["0", "1", "2"], ["3", "4"]]


@both_kinds
async def test_nothing_is_taken_after_the_window(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """While the call runs for which the window has ended, other instances get what arrives."""
    app, other, calls, others, gate = App(), App(), Calls(), Calls(), asyncio.Event()

    @trigger(app, kind, batch_size=10, batch_window_ms=SHORT_MS)
    async def on_batch(messages: list[RedisMessage]) -> None:
        calls.add(messages)
        await gate.wait()

    trigger(other, kind, batch_size=2)(others.function())
    async with run_host(app):
        await add(client, kind, "0", "1")
        await eventually(lambda: calls.batches)
        await add(client, kind, "2", "3")
        async with run_host(other):
            await eventually(lambda: others.batches == [["2", "3"]])
        gate.set()
        await eventually(lambda: settled(client, kind))
    assert calls.batches == [["0", "1"]]


@both_kinds
@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
async def test_a_drain_ends_the_window(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, *, is_async: bool
) -> None:
    """A drain calls what was gathered at once, and settles it."""
    app, calls = App(), Calls()
    trigger(app, kind, batch_size=10, batch_window_ms=NEVER_MS)(calls.function(is_async=is_async))
    async with run_host(app):
        await add_one_by_one(client, kind, "0", "1", "2")
    assert calls.batches == [["0", "1", "2"]]
    assert await settled(client, kind)


@both_kinds
async def test_leases_of_entries_that_wait(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """A window that is longer than a lease gives its entries to no other instance."""
    app, other, calls, others = App(), App(), Calls(), Calls()
    trigger(app, kind, batch_size=10, batch_window_ms=2_500)(calls.function())
    trigger(other, kind, batch_size=10)(others.function())
    async with run_host(app, lease_seconds=1, instance="one"):
        await add_one_by_one(client, kind, "0", "1")
        async with run_host(other, lease_seconds=1, instance="two"):
            await eventually(lambda: calls.batches)
            await eventually(lambda: settled(client, kind))
    assert (calls.batches, calls.deliveries, others.batches) == ([["0", "1"]], [1, 1], [])


@both_kinds
async def test_entries_called_again_do_not_wait(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """Entries of a failed batch are called alone and at once, while new ones wait for a full batch beside them."""
    app, calls = App(), Calls()

    @trigger(app, kind, batch_size=3, batch_window_ms=NEVER_MS, max_deliveries=3)
    async def on_batch(messages: list[RedisMessage]) -> None:
        batch = calls.add(messages)
        if batch in (["0", "1", "2"], ["1"]):
            raise ValueError("no good")

    async with run_host(app):
        await add_one_by_one(client, kind, "0", "1")
        await add(client, kind, "2")
        await eventually(lambda: dead_letters(client))
        await eventually(lambda: settled(client, kind))
        await add_one_by_one(client, kind, "3", "4")
        await add(client, kind, "5")
        await eventually(lambda: settled(client, kind))
    assert sorted(calls.batches[1:-1]) == [["0"], ["1"], ["1"], ["2"]]
    assert calls.batches[-1] == ["3", "4", "5"]


@both_kinds
async def test_a_window_beside_running_calls(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """With concurrency=2 a batch is gathered beside a call that runs, and called when it is full."""
    app, calls, gate = App(), Calls(), asyncio.Event()

    @trigger(app, kind, batch_size=3, batch_window_ms=NEVER_MS, concurrency=2)
    async def on_batch(messages: list[RedisMessage]) -> None:
        calls.add(messages)
        await gate.wait()

    await add(client, kind, "0", "1", "2")
    async with run_host(app):
        await eventually(lambda: len(calls.batches) == 1)
        await add_one_by_one(client, kind, "3", "4", beside=3)
        await add(client, kind, "5", "6")
        await eventually(lambda: len(calls.batches) == 2)
        assert await unfinished(client, kind) == 6
        gate.set()
        await taken(client, kind, 1)
        await add(client, kind, "7", "8")
        await eventually(lambda: settled(client, kind))
    assert calls.batches == [["0", "1", "2"], ["3", "4", "5"], ["6", "7", "8"]]


async def test_popped_elements_wait_too(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """With at-most-once delivery, the window is the same, and a drain calls what was popped."""
    app, calls = App(), Calls()
    trigger(app, "list", batch_size=3, batch_window_ms=NEVER_MS, delivery="at-most-once")(calls.function())

    async def is_popped() -> bool:
        return not await client.llen("work")

    async with run_host(app):
        for payload in map(str, range(5)):
            await add(client, "list", payload)
            await eventually(is_popped)
    assert calls.batches == [["0", "1", "2"], ["3", "4"]]
