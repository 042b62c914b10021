"""Pub/sub failures: killed and suspended holders, a lease that cannot be acquired, too many messages."""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from listeners.pubsub.drops import DropReason
from tests.listeners.leases.holders import KEY, RECORDER_KEY, holds, listening, recording_app, sample, subscribed
from tests.servers.catalogue import REPRESENTATIVE
from tests.support.programs.hosts import host_process
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import reached, recorded
from tests.support.waiting import eventually
from triggerfish import App
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases(*REPRESENTATIVE)

LEASE_SECONDS = 2


async def test_another_instance_takes_over_from_a_killed_one(server: Server, client: redis.asyncio.Redis) -> None:
    """When the holder is killed, the other instance continues once the lease has ended."""
    with host_process(server, "first", pubsub_lease_seconds=LEASE_SECONDS) as first:
        await eventually(lambda: holds(client, "first", RECORDER_KEY))
        with host_process(server, "second", pubsub_lease_seconds=LEASE_SECONDS):
            await eventually(lambda: listening(client, 2, RECORDER_KEY))
            first.kill()
            await eventually(lambda: holds(client, "second", RECORDER_KEY))
            await subscribed(client, 1)
            await client.publish("work:pubsub", "later")
            await eventually(lambda: client.llen("handled:pubsub"))
            assert await recorded(client, "handled:pubsub") == ["second later 1"]


@pytest.mark.releases("redis-5.0", "redis-7.0", "valkey-9.1")
async def test_a_suspended_holder_handles_nothing_after_its_lease(server: Server, client: redis.asyncio.Redis) -> None:
    """A holder that resumes after its lease has ended drops its messages, as the new holder has handled them."""
    with host_process(server, "first", pubsub_lease_seconds=1) as first:
        await eventually(lambda: holds(client, "first", RECORDER_KEY))
        await subscribed(client, 1)
        with host_process(server, "second", pubsub_lease_seconds=1):
            first.send_signal(signal.SIGSTOP)
            await eventually(lambda: holds(client, "second", RECORDER_KEY))
            await subscribed(client, 2)
            await client.publish("work:pubsub", "meanwhile")
            await eventually(lambda: client.llen("handled:pubsub"))
            first.send_signal(signal.SIGCONT)
            await subscribed(client, 1)
            await client.publish("work:pubsub", "after")
            await eventually(lambda: reached(client, "handled:pubsub", 2))
            assert await recorded(client, "started:pubsub") == ["second meanwhile 1", "second after 1"]


async def test_messages_beyond_the_queue_size_are_dropped(
    client: redis.asyncio.Redis, run_host: RunHost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Messages that do not fit into the bounded queue are dropped, counted and logged once; the rest are handled."""
    monkeypatch.setattr("listeners.pubsub.drops.QUIET_SECONDS", 3600)
    monkeypatch.setattr("listeners.pubsub.queue.MAX_MESSAGES", 10)
    monkeypatch.setattr("listeners.engine.calling.limits.MESSAGES_PER_TAKE", 1)
    app, handled, gate = App(), [], asyncio.Event()

    @app.pubsub_trigger(channel="c", concurrency=10)
    async def on_message(message: str) -> None:
        handled.append(message)
        await gate.wait()

    async with run_host(app) as host:
        await subscribed(client, 1)
        for number in range(10):
            await client.publish("c", str(number))
        await eventually(lambda: len(handled) == 10)
        for number in range(10, 23):
            await client.publish("c", str(number))
        await eventually(lambda: sample(host, "messages_dropped_total") == 3)
        gate.set()
        await eventually(lambda: len(handled) == 20)
    assert handled == [str(number) for number in range(20)]
    assert [record.getMessage() for record in caplog.records if "3 messages dropped" in record.getMessage()] == [
        f"on_message: 3 messages dropped: {DropReason.QUEUE_FULL.value}"
    ]


@pytest.mark.parametrize("suffix", ["", ":epoch", ":length", ":draining"])
async def test_a_lease_key_of_the_wrong_type(
    client: redis.asyncio.Redis, run_host: RunHost, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    """A lease key of the wrong type is reported once, with the fix. Other triggers go on, and this one recovers."""
    app, got = recording_app("news")
    elements: list[str] = []

    @app.list_trigger(keys="list")
    async def on_element(element: str) -> None:
        elements.append(element)

    await client.rpush(KEY + suffix, "not a lease")
    if suffix in {":length", ":draining"}:
        await client.set(KEY, "another")
    with caplog.at_level(logging.INFO, "triggerfish.host"):
        async with run_host(app) as host:
            await eventually(lambda: sample(host, "source_errors_total", reason="wrong_type"))
            assert (sample(host, "source_up"), sample(host, "lease_held")) == (0, 0)
            await client.rpush("list", "1")
            await eventually(lambda: elements == ["1"])
            await client.delete(KEY + suffix, KEY)
            await eventually(lambda: sample(host, "lease_held") == 1, seconds=15)
            await subscribed(client, 1)
            await client.publish("news", "1")
            await eventually(lambda: got)
            await eventually(lambda: sample(host, "source_up") == 1)
    (line,) = [record.getMessage() for record in caplog.records if "of the wrong type" in record.getMessage()]
    assert "on_message: maintaining" in line
    assert KEY in line
    assert "Delete it" in line


async def test_a_holder_that_cannot_renew_stops_in_time(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """A holder unsubscribes when its lease ends, and its metric shows that it has none. Messages that wait then are
    lost, and counted as dropped. Later ones are for the next holder, and are not counted.
    """
    app, handled, gate = App("test"), [], asyncio.Event()

    @app.pubsub_trigger(channel="news")
    async def on_message(message: str) -> None:
        handled.append(message)
        await gate.wait()

    async with run_host(app, pubsub_lease_seconds=2) as host:
        await subscribed(client, 1)
        for message in ("in a call", "waits", "waits too"):
            await client.publish("news", message)
        await eventually(lambda: handled)
        await client.delete(KEY)
        await client.rpush(KEY, "renewals fail from now on")
        await eventually(lambda: sample(host, "lease_held") == 0)
        for _ in range(50):
            await client.publish("news", "for the next holder")
        await subscribed(client, 0)
        gate.set()
        await eventually(lambda: sample(host, "entries_in_progress") == 0)
        assert sample(host, "messages_dropped_total") == 2
        await client.delete(KEY)
        await subscribed(client, 1)
        await client.publish("news", "again")
        await eventually(lambda: handled == ["in a call", "again"])


@pytest.fixture
async def small_buffers(client: redis.asyncio.Redis) -> AsyncIterator[None]:
    """Make the server disconnect a subscriber that leaves 6 MB unread, instead of 32 MB."""
    name = "client-output-buffer-limit"
    usual = (await client.config_get(name))[name] or ""
    await client.config_set(name, "pubsub 6000000 0 0")
    yield
    await client.config_set(name, usual)


async def wait_until(deadline: float) -> None:
    """Wait until time.monotonic() has reached `deadline`."""
    await eventually(lambda: time.monotonic() > deadline)


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_messages_faster_than_functions(
    client: redis.asyncio.Redis, run_host: RunHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long overload does not make the server disconnect the host: each message is handled or counted as dropped."""
    monkeypatch.setattr("listeners.redis.subscriptions.connection.BEHIND_SECONDS", 0.1)
    monkeypatch.setattr("listeners.pubsub.queue.MAX_MESSAGES", 1000)
    app, handled = App("test"), 0

    @app.pubsub_trigger(channel="news")
    async def on_message(message: str) -> None:
        nonlocal handled
        handled += 1
        time.sleep(0.002)  # noqa: ASYNC251  (a function that blocks the event loop)

    burst = "for _ = 1, 250 do redis.call('PUBLISH', 'news', ARGV[1]) end"
    async with run_host(app, pubsub_lease_seconds=1) as host:
        await subscribed(client, 1)
        for _ in range(80):  # 20 MB, 5 MB/s
            next_burst_at = time.monotonic() + 0.05
            await client.eval(burst, 0, "x" * 1000)
            await wait_until(next_burst_at)
        await eventually(lambda: handled + (sample(host, "messages_dropped_total") or 0) == 20_000)
        assert sample(host, "source_errors_total", reason="unavailable") is None
        assert (sample(host, "messages_dropped_total") or 0) > 0


async def test_messages_left_after_the_grace_period_are_counted(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Messages that are queued or in a call when the grace period ends are lost and counted as dropped."""
    app = App("test")

    @app.pubsub_trigger(channel="news")
    async def on_message(message: str) -> None:
        await asyncio.Event().wait()

    async with run_host(app, grace_period_seconds=0.1) as host:
        await subscribed(client, 1)
        for number in range(25):
            await client.publish("news", number)
        await eventually(lambda: sample(host, "entries_received_total"))
        host.drain()
    assert sample(host, "messages_dropped_total") == 25
