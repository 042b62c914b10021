"""Pub/sub on a real cluster: channels on one node, keyspace notifications from every primary, failover."""

import asyncio
from collections.abc import Iterator

import pytest
import redis.asyncio

from tests.servers.catalogue import RELEASES, present
from tests.servers.cluster import Cluster
from tests.support.running_host import running_host
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server

#: Keys in different slots, on all three primaries.
KEYS = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module", params=present("redis-7.0", "valkey-9.1"))
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster whose nodes publish keyspace notifications."""
    with Cluster(RELEASES[request.param], "--notify-keyspace-events", "KEA") as running:
        yield running


def recording_app(channel: str) -> tuple[App, list[str]]:
    """Return an app with one function, and the list of "channel message" texts that it receives."""
    app, got = App("test"), list[str]()

    @app.pubsub_trigger(channel=channel)
    async def on_message(message: RedisMessage) -> None:
        got.append(f"{message.trigger} {message.message}")

    return app, got


async def subscriptions(cluster: Cluster) -> int:
    """Count the subscriptions on all running nodes."""
    total = 0
    for node in cluster.nodes:
        if node.process.poll() is None:
            async with redis.asyncio.Redis(port=node.port, protocol=2) as client:
                total += sum(int(one["sub"]) + int(one["psub"]) for one in await client.client_list())
    return total


async def until_subscribed(cluster: Cluster, number: int) -> None:
    """Wait until there are `number` subscriptions."""

    async def reached() -> bool:
        return await subscriptions(cluster) == number

    await eventually(reached, seconds=20)


async def test_a_message_published_on_any_node_arrives_once(cluster: Cluster) -> None:
    """A message arrives once, whichever node it is published on, as two hosts share one subscription."""
    app, got = recording_app("news.*")
    other, other_got = recording_app("news.*")
    async with running_host(cluster, app), running_host(cluster, other):
        await until_subscribed(cluster, 1)
        for number, node in enumerate(cluster.nodes):
            async with redis.asyncio.Redis(port=node.port, protocol=2) as client:
                await client.publish("news.eur", number)
        await eventually(lambda: len(got + other_got) >= len(cluster.nodes))
    assert sorted(got + other_got) == [f"news.eur {number}" for number in range(len(cluster.nodes))]


@pytest.mark.parametrize("channel", ["__keyevent@0__:set", "__keyspace@0__:*"])
async def test_notifications_arrive_from_every_primary(cluster: Cluster, channel: str) -> None:
    """Events of keys on every primary arrive once each, and events of the host's own lease do not."""
    app, got = recording_app(channel)
    client = redis.asyncio.RedisCluster("127.0.0.1", cluster.nodes[0].port, protocol=2)
    async with client, running_host(cluster, app):
        await until_subscribed(cluster, 3)
        for key in KEYS:
            await client.set(key, "1")
        await eventually(lambda: len(got) >= len(KEYS))
    by_key = [f"__keyevent@0__:set {key}" for key in KEYS]
    assert sorted(got) == (by_key if channel.endswith("set") else [f"__keyspace@0__:{key} set" for key in KEYS])


async def test_triggers_share_a_connection_to_each_primary(cluster: Cluster) -> None:
    """Two triggers on notifications and many on channels have one subscription connection to each primary."""
    app, got = App("test"), dict[str, list[str]]()

    def add(name: str, channel: str) -> None:
        received = got[name] = list[str]()

        async def handle(message: str) -> None:
            received.append(message)

        handle.__name__ = name
        app.pubsub_trigger(channel=channel)(handle)

    for number in range(9):
        add(f"f{number}", f"news.{number}")
    add("sets", "__keyevent@0__:set")
    add("all_events", "__keyevent@0__:*")
    client = redis.asyncio.RedisCluster("127.0.0.1", cluster.nodes[0].port, protocol=2)
    async with client, running_host(cluster, app):
        await until_subscribed(cluster, 9 + 2 * 3)
        assert sum([await subscribers(node) for node in cluster.nodes]) == 3
        for key in KEYS:
            await client.set(key, "1")
        async with redis.asyncio.Redis(port=cluster.nodes[0].port, protocol=2) as publisher:
            for number in range(9):
                await publisher.publish(f"news.{number}", number)
        await eventually(lambda: sum(map(len, got.values())) >= 9 + 2 * len(KEYS))
    assert {name: sorted(messages) for name, messages in got.items()} == {
        **{f"f{number}": [str(number)] for number in range(9)},
        "sets": list(KEYS),
        "all_events": list(KEYS),
    }


async def subscribers(node: Server) -> int:
    """Count the connections to a node that subscribe to something."""
    async with redis.asyncio.Redis(port=node.port, protocol=2) as client:
        return sum(int(one["sub"]) + int(one["psub"]) > 0 for one in await client.client_list())


@pytest.mark.parametrize(("channel", "killed", "expected"), [("__keyevent@0__:set", "a", 3), ("news", "news", 1)])
async def test_a_failover_is_followed(channel: str, killed: str, expected: int) -> None:
    """After a failover, messages and notifications arrive again, also from the new primary."""
    with Cluster(RELEASES["valkey-9.1"], "--notify-keyspace-events", "KEA") as cluster:
        app, got = recording_app(channel)
        async with running_host(cluster, app):
            await until_subscribed(cluster, expected)
            await asyncio.to_thread(cluster.kill_primary_of, killed)
            await until_subscribed(cluster, expected)
            port = cluster.node_of("a").port
            async with redis.asyncio.RedisCluster("127.0.0.1", port, protocol=2) as client:
                await client.set("a", "1")
            async with redis.asyncio.Redis(port=port, protocol=2) as publisher:
                await publisher.publish("news", "a")
            await eventually(lambda: got)
    assert set(got) == {f"{channel} a"}


async def test_a_primary_that_does_not_publish_notifications_is_reported(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """If one primary does not publish the notifications, a log line at start gives the command that turns them on."""
    with cluster.primaries()[-1].client() as client:
        client.config_set("notify-keyspace-events", "K")
        try:
            app, _ = recording_app("__keyevent@0__:set")
            async with running_host(cluster, app):
                assert "CONFIG SET notify-keyspace-events" in caplog.text
        finally:
            client.config_set("notify-keyspace-events", "KEA")
