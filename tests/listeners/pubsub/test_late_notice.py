"""A holder of the pub/sub lease that notices late that its lease, or its connection, was lost."""

import asyncio
import logging
from typing import Never

import pytest
import redis.asyncio
from redis.asyncio.client import PubSub

from listeners.keys import lease_key
from listeners.leases.redis_lease import RedisLease
from tests.support.lease_holders import subscribed
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App

LEASE = lease_key("test", "on_message")
CONCURRENCY = 10


@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_what_came_while_another_held_the_lease_is_not_handled(
    client: redis.asyncio.Redis, run_host: RunHost
) -> None:
    """A holder that finds its lease granted anew drops what waits: the one that held it meanwhile has handled that."""
    app, handled, gate = App("test"), [], asyncio.Event()

    @app.pubsub_trigger(channel="c")
    async def on_message(message: str) -> None:
        handled.append(message)
        await gate.wait()

    async with run_host(app, pubsub_lease_seconds=1):
        await subscribed(client, 1)
        for number in range(CONCURRENCY):
            await client.publish("c", str(number))
        await eventually(lambda: len(handled) == CONCURRENCY)
        epoch = int(await client.execute_command("GET", f"{LEASE}:epoch"))
        async with client.pipeline(transaction=True) as pipeline:
            # What the server does if we give no sign of life for long: it ends our lease, another instance acquires
            # it, handles a message that comes to us too, and releases it.
            pipeline.delete(LEASE)
            pipeline.incr(f"{LEASE}:epoch")
            pipeline.publish("c", "meanwhile")
            await pipeline.execute()

        async def granted_anew() -> bool:
            return int(await client.execute_command("GET", f"{LEASE}:epoch")) == epoch + 2

        await eventually(granted_anew)
        await subscribed(client, 1)
        gate.set()

        async def later_is_handled() -> bool:
            await client.publish("c", "later")
            return "later" in handled

        await eventually(later_is_handled)
    assert "meanwhile" not in handled


@pytest.mark.releases("valkey-9.1")
async def test_a_connection_that_is_lost_while_it_is_pinged(
    client: redis.asyncio.Redis, run_host: RunHost, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What asyncio says when a ping and the reader both make the lost connection anew is an outage like any other."""
    app, handled, pinged = App("test"), [], asyncio.Event()

    @app.pubsub_trigger(channel="c")
    async def on_message(message: str) -> None:
        handled.append(message)

    async def ping(self: PubSub, message: object = None) -> Never:
        monkeypatch.undo()
        pinged.set()
        raise RuntimeError("read() called while another coroutine is already waiting for incoming data")

    async with run_host(app, pubsub_lease_seconds=1):
        await subscribed(client, 1)
        with caplog.at_level(logging.INFO, "triggerfish.host"):
            monkeypatch.setattr(PubSub, "ping", ping)
            await eventually(pinged.is_set)

            async def later_is_handled() -> bool:
                await client.publish("c", "later")
                return bool(handled)

            await eventually(later_is_handled)
    assert "not foreseen" not in caplog.text


@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_a_drain_while_no_answer_comes_about_the_lease(
    client: redis.asyncio.Redis, run_host: RunHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder that can neither pass its lease on nor renew it keeps no message that came after the lease's end."""
    app, handled, asked = App("test"), [], asyncio.Event()

    @app.pubsub_trigger(channel="c")
    async def on_message(message: str) -> None:
        handled.append(message)

    async def never_answered(self: RedisLease, name: str) -> Never:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with run_host(app, pubsub_lease_seconds=1) as host:
        await subscribed(client, 1)
        monkeypatch.setattr(RedisLease, "run", never_answered)
        await eventually(asked.is_set)
        host.drain()
        await eventually(lambda: ended(client))
        async with client.pipeline(transaction=True) as pipeline:
            pipeline.set(LEASE, "another")  # it is the one that handles what is published from now on
            pipeline.publish("c", "meanwhile")
            await pipeline.execute()
    assert handled == []


async def ended(client: redis.asyncio.Redis) -> bool:
    """Whether nobody holds the lease."""
    return not await client.exists(LEASE)
