"""Pub/sub functions while another function's suspect is called: a death must be the suspect's own."""

import asyncio

import pytest
import redis.asyncio

from tests.listeners.leases.holders import sample
from tests.listeners.streams.sources import GROUP, KEY, dead_letters
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage

pytestmark = [pytest.mark.releases("redis-5.0", "valkey-9.1"), pytest.mark.usefixtures("quick_reclaims")]


async def add_suspect(client: redis.asyncio.Redis) -> None:
    """Add a stream entry that an instance took and died with."""
    # One step, so that a host that is running already does not take it first.
    async with client.pipeline(transaction=True) as step:
        step.xadd(KEY, {"payload": "suspect"}, id="1-1")
        step.execute_command("XGROUP", "DESTROY", KEY, GROUP)
        step.xgroup_create(KEY, GROUP, "0")
        step.xreadgroup(GROUP, "triggerfish-dead", {KEY: ">"})
        step.xclaim(KEY, GROUP, "triggerfish-dead", 0, ["1-1"], idle=3_600_000)
        await step.execute()


async def test_no_message_is_handled_beside_a_suspect(
    client: redis.asyncio.Redis, run_host: RunHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages wait, in the bounded queue, until the suspect's call has ended."""
    monkeypatch.setattr("listeners.pubsub.queue.MAX_MESSAGES", 5)
    app, is_alone, beside, handled = App("test"), False, list[str](), list[str]()

    @app.pubsub_trigger(channel="c", singleton=False)
    async def on_message(message: str) -> None:
        (beside if is_alone else handled).append(message)

    @app.stream_trigger(keys=KEY, consumer_group=GROUP, polling_interval_ms=20)
    async def on_entry(_: RedisMessage) -> None:
        nonlocal is_alone
        is_alone = True

        async def queue_is_full() -> bool:
            await client.publish("c", "m")
            return bool(beside or sample(host, "messages_dropped_total"))

        await eventually(queue_is_full)
        is_alone = False

    await add_suspect(client)
    async with run_host(app) as host:
        await eventually(lambda: beside or len(handled) >= 5)
    assert beside == []
    assert await dead_letters(client) == []


async def test_a_message_whose_call_hangs(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """A suspect waits for the calls of messages, but no longer than their time limit."""
    app, events, gate = App("test"), list[str](), asyncio.Event()

    @app.pubsub_trigger(channel="c", singleton=False, call_timeout_seconds=1)
    async def on_message(_: str) -> None:
        events.append("message")
        try:
            await gate.wait()
        except asyncio.CancelledError:
            events.append("time is up")
            await gate.wait()

    @app.stream_trigger(keys=KEY, consumer_group=GROUP, polling_interval_ms=20)
    async def on_entry(_: RedisMessage) -> None:
        events.append("suspect")

    async with run_host(app):
        await eventually(lambda: client.publish("c", "m"))
        await eventually(lambda: events)
        await add_suspect(client)
        await eventually(lambda: "suspect" in events)
        gate.set()
    assert events == ["message", "time is up", "suspect"]
