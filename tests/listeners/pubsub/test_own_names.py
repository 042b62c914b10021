"""Functions never receive Triggerfish's own messages: notices about leases, and notifications about its keys."""

import inspect

import pytest
import redis.asyncio

from listeners import keys
from listeners.keys import dead_letters_key, is_own_message, is_own_name, lease_key, lease_notices_channel
from tests.listeners.leases.holders import subscribed
from tests.servers.catalogue import REPRESENTATIVE
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage, Reject

pytestmark = pytest.mark.releases(*REPRESENTATIVE)

CHANNELS = ("*", "__key*", "__keyspace@0__:*", "__keyevent@0__:*")
DELETED = "__keyevent@0__:del"
EVENTS = ("del", "set", "incrby", "expire", "hset", "hdel", "zadd", "zrem", "xadd", "lpop", "new")
#: The functions of listeners.keys that return names of Triggerfish's keys and channels.
MAKERS = [name for name in keys.__all__ if name.endswith(("_key", "_channel")) and "keyspace" not in name]


async def test_no_function_sees_the_keys_of_others(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """While lists and streams are handled, retried and dead-lettered, only messages about users' keys arrive."""
    await client.config_set("notify-keyspace-events", "KEA")
    app, got = App("test"), list[RedisMessage]()

    def add(number: int, channel: str) -> None:
        async def on_message(message: RedisMessage) -> None:
            got.append(message)

        on_message.__name__ = f"on_message_{number}"
        app.pubsub_trigger(channel=channel, concurrency=100)(on_message)

    for number, channel in enumerate((*CHANNELS, *(f"__keyevent@0__:{event}" for event in EVENTS))):
        add(number, channel)

    @app.list_trigger(keys="list")
    async def on_element(element: str) -> None:
        raise Reject(element)

    @app.stream_trigger(keys="stream")
    async def on_entry(entry: dict[str, str]) -> None:
        raise Reject("no")

    async with run_host(app, pubsub_lease_seconds=60):
        await subscribed(client, len(CHANNELS) + len(EVENTS))
        await client.rpush("list", "a", "b")
        await client.xadd("stream", {"n": "1"})
        await eventually(lambda: dead(client, 3))
        await client.delete(dead_letters_key("list"))
        another = lease_key("test", "another")
        await client.set(another, "x", px=60_000)
        await client.delete(another)
        await client.publish(lease_notices_channel(another), "draining 1 x")
        await client.set("last", "1")
        await client.delete("last")
        await eventually(lambda: [message.message for message in got if message.trigger == DELETED].count("last") == 4)
    names = {message.message if message.trigger.startswith("__keyevent@") else message.trigger for message in got}
    assert [name for name in names if "triggerfish" in name] == []
    assert {"list", "stream", "last", "__keyspace@0__:list", "__keyspace@0__:last"} <= names


async def dead(client: redis.asyncio.Redis, number: int) -> bool:
    """Return whether there are `number` dead letters."""
    lengths = [await client.xlen(dead_letters_key(key)) for key in ("list", "stream")]
    return sum(lengths) == number


@pytest.mark.parametrize("maker", MAKERS)
def test_every_name_is_known(maker: str) -> None:
    """Each key and channel that Triggerfish makes is recognized as its own, for any key of a user."""
    make = getattr(keys, maker)
    for key in ("orders", "a{b}c", "}{", "triggerfish"):
        arguments = [lease_key("app", key) if name == "lease" else key for name in inspect.signature(make).parameters]
        name = make(*arguments)
        assert is_own_name(name)
        assert is_own_message(name, b"")
        assert is_own_message(f"__keyspace@15__:{name}", b"hset")
        assert is_own_message("__keyevent@0__:unlink", name.encode())


@pytest.mark.parametrize(
    ("channel", "payload"),
    [
        ("triggerfish", b""),
        ("triggerfish:orders:lease", b""),
        ("orders:triggerfish:{x}:lease", b""),
        ("__keyspace@0__:triggerfish", b"set"),
        ("__keyevent@0__:set", b"orders"),
        ("__keyevent@0__:set", b"\xff"),
        ("news", b"triggerfish:{orders}:inflight"),
    ],
)
def test_messages_of_users(channel: str, payload: bytes) -> None:
    """Other names, and payloads that only look like a key, belong to users."""
    assert not is_own_message(channel, payload)
