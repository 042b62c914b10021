"""A holder of the pub/sub lease notices late that its lease was lost."""

import asyncio
from typing import Never

import pytest
import redis.asyncio

from listeners.keys import lease_key
from listeners.leases.redis_lease import RedisLease
from tests.listeners.leases.holders import subscribed
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App

LEASE = lease_key("test", "on_message")
CONCURRENCY = 10


@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_messages_received_while_another_held_the_lease_are_dropped(
    client: redis.asyncio.Redis, run_host: RunHost
) -> None:
    """A holder whose lease was granted again drops its queue, as the holder in between has handled those messages."""
    app, handled, gate = App("test"), [], asyncio.Event()

    @app.pubsub_trigger(channel="c", concurrency=CONCURRENCY)
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
            # Simulate a long silence of this host: the server ends its lease. Another instance acquires it, handles a
            # message that this host receives too, and releases it.
            pipeline.delete(LEASE)
            pipeline.incr(f"{LEASE}:epoch")
            pipeline.publish("c", "meanwhile")
            await pipeline.execute()

        async def granted_again() -> bool:
            return int(await client.execute_command("GET", f"{LEASE}:epoch")) == epoch + 2

        await eventually(granted_again)
        await subscribed(client, 1)
        gate.set()

        async def later_is_handled() -> bool:
            await client.publish("c", "later")
            return "later" in handled

        await eventually(later_is_handled)
    assert "meanwhile" not in handled


@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_a_drain_without_replies_about_the_lease(
    client: redis.asyncio.Redis, run_host: RunHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder that can neither pass on nor renew its lease handles no message received after the lease's end."""
    app, handled, requested = App("test"), [], asyncio.Event()

    @app.pubsub_trigger(channel="c")
    async def on_message(message: str) -> None:
        handled.append(message)

    async def never_reply(self: RedisLease, name: str) -> Never:
        requested.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with run_host(app, pubsub_lease_seconds=1) as host:
        await subscribed(client, 1)
        monkeypatch.setattr(RedisLease, "run", never_reply)
        await eventually(requested.is_set)
        host.drain()
        await eventually(lambda: is_free(client))
        async with client.pipeline(transaction=True) as pipeline:
            pipeline.set(LEASE, "another")  # this instance handles messages from now on
            pipeline.publish("c", "meanwhile")
            await pipeline.execute()
    assert handled == []


async def is_free(client: redis.asyncio.Redis) -> bool:
    """Return whether no instance holds the lease."""
    return not await client.exists(LEASE)
