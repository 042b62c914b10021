"""`batch_window_ms`: a call with a list waits for a fuller batch, and never for longer than that."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from listeners.engine.calling.executor import Executor
from tests.support.programs.hosts import ended, host_process
from tests.support.running_host import RunHost, running_host
from tests.support.trigger_kinds import (
    GROUP,
    Kind,
    add,
    both_kinds,
    dead_letters,
    payload_of,
    reached,
    settled,
    trigger,
    unfinished,
)
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server

pytestmark = [
    pytest.mark.usefixtures("quick_retries", "quick_reclaims"),
    pytest.mark.releases("redis-5.0", "redis-6.2", "valkey-9.1"),
]

#: Longer than any test: what happens within such a window does not wait for its end.
NEVER_MS = 300_000
SHORT_MS = 300


class Calls:
    """Records the calls of a batch function: the payloads of each, and when it began."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.began_at: list[float] = []
        self.deliveries: list[int] = []

    def add(self, messages: list[RedisMessage]) -> list[str]:
        self.batches.append([payload_of(message) for message in messages])
        self.began_at.append(time.monotonic())
        self.deliveries += [message.deliveries for message in messages]
        return self.batches[-1]

    def function(self, *, is_async: bool = True) -> Callable[..., Any]:
        async def on_batch(messages: list[RedisMessage]) -> None:
            self.add(messages)

        def on_batch_in_thread(messages: list[RedisMessage]) -> None:
            self.add(messages)

        return on_batch if is_async else on_batch_in_thread


async def taken(client: redis.asyncio.Redis, kind: Kind, number: int) -> None:
    """Wait until as many entries are leased or pending."""

    async def are_taken() -> bool:
        return await unfinished(client, kind) == number

    await eventually(are_taken)


async def add_one_by_one(client: redis.asyncio.Redis, kind: Kind, *payloads: str, beside: int = 0) -> None:
    """Add entries, each once the one before it is taken."""
    for number, payload in enumerate(payloads, 1):
        await add(client, kind, payload)
        await taken(client, kind, beside + number)


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


@both_kinds
async def test_a_function_that_hangs(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """When calls that hang block the function, other instances get what it has gathered, and no delivery counts."""
    app, other, calls, others, gate = App(), App(), Calls(), Calls(), threading.Event()

    @trigger(app, kind, batch_size=2, batch_window_ms=NEVER_MS, concurrency=2, call_timeout_seconds=1)
    def on_batch(messages: list[RedisMessage]) -> None:
        calls.add(messages)
        gate.wait(60)

    trigger(other, kind, batch_size=10)(others.function())
    try:
        await add(client, kind, "0", "1", "2", "3")
        async with run_host(app, lease_seconds=3600, instance="stuck", grace_period_seconds=0.1):
            await eventually(lambda: len(calls.batches) == 2)
            await add(client, kind, "4")
            async with run_host(other, lease_seconds=3600, instance="other"):
                await eventually(lambda: sum(map(len, others.batches)) == 5)
                await eventually(lambda: settled(client, kind))
    finally:
        gate.set()
    assert calls.batches[:2] == [["0", "1"], ["2", "3"]]
    # The call with which the function became blocked, and others of the first batch, may have begun before that.
    assert sorted(payload for batch in others.batches for payload in batch) == ["0", "1", "2", "3", "4"]
    assert others.deliveries[others.batches.index(["4"])] == 1


@both_kinds
async def test_a_function_that_becomes_blocked(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries that wait in a function that may start no call go to other instances at once, not after the window."""
    app, other, calls, others = App(), App(), Calls(), Calls()
    trigger(app, kind, batch_size=10, batch_window_ms=NEVER_MS)(calls.function())
    trigger(other, kind, batch_size=10)(others.function())
    async with run_host(app, lease_seconds=3600, instance="stuck") as host:
        await add_one_by_one(client, kind, "0", "1")
        executor = host.listeners[0]._executor
        monkeypatch.setattr(Executor, "blocked", property(lambda self: self is executor))
        host.listeners[0].resume()  # as when a call is abandoned
        async with run_host(other, lease_seconds=3600, instance="other"):
            await eventually(lambda: sum(map(len, others.batches)) == 2)
            await eventually(lambda: settled(client, kind))
    assert (calls.batches, others.deliveries) == ([], [1, 1])


@pytest.mark.parametrize("kind", ["list", "stream"])
async def test_an_outage_within_the_window(own_server: Server, kind: Kind) -> None:
    """Entries that were taken are called at the end of their window although Redis does not answer."""
    app, calls = App(), Calls()
    trigger(app, kind, batch_size=10, batch_window_ms=SHORT_MS)(calls.function())
    client = redis.asyncio.Redis(port=own_server.port, protocol=2)
    async with client, running_host(own_server, app):
        await add_one_by_one(client, kind, "0")
        own_server.process.send_signal(signal.SIGSTOP)
        await eventually(lambda: calls.batches)
        own_server.process.send_signal(signal.SIGCONT)
        await eventually(lambda: settled(client, kind))
    assert calls.batches == [["0"]]
    assert calls.deliveries == [1]


APP = """
import os, redis
from triggerfish import App, RedisMessage
app = App("windows")
notes = redis.Redis(port=int(os.environ["RECORDER_PORT"]), protocol=2)

@app.KIND_trigger(keys="work", batch_size=10, batch_window_ms=300_000)
def on_batch(messages: list[RedisMessage]) -> None:
    notes.rpush("calls", f"{os.environ['TRIGGERFISH_INSTANCE']} {len(messages)} {messages[0].deliveries}")
"""


async def _written(client: redis.asyncio.Redis, folder: Path, kind: Kind) -> Path:
    """Write the app into a folder, and create the group that it reads a stream with."""
    if kind == "stream":
        await client.xgroup_create("work", GROUP, mkstream=True)
    app = folder / "windows.py"
    app.write_text(APP.replace("KIND", kind))
    return app


@both_kinds
async def test_a_signal_within_the_window(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, kind: Kind
) -> None:
    """A process that gets SIGTERM calls what it has gathered, settles it and ends."""
    app = await _written(client, tmp_path, kind)
    with host_process(server, "one", app=str(app)) as process:
        await add_one_by_one(client, kind, "0", "1")
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0
    assert await client.lrange("calls", 0, -1) == [b"one 2 1"]
    assert await settled(client, kind)


@both_kinds
async def test_a_death_within_the_window(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, kind: Kind
) -> None:
    """Entries that waited in a killed process are called by another one after their lease: alone, and none counts."""
    app = await _written(client, tmp_path, kind)
    with host_process(server, "one", app=str(app), lease_seconds=1) as process:
        await add_one_by_one(client, kind, "0", "1")
        process.kill()
        await ended(process)
    with host_process(server, "two", app=str(app), lease_seconds=1):
        await eventually(lambda: reached(client, "calls", 2))
        await eventually(lambda: settled(client, kind))
    assert await client.lrange("calls", 0, -1) == [b"two 1 1", b"two 1 1"]


@both_kinds
async def test_a_batch_that_reaches_the_bound_in_bytes(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that may not have more bytes in progress is called, although it is not full."""
    monkeypatch.setattr("listeners.host.host.MAX_BYTES", 100_000)
    app, calls = App(), Calls()
    trigger(app, kind, batch_size=10, batch_window_ms=NEVER_MS)(calls.function())
    async with run_host(app):
        await add_one_by_one(client, kind, "0", "1")
        await add(client, kind, "x" * 200_000)
        await eventually(lambda: calls.batches)
        await eventually(lambda: settled(client, kind))
    assert calls.batches == [["0", "1", "x" * 200_000]]
