"""Helpers for tests of pub/sub leases: holders, subscriptions and received messages."""

import redis.asyncio

from listeners.keys import lease_key, lease_notices_channel
from listeners.text import decode
from tests.support.waiting import eventually
from triggerfish import App, Host, RedisMessage

#: The lease of the function on_message in an app that runs in the test's process.
KEY = lease_key("test", "on_message")
#: The lease of the function on_message in the recorder app.
RECORDER_KEY = lease_key("recorder", "on_message")


async def holds(client: redis.asyncio.Redis, instance: str, key: str = KEY) -> bool:
    """Return whether an instance holds the lease."""
    return await holder(client, key) == instance


async def holder(client: redis.asyncio.Redis, key: str = KEY) -> str:
    """Return the name of the instance that holds the lease; empty if none does."""
    return decode((await client.execute_command("GET", key)) or b"")


async def passed_on(client: redis.asyncio.Redis, instance: str, key: str = KEY) -> bool:
    """Return whether an instance no longer holds the lease."""
    return await holder(client, key) != instance


async def listening(client: redis.asyncio.Redis, number: int, key: str = KEY) -> bool:
    """Return whether `number` instances, the holder and the standbys, listen for notices about the lease."""
    ((_, found),) = await client.pubsub_numsub(lease_notices_channel(key))
    return bool(found == number)


async def subscribed(client: redis.asyncio.Redis, number: int) -> None:
    """Wait until the server has `number` subscriptions, including patterns but not those to lease notices."""

    async def subscriptions() -> bool:
        connections = await client.client_list()
        notices = await client.pubsub_numsub(*await client.pubsub_channels("triggerfish:*:notices"))
        total = sum(int(connection["sub"]) + int(connection["psub"]) for connection in connections)
        return total - sum(found for _, found in notices) == number

    await eventually(subscriptions)


def recording_app(channel: str) -> tuple[App, list[RedisMessage]]:
    """Return an app with one function, and the list of messages that the function receives."""
    app, received = App("test"), list[RedisMessage]()

    @app.pubsub_trigger(channel=channel)
    async def on_message(message: RedisMessage) -> None:
        received.append(message)

    return app, received


def number_of(message: RedisMessage) -> int:
    """Return the number of a message; fail for a message that the test did not publish, such as a lease notice."""
    if message.trigger.startswith("__keyspace@"):
        assert message.message == "set"
        return int(message.trigger.partition("__:")[2])
    return int(message.message)


def sample(host: Host, metric: str, **labels: str) -> float | None:
    """Return the value of a metric of the function on_message."""
    labels = {"app": "test", "function": "on_message", **labels}
    return host.registry.get_sample_value(f"triggerfish_{metric}", labels)
