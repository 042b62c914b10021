"""Pub/sub: which function gets a message, and in which instance."""

import asyncio
import logging

import pytest
import redis.asyncio

from listeners.keys import lease_key
from listeners.redis.keyspace import missing_flags
from tests.listeners.leases.holders import holds, sample, subscribed
from tests.servers.catalogue import REPRESENTATIVE
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage

pytestmark = pytest.mark.releases(*REPRESENTATIVE)


def recording_app(*channels: str, name: str = "test", singleton: bool = True) -> tuple[App, list[tuple[str, str, str]]]:
    """Return an app with a function per channel, and the list of what they handle: (channel, trigger, message)."""
    app, handled = App(name), list[tuple[str, str, str]]()

    def add(number: int, channel: str) -> None:
        async def handle(message: RedisMessage) -> None:
            handled.append((channel, message.trigger, message.message))

        handle.__name__ = f"handle_{number}"
        app.pubsub_trigger(channel=channel, singleton=singleton)(handle)

    for number, channel in enumerate(channels):
        add(number, channel)
    return app, handled


async def test_channels_and_patterns(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Each matching message causes one call; the trigger is the channel on which it was published."""
    app, handled = recording_app("testChannel", "testChannel*", "*", "the end")
    async with run_host(app):
        await subscribed(client, 4)
        for channel in ("testChannel", "testChannelsuffix", "prefixtestChannel", "separate", "the end"):
            await client.publish(channel, f"on {channel}")
        await eventually(lambda: ("the end", "the end", "on the end") in handled and len(handled) >= 9)
    expected = {
        "testChannel": ["testChannel"],
        "testChannel*": ["testChannel", "testChannelsuffix"],
        "*": ["testChannel", "testChannelsuffix", "prefixtestChannel", "separate", "the end"],
        "the end": ["the end"],
    }
    assert sorted(handled) == sorted((name, on, f"on {on}") for name, channels in expected.items() for on in channels)


async def test_a_channel_name_with_a_star(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """With pattern=False, a channel name that contains a star stands for that channel only."""
    app, handled = App(), []

    @app.pubsub_trigger(channel="news*", pattern=False)
    async def on_message(message: RedisMessage) -> None:
        handled.append((message.trigger, message.pattern))

    async with run_host(app):
        await subscribed(client, 1)
        await client.publish("newspaper", "")
        await client.publish("news*", "")
        await eventually(lambda: handled)
    assert handled == [("news*", None)]


async def test_keyspace_and_keyevent_notifications(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """SET and DEL arrive once each, by key and by event; the commands of Triggerfish itself cause no messages."""
    await client.config_set("notify-keyspace-events", "KEA")
    channels = ("__keyspace@0__:k", "__keyspace@0__:k*", "__keyevent@0__:set", "__keyevent@0__:*")
    app, handled = recording_app(*channels)
    lease = lease_key("test", "handle_3")
    async with run_host(app, pubsub_lease_seconds=1):
        await subscribed(client, 4)
        await client.set("k", "value")
        await client.delete("k")
        ttl = await client.pttl(lease)
        await eventually(lambda: renewed(client, lease, ttl))
        await client.set("last", "value")
        await eventually(lambda: (channels[3], "__keyevent@0__:set", "last") in handled)
        await eventually(lambda: len(handled) >= 9)
    by_key = [("__keyspace@0__:k", "set"), ("__keyspace@0__:k", "del")]
    by_event = [("__keyevent@0__:set", "k"), ("__keyevent@0__:del", "k"), ("__keyevent@0__:set", "last")]
    for channel, expected in zip(channels, (by_key, by_key, [by_event[0], by_event[2]], by_event), strict=True):
        assert [(on, message) for name, on, message in handled if name == channel] == expected


async def renewed(client: redis.asyncio.Redis, key: str, milliseconds: int) -> bool:
    """Return whether a key's time to live was extended beyond `milliseconds`."""
    return bool(await client.pttl(key) > milliseconds)


async def test_bytes_that_are_not_utf_8(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """A message arrives as the bytes that were published, even if it is empty."""
    app, handled = App(), []

    @app.pubsub_trigger(channel="c")
    async def on_message(message: bytes) -> None:
        handled.append(message)

    async with run_host(app):
        await subscribed(client, 1)
        await client.publish("c", b"\xff\x00")
        await client.publish("c", b"")
        await eventually(lambda: len(handled) == 2)
    assert handled == [b"\xff\x00", b""]


async def test_only_one_of_two_instances_handles_a_message(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Of two instances of an app, only the lease holder handles messages; a metric of both shows which one it is."""
    app, handled = recording_app("c")
    async with run_host(app, instance="first") as first:
        await subscribed(client, 1)
        async with run_host(app, instance="second") as second:
            for number in range(20):
                await client.publish("c", str(number))
            await eventually(lambda: len(handled) == 20)
            labels = {"app": "test", "function": "handle_0"}
            held = [host.registry.get_sample_value("triggerfish_lease_held", labels) for host in (first, second)]
            assert held == [1, 0]
    assert handled == [("c", "c", str(number)) for number in range(20)]


async def test_only_functions_with_a_lease_report_its_holder(run_host: RunHost) -> None:
    """Lists and pub/sub in every instance have no series, as 0 everywhere means that no instance is subscribed."""
    app = App()

    @app.list_trigger(keys="l")
    async def on_element(element: str) -> None: ...

    @app.pubsub_trigger(channel="a", singleton=False)
    async def in_every_instance(message: str) -> None: ...

    @app.pubsub_trigger(channel="b")
    async def in_one_instance(message: str) -> None: ...

    async with run_host(app) as host:
        pass
    [lease] = [family for family in host.registry.collect() if family.name == "triggerfish_lease_held"]
    assert [sample.labels["function"] for sample in lease.samples] == ["in_one_instance"]


async def test_another_instance_takes_over_from_a_draining_one(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """When the holder drains, its lease ends at once, and the other instance continues with a higher epoch."""
    app, epochs = App(), []

    @app.pubsub_trigger(channel="c")
    async def on_message(message: RedisMessage) -> None:
        epochs.append(message.epoch)

    async with run_host(app, instance="first", pubsub_lease_seconds=3600) as first:
        await subscribed(client, 1)
        async with run_host(app, instance="second", pubsub_lease_seconds=3600):
            await client.publish("c", "")
            await eventually(lambda: len(epochs) == 1)
            first.drain()
            await eventually(lambda: holds(client, "second"))
            await subscribed(client, 1)
            await client.publish("c", "")
            await eventually(lambda: len(epochs) == 2)
    assert epochs == [1, 2]


async def test_without_singleton_every_instance_handles_a_message(
    client: redis.asyncio.Redis, run_host: RunHost
) -> None:
    """With singleton=False, every instance subscribes and none acquires a lease."""
    (app, handled), (other_app, other_handled) = (recording_app("c", singleton=False) for _ in range(2))
    async with run_host(app, instance="first"), run_host(other_app, instance="second"):
        await subscribed(client, 2)
        await client.publish("c", "hello")
        await eventually(lambda: handled and other_handled)
        assert await client.keys("*lease*") == []
    assert handled == other_handled == [("c", "c", "hello")]


async def test_queued_messages_are_handled_during_a_drain(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """A drain unsubscribes at once and handles queued messages in order, as no other instance would get them."""
    app, handled, gate = App(), [], asyncio.Event()

    @app.pubsub_trigger(channel="c")
    async def on_message(message: str) -> None:
        await gate.wait()
        handled.append(message)

    async with run_host(app) as host:
        await subscribed(client, 1)
        for number in range(50):
            await client.publish("c", str(number))
        await client.ping()
        await eventually(lambda: sample(host, "entries_received_total"))
        host.drain()
        await subscribed(client, 0)
        gate.set()
    assert handled == [str(number) for number in range(50)]


async def test_no_message_is_dropped_by_a_drain(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Calls that end while the lease is released take no message from the queue as one whose lease has ended."""
    app, handled = App(), list[str]()

    @app.pubsub_trigger(channel="c", concurrency=20)
    async def on_message(message: str) -> None:
        await asyncio.sleep(0)
        handled.append(message)

    async with run_host(app) as host:
        await subscribed(client, 1)
        async with client.pipeline(transaction=False) as pipeline:
            for number in range(3000):
                pipeline.publish("c", number)
            await pipeline.execute()
        await eventually(lambda: handled)
    received = int(sample(host, "entries_received_total") or 0)
    assert (len(handled), sample(host, "messages_dropped_total")) == (received, 0)


async def test_a_failed_call_drops_only_its_message(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """A message whose function raises counts as dropped, and the next one is handled."""
    app, handled = App(), []

    @app.pubsub_trigger(channel="c")
    async def on_message(message: str) -> None:
        if message == "bad":
            raise ValueError(message)
        handled.append(message)

    async with run_host(app) as host:
        await subscribed(client, 1)
        await client.publish("c", "bad")
        await client.publish("c", "good")
        await eventually(lambda: handled == ["good"])
        await eventually(lambda: sample(host, "entries_settled_total", outcome="dropped") == 1)
        await eventually(lambda: sample(host, "entries_settled_total", outcome="succeeded") == 1)


@pytest.mark.parametrize("channel", ["__keyevent@0__:expired", "__keyspace@0__:k", "__keyspace@0__:*"])
async def test_disabled_notifications_are_reported(
    client: redis.asyncio.Redis, run_host: RunHost, caplog: pytest.LogCaptureFixture, channel: str
) -> None:
    """If the server does not publish a channel, a warning at start gives the command that turns it on."""
    app, _ = recording_app(channel)
    with caplog.at_level(logging.INFO, "triggerfish.host"):
        async with run_host(app):
            (warning,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
            _, command, flags = warning.partition("CONFIG SET notify-keyspace-events ")
            assert command, warning
            await client.config_set("notify-keyspace-events", flags)
        caplog.clear()
        async with run_host(app):
            assert all("notify-keyspace-events" not in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("channel", "configured", "missing"),
    [
        ("__keyevent@0__:expired", "", "Ex"),
        ("__keyevent@0__:expired", "E", "x"),
        ("__keyevent@0__:expired", "K", "Ex"),
        ("__keyevent@0__:expired", "Ex", ""),
        ("__keyevent@0__:expired", "KEA", ""),
        ("__keyevent@0__:set", "AK", "E"),
        ("__keyevent@0__:del", "E$", "g"),
        ("__keyevent@0__:lpush", "El", ""),
        ("__keyevent@0__:xadd", "EA", ""),
        ("__keyevent@0__:keymiss", "EA", "m"),
        ("__keyevent@0__:new", "EA", "n"),
        ("__keyevent@*__:expired", "", "Ex"),
        ("__keyevent@0__:*", "", "EA"),
        ("__keyevent@0__:*", "Ex", ""),
        ("__keyspace@0__:k", "", "KA"),
        ("__keyspace@0__:k", "K", "A"),
        ("__keyspace@0__:k", "EA", "K"),
        ("__keyspace@0__:k", "Kg", ""),
    ],
)
def test_missing_flags(channel: str, configured: str, missing: str) -> None:
    """The missing flags are those for the kind of channel and for the event."""
    assert missing_flags(channel, configured) == missing
