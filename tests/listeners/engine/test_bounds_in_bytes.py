"""How many bytes of entries are in progress at once."""

import asyncio

import pytest
import redis.asyncio

from listeners.engine.in_progress import InProgress
from listeners.keys import dead_letters_key
from listeners.pubsub.source import PubSubSource
from listeners.redis.subscriptions.subscription import Message
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import KEY, add, settled
from tests.support.waiting import eventually
from triggerfish import App, Reject

MEGABYTE = 1024 * 1024
MESSAGE = bytes(2 * MEGABYTE - 1)  # with its channel's name, 16 of them are as many bytes as may wait
pytestmark = [pytest.mark.releases("valkey-9.1"), pytest.mark.usefixtures("quick_retries")]


async def test_what_redis_refuses_to_settle_does_not_stop_its_function(
    client: redis.asyncio.Redis, run_host: RunHost
) -> None:
    """An element that fills the function's part of the bound, and cannot be dead-lettered, lets others pass."""
    app, handled = App(), list[int]()

    @app.list_trigger(keys=KEY)
    async def on_element(element: bytes) -> None:
        if len(element) > MEGABYTE:
            raise Reject("too large")
        handled.append(len(element))

    await client.set(dead_letters_key(KEY), "of the wrong type")
    await client.rpush(KEY, bytes(33 * MEGABYTE))
    async with run_host(app) as host:
        refusals = {"app": "test", "function": "on_element", "reason": "wrong_type"}
        await eventually(lambda: host.registry.get_sample_value("triggerfish_source_errors_total", refusals))
        await add(client, "list", "small")
        await eventually(lambda: handled == [5])
        await client.delete(dead_letters_key(KEY))
        await eventually(lambda: settled(client, "list"))


async def test_messages_are_taken_from_the_queue_in_bounds(
    client: redis.asyncio.Redis, run_host: RunHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many calls may run, messages in progress have at most the function's part of the bound."""
    app, begun, may_end, peaks = App(), 0, asyncio.Semaphore(1), [0]
    add_entries = InProgress.add

    @app.pubsub_trigger(channel="c", concurrency=100)
    async def on_message(message: bytes) -> None:
        nonlocal begun
        begun += 1
        await may_end.acquire()

    def add_and_measure(self: InProgress, *arguments: object) -> int:
        added = add_entries(self, *arguments)  # type: ignore[arg-type]
        peaks.append(sum(entry.size for entry in self.entries))
        return added

    monkeypatch.setattr(InProgress, "add", add_and_measure)
    async with run_host(app) as host:
        await eventually(lambda: client.publish("c", MESSAGE))
        await eventually(lambda: begun == 1)
        source = host.listeners[0]._source
        assert isinstance(source, PubSubSource)
        for _ in range(16):  # as many as may be in progress
            source._on_message(Message(b"c", MESSAGE))
        await eventually(lambda: begun >= 17)
        for _ in range(16):  # as many as the queue holds
            source._on_message(Message(b"c", MESSAGE))
        may_end.release()
        await eventually(lambda: begun >= 18)
        for _ in range(100):
            may_end.release()
        await eventually(lambda: begun == 33)
    assert 30 * MEGABYTE < max(peaks) <= 34 * MEGABYTE  # a message may exceed the bound
