"""Pub/sub on a real cluster: channels at one node, keyspace notifications from every primary, fail-over."""

import asyncio
from collections.abc import Iterator

import pytest
import redis.asyncio

from tests.servers.catalogue import RELEASES, present
from tests.servers.cluster import Cluster
from tests.support.running_host import running_host
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage

#: Keys in different slots, on all three primaries.
KEYS = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module", params=present("redis-7.0", "valkey-9.1"))
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster whose nodes publish keyspace notifications."""
    with Cluster(RELEASES[request.param], "--notify-keyspace-events", "KEA") as running:
        yield running


def recording_app(channel: str) -> tuple[App, list[str]]:
    """An app with one function, and the "channel message" that it got."""
    app, got = App("test"), list[str]()

    @app.pubsub_trigger(channel=channel)
    async def on_message(message: RedisMessage) -> None:
        got.append(f"{message.trigger} {message.message}")

    return app, got


async def subscriptions(cluster: Cluster) -> int:
    """How many subscriptions all living nodes have."""
    total = 0
    for node in cluster.nodes:
        if node.process.poll() is None:
            async with redis.asyncio.Redis(port=node.port, protocol=2) as client:
                total += sum(int(one["sub"]) + int(one["psub"]) for one in await client.client_list())
    return total


async def until_subscribed(cluster: Cluster, number: int) -> None:
    """Wait until so many subscriptions are there."""

    async def are_there() -> bool:
        return await subscriptions(cluster) == number

    await eventually(are_there, seconds=20)


async def test_a_message_published_at_any_node_comes_once(cluster: Cluster) -> None:
    """A12 on a cluster: a message comes once, whichever node it is published at; two hosts share one subscription."""
    app, got = recording_app("news.*")
    other, got_by_other = recording_app("news.*")
    async with running_host(cluster, app), running_host(cluster, other):
        await until_subscribed(cluster, 1)
        for number, node in enumerate(cluster.nodes):
            async with redis.asyncio.Redis(port=node.port, protocol=2) as client:
                await client.publish("news.eur", number)
        await eventually(lambda: len(got + got_by_other) >= len(cluster.nodes))
    assert sorted(got + got_by_other) == [f"news.eur {number}" for number in range(len(cluster.nodes))]


@pytest.mark.parametrize("channel", ["__keyevent@0__:set", "__keyspace@0__:*"])
async def test_notifications_come_from_every_primary(cluster: Cluster, channel: str) -> None:
    """A13 on a cluster: events of keys on every primary come, once each, and not those of our own lease."""
    app, got = recording_app(channel)
    client = redis.asyncio.RedisCluster("127.0.0.1", cluster.nodes[0].port, protocol=2)
    async with client, running_host(cluster, app):
        await until_subscribed(cluster, 3)
        for key in KEYS:
            await client.set(key, "1")
        await eventually(lambda: len(got) >= len(KEYS))
    by_key = [f"__keyevent@0__:set {key}" for key in KEYS]
    assert sorted(got) == (by_key if channel.endswith("set") else [f"__keyspace@0__:{key} set" for key in KEYS])


@pytest.mark.parametrize(("channel", "killed", "expected"), [("__keyevent@0__:set", "a", 3), ("news", "news", 1)])
async def test_a_fail_over_is_followed(channel: str, killed: str, expected: int) -> None:
    """After a fail-over messages and notifications come again, from the primary that took over too."""
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


async def test_a_node_that_does_not_publish_is_named_at_start(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """If one primary does not publish the notifications that are asked for, that is said, with the command."""
    with cluster.primaries()[-1].client() as client:
        client.config_set("notify-keyspace-events", "K")
        try:
            app, _ = recording_app("__keyevent@0__:set")
            async with running_host(cluster, app):
                assert "CONFIG SET notify-keyspace-events" in caplog.text
        finally:
            client.config_set("notify-keyspace-events", "KEA")
