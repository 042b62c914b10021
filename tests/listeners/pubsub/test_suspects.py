"""Pub/sub functions while another function's suspect is called: a death must be the suspect's own."""

import asyncio
import functools

import pytest
import redis.asyncio

from tests.listeners.leases.holders import sample
from tests.listeners.streams.sources import GROUP, KEY, dead_letters
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage

pytestmark = [pytest.mark.releases("redis-5.0", "valkey-9.1"), pytest.mark.usefixtures("quick_reclaims")]


async def add_suspects(client: redis.asyncio.Redis, number: int = 1) -> None:
    """Add stream entries that an instance took and died with."""
    ids = [f"1-{at}" for at in range(1, number + 1)]
    # One step, so that a host that is running already does not take it first.
    async with client.pipeline(transaction=True) as step:
        for entry_id in ids:
            step.xadd(KEY, {"payload": "suspect"}, id=entry_id)
        step.execute_command("XGROUP", "DESTROY", KEY, GROUP)
        step.xgroup_create(KEY, GROUP, "0")
        step.xreadgroup(GROUP, "triggerfish-dead", {KEY: ">"})
        step.xclaim(KEY, GROUP, "triggerfish-dead", 0, [*ids], idle=3_600_000)
        await step.execute()


async def test_no_message_is_handled_beside_a_suspect(
    client: redis.asyncio.Redis, run_host: RunHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages wait, in the bounded queue, until the suspect's call has ended."""
    monkeypatch.setattr("listeners.pubsub.queue.MAX_MESSAGES", 5)
    app, is_alone, beside, handled = App("test"), False, list[str](), list[str]()
    started = asyncio.Event()

    @app.pubsub_trigger(channel="c", singleton=False)
    async def on_message(message: str) -> None:
        (beside if is_alone else handled).append(message)

    @app.stream_trigger(keys=KEY, consumer_group=GROUP, polling_interval_ms=20)
    async def on_entry(_: RedisMessage) -> None:
        nonlocal is_alone
        await started.wait()
        is_alone = True

        async def queue_is_full() -> bool:
            await client.publish("c", "m")
            return bool(beside or sample(host, "messages_dropped_total"))

        await eventually(queue_is_full)
        is_alone = False

    await add_suspects(client)
    async with run_host(app) as host:
        started.set()
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
        await add_suspects(client)
        await eventually(lambda: "suspect" in events)
        gate.set()
    assert events == ["message", "time is up", "suspect"]


async def test_messages_have_their_turn(
    client: redis.asyncio.Redis, run_host: RunHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some time with suspects, messages are called for as long, and not only one of them."""
    monkeypatch.setattr("listeners.engine.suspects.CLOSED_SECONDS", 0.0)
    monkeypatch.setattr("listeners.engine.suspects.OPEN_SECONDS", 60.0)
    app, suspects, handled, gate = App("test"), list[str](), list[str](), asyncio.Event()

    @app.pubsub_trigger(channel="c", singleton=False)
    async def on_message(message: str) -> None:
        await asyncio.sleep(0.01)
        handled.append(message)

    @app.stream_trigger(keys=KEY, consumer_group=GROUP, polling_interval_ms=20)
    async def on_entry(entry: RedisMessage) -> None:
        suspects.append(str(entry.id))
        await gate.wait()

    await add_suspects(client, 2)
    async with run_host(app):
        await eventually(lambda: suspects)
        for number in range(20):
            await eventually(functools.partial(client.publish, "c", number))
        gate.set()
        await eventually(lambda: len(handled) == 20)
        assert suspects == ["1-1"]


async def test_a_drain_during_the_call_of_a_suspect(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Messages that wait are called within the grace period, although the suspect's call outlasts it."""
    app, handled, began = App("test"), list[str](), asyncio.Event()

    @app.pubsub_trigger(channel="c", singleton=False)
    async def on_message(message: str) -> None:
        handled.append(message)

    @app.stream_trigger(keys=KEY, consumer_group=GROUP, polling_interval_ms=20)
    async def on_entry(_: RedisMessage) -> None:
        began.set()
        await asyncio.Event().wait()

    await add_suspects(client)
    async with run_host(app, grace_period_seconds=2) as host:
        await eventually(began.is_set)
        for number in range(3):
            await eventually(functools.partial(client.publish, "c", number))
        await client.ping()
        host.drain()
    assert handled == ["0", "1", "2"]
