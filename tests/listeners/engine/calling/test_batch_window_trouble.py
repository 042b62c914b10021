"""`batch_window_ms` when functions hang, Redis does not answer, or the process ends."""

import signal
import threading
from pathlib import Path

import pytest
import redis.asyncio

from listeners.engine.calling.executor import Executor
from tests.listeners.engine.calling.windows import NEVER_MS, SHORT_MS, Calls, add_one_by_one
from tests.support.programs.hosts import ended, host_process
from tests.support.running_host import RunHost, running_host
from tests.support.trigger_kinds import (
    GROUP,
    Kind,
    add,
    both_kinds,
    reached,
    settled,
    trigger,
)
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server

pytestmark = [
    pytest.mark.usefixtures("quick_retries", "quick_reclaims"),
    pytest.mark.releases("redis-5.0", "redis-6.2", "valkey-9.1"),
]


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
