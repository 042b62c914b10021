"""Who holds the lease of a pub/sub function, who is subscribed to what, and what functions got."""

import redis.asyncio

from listeners.keys import lease_key, lease_notices_channel
from listeners.text import decode
from tests.support.waiting import eventually
from triggerfish import App, Host, RedisMessage

#: The lease of the function on_message in an app that a test runs in its own process, and in the recorder.
KEY = lease_key("test", "on_message")
RECORDER_KEY = lease_key("recorder", "on_message")


async def holds(client: redis.asyncio.Redis, instance: str, key: str = KEY) -> bool:
    """Whether an instance holds the lease."""
    return await holder(client, key) == instance


async def holder(client: redis.asyncio.Redis, key: str = KEY) -> str:
    """The name of the instance that holds the lease; empty if none does."""
    return decode((await client.execute_command("GET", key)) or b"")


async def passed_on(client: redis.asyncio.Redis, instance: str, key: str = KEY) -> bool:
    """Whether an instance does not hold the lease any more."""
    return await holder(client, key) != instance


async def listening(client: redis.asyncio.Redis, number: int, key: str = KEY) -> bool:
    """Whether so many instances listen for notices about the lease: the holder and those who stand by."""
    ((_, found),) = await client.pubsub_numsub(lease_notices_channel(key))
    return bool(found == number)


async def subscribed(client: redis.asyncio.Redis, number: int) -> None:
    """Wait until the server has so many subscriptions, patterns included, beside those to notices about leases."""

    async def subscriptions() -> bool:
        connections = await client.client_list()
        notices = await client.pubsub_numsub(*await client.pubsub_channels("triggerfish:*:notices"))
        total = sum(int(connection["sub"]) + int(connection["psub"]) for connection in connections)
        return total - sum(found for _, found in notices) == number

    await eventually(subscriptions)


def recording_app(channel: str) -> tuple[App, list[RedisMessage]]:
    """An app with one function, and the messages that it got."""
    app, got = App("test"), list[RedisMessage]()

    @app.pubsub_trigger(channel=channel)
    async def on_message(message: RedisMessage) -> None:
        got.append(message)

    return app, got


def number_of(message: RedisMessage) -> int:
    """Which message it was; fails for one that nobody published, such as our own notices."""
    if message.trigger.startswith("__keyspace@"):
        assert message.message == "set"
        return int(message.trigger.partition("__:")[2])
    return int(message.message)


def sample(host: Host, metric: str, **labels: str) -> float | None:
    """A metric of the function on_message."""
    labels = {"app": "test", "function": "on_message", **labels}
    return host.registry.get_sample_value(f"triggerfish_{metric}", labels)
