"""The queue between a subscription and its function: bounds in messages and bytes, and what is logged about drops."""

import asyncio
import logging
import tracemalloc
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from listeners.functions.entries import Entry
from listeners.host.sources import MAX_BYTES
from listeners.pubsub.drops import DropReason, Drops
from listeners.pubsub.queue import MessageQueue
from tests.listeners.leases.holders import sample, subscribed
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App

MEGABYTE = 1_000_000


@pytest.fixture
async def patient_server(client: redis.asyncio.Redis) -> AsyncIterator[None]:
    """Keep the server from disconnecting a subscriber, however much it leaves unread."""
    name = "client-output-buffer-limit"
    usual = (await client.config_get(name))[name] or ""
    await client.config_set(name, "pubsub 0 0 0")
    yield
    await client.config_set(name, usual)


@pytest.mark.usefixtures("patient_server")
@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_big_messages_for_a_slow_function(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Of 300 MB of messages at most 32 MiB wait in memory. The others are counted as dropped."""
    app, handled, gate = App("test"), [], asyncio.Event()

    @app.pubsub_trigger(channel="c")
    async def on_message(message: bytes) -> None:
        handled.append(message[:5])
        await gate.wait()

    def dropped() -> float:
        return sample(host, "messages_dropped_total") or 0

    async with run_host(app) as host:
        await subscribed(client, 1)
        tracemalloc.start()
        try:
            for number in range(300):
                await client.publish("c", b"%05d" % number + bytes(MEGABYTE))
            await client.publish("c", "the last")
            await eventually(lambda: len(handled) == 1 and dropped() >= 250)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        gate.set()
        await eventually(lambda: len(handled) + dropped() == 301)
    waited = MAX_BYTES // MEGABYTE
    assert handled[: waited + 1] == [b"%05d" % number for number in range(waited + 1)]
    assert peak < MAX_BYTES + 20 * MEGABYTE


def queued(drops: list[int], *sizes: int) -> list[int]:
    """Return the sizes of the messages that a queue of 1,000 bytes accepts."""
    queue = MessageQueue(Drops("on_message", drops.append), 1000)
    for size in sizes:
        queue.put(Entry("", payload=bytes(size)))
    return [len(entry.payload or b"") for entry in queue.take_all()]


async def test_the_bound_in_bytes() -> None:
    """A message that would exceed the bound is dropped; a smaller one after it may still fit."""
    drops: list[int] = []
    assert queued(drops, 400, 500, 200, 100) == [400, 500, 100]
    assert drops == [1]


async def test_one_message_may_be_larger() -> None:
    """A message that is larger than the bound is accepted, but only alone."""
    drops: list[int] = []
    assert queued(drops, 5000, 1) == [5000]
    assert drops == [1]
    assert queued(drops, 1, 5000) == [1]


async def test_room_after_messages_are_taken() -> None:
    """Messages that are taken or dropped make room for others."""
    drops: list[int] = []
    queue = MessageQueue(Drops("on_message", drops.append), 1000)
    for _ in range(3):
        queue.put(Entry("", payload=bytes(500)))
        queue.put(Entry("", payload=bytes(500)))
        assert len(queue.take(1, 1000)) == 1
        queue.drop(DropReason.LEASE_ENDED)
    assert drops == [1, 1, 1]
    assert len(queue) == 0


@pytest.mark.parametrize(
    ("count", "max_bytes", "sizes"), [(2, 1000, [100, 200]), (9, 350, [100, 200]), (9, 10, [100]), (0, 1000, [])]
)
async def test_a_take_is_bounded(count: int, max_bytes: int, sizes: list[int]) -> None:
    """As many messages are taken as fit the bounds, or one that is larger; the others stay in order."""
    queue = MessageQueue(Drops("on_message", lambda _: None), 1000)
    for size in (100, 200, 300):
        queue.put(Entry("", payload=bytes(size)))
    assert [entry.size for entry in queue.take(count, max_bytes)] == sizes
    assert [entry.size for entry in queue.take_all()] == [100, 200, 300][len(sizes) :]


def logged(caplog: pytest.LogCaptureFixture) -> list[int]:
    """Return the numbers of messages in the logged warnings about drops."""
    lines = [record.getMessage() for record in caplog.records if "messages dropped: " in record.getMessage()]
    return [int(line.split()[1]) for line in lines]


async def test_a_burst_is_logged_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Drops are reported at once and logged together, each reason with its number; a later burst is logged again."""
    monkeypatch.setattr("listeners.pubsub.drops.QUIET_SECONDS", 0.01)
    dropped: list[int] = []
    drops = Drops("on_message", dropped.append)
    with caplog.at_level(logging.WARNING, "triggerfish.host"):
        for reason in (DropReason.QUEUE_FULL, DropReason.LEASE_ENDED, DropReason.QUEUE_FULL):
            drops.add(2, reason)
        drops.add(0, DropReason.SHUT_DOWN)
        assert (dropped, logged(caplog)) == ([2, 2, 2], [])
        await eventually(lambda: logged(caplog) == [4, 2])
        drops.add(1, DropReason.QUEUE_FULL)
        await eventually(lambda: logged(caplog) == [4, 2, 1])


async def test_a_burst_without_end_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A long burst is cut, and the rest of it is logged at the end of the instance."""
    monkeypatch.setattr("listeners.pubsub.drops.QUIET_SECONDS", 3600)
    monkeypatch.setattr("listeners.pubsub.drops.LONGEST_BURST_SECONDS", 0.01)
    drops = Drops("on_message", lambda _: None)
    drops.add(5, DropReason.QUEUE_FULL)
    await eventually(lambda: logged(caplog) == [5])
    drops.add(3, DropReason.SHUT_DOWN)
    drops.close()
    drops.close()
    assert logged(caplog) == [5, 3]
