"""All pub/sub triggers of an instance share one connection: each gets its messages as if it were alone."""

import asyncio
import contextlib
import functools
import itertools
import time
from collections import defaultdict
from collections.abc import Sequence
from fnmatch import fnmatchcase

import pytest
import redis.asyncio

from listeners.keys import lease_key
from listeners.leases.redis_lease import RedisLease
from tests.listeners.leases.holders import holder, listening, sample, subscribed
from tests.servers.catalogue import REPRESENTATIVE, REPRESENTATIVE_WITH_ACL
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App, Host, RedisMessage
from triggerfish.testing.server import Server

PASSWORD = "hidden-word"
#: The channels and patterns of 50 triggers: the same, different ones, and patterns that overlap.
TOPICS = [*["news"] * 10, *["n*"] * 5, *["*"] * 5, *["n?ws"] * 5, *(f"own.{number}" for number in range(25))]
#: Channels and numbers, in order.
Published = list[tuple[str, int]]
CHANNELS = list(dict.fromkeys(topic for topic in TOPICS if "*" not in topic and "?" not in topic))


def recording_app(*topics: str) -> tuple[App, dict[str, Published]]:
    """Return an app with a function per topic, and what each function receives: (channel, number)."""
    app, received = App("test"), defaultdict[str, Published](list)

    def add(name: str, topic: str) -> None:
        async def handle(message: RedisMessage) -> None:
            received[name].append((message.trigger, int(message.message)))

        handle.__name__ = name
        app.pubsub_trigger(channel=topic)(handle)

    for number, topic in enumerate(topics):
        add(f"f{number}", topic)
    return app, received


async def subscribed_connections(client: redis.asyncio.Redis) -> list[str]:
    """Return the IDs of the connections that subscribe to something."""
    return [row["id"] for row in await client.client_list() if int(row["sub"]) + int(row["psub"])]


async def all_accept(client: redis.asyncio.Redis, host: Host, topics: Sequence[str]) -> None:
    """Wait until all functions hold their leases, and one connection subscribes to their topics and lease notices."""

    async def accept() -> bool:
        [leases] = [family for family in host.registry.collect() if family.name == "triggerfish_lease_held"]
        held = [one.value for one in leases.samples]
        subscriptions = [int(row["sub"]) + int(row["psub"]) for row in await client.client_list()]
        return held == [1] * len(topics) and [number for number in subscriptions if number] == [
            len(set(topics)) + len(topics)
        ]

    await eventually(accept)


async def publish(client: redis.asyncio.Redis, numbers: range) -> Published:
    """Publish each number to every channel, and return what was published, in order."""
    published = [(channel, number) for number in numbers for channel in CHANNELS]
    async with client.pipeline(transaction=False) as pipeline:
        for channel, number in published:
            pipeline.publish(channel, number)
        await pipeline.execute()
    return published


def expected(topics: Sequence[str], published: Published) -> dict[str, Published]:
    """Return what each function must receive."""
    return {
        f"f{index}": [(channel, number) for channel, number in published if fnmatchcase(channel, topic)]
        for index, topic in enumerate(topics)
    }


async def eventually_received(received: dict[str, Published], published: Published) -> None:
    """Wait until the functions of TOPICS have received exactly this."""
    wanted = expected(TOPICS, published)
    await eventually(lambda: received == wanted)


@pytest.mark.releases(*REPRESENTATIVE)
async def test_fifty_triggers_share_a_connection(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Triggers on the same channels, on different ones and on overlapping patterns get each message once, in order."""
    app, received = recording_app(*TOPICS)
    async with run_host(app) as host:
        await all_accept(client, host, TOPICS)
        published = await publish(client, range(20))
        await eventually_received(received, published)
    assert await subscribed_connections(client) == []


@pytest.mark.releases(*REPRESENTATIVE)
async def test_a_killed_connection_is_replaced_for_all(
    client: redis.asyncio.Redis, run_host: RunHost, caplog: pytest.LogCaptureFixture
) -> None:
    """All triggers subscribe again over one new connection, and only messages published meanwhile are lost."""
    app, received = recording_app(*TOPICS)
    async with run_host(app) as host:
        await all_accept(client, host, TOPICS)
        before = await publish(client, range(5))
        await eventually_received(received, before)
        [killed] = await subscribed_connections(client)
        await client.execute_command("CLIENT", "KILL", "ID", killed)
        await all_accept(client, host, TOPICS)
        assert await subscribed_connections(client) != [killed]
        after = await publish(client, range(5, 10))
        await eventually_received(received, [*before, *after])
    assert "unexpected error" not in caplog.text


@pytest.mark.releases(*REPRESENTATIVE)
async def test_a_handover_of_all_triggers_loses_nothing(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """While messages keep coming, a draining instance passes on all its leases. Each function gets each message once,
    in order, in one instance or the other.
    """
    topics = TOPICS[::2]
    app, received = recording_app(*topics)
    leases = [lease_key("test", f"f{index}") for index in range(len(topics))]
    published, stop = Published(), asyncio.Event()

    each_round = sum(fnmatchcase(channel, topic) for channel in CHANNELS for topic in topics)

    def missing() -> int:
        return each_round * len(published) // len(CHANNELS) - sum(map(len, received.values()))

    async def keep_publishing() -> None:
        for number in itertools.count():
            published.extend(await publish(client, range(number, number + 1)))
            await eventually(lambda: missing() < 1000)
            if stop.is_set():
                return

    async def all_held_by(instance: str) -> bool:
        return {await holder(client, lease) for lease in leases} == {instance}

    async def all_have_listeners(number: int) -> bool:
        return all([await listening(client, number, lease) for lease in leases])

    async with contextlib.AsyncExitStack() as stack:
        hosts = [await stack.enter_async_context(run_host(app, instance="0"))]
        await all_accept(client, hosts[0], topics)
        publishing = asyncio.create_task(keep_publishing())
        for number in (1, 2):
            hosts.append(await stack.enter_async_context(run_host(app, instance=str(number))))
            await eventually(lambda: all_have_listeners(2))
            hosts[-2].drain()
            await eventually(functools.partial(all_held_by, str(number)))
            await eventually(lambda: all_have_listeners(1))
        stop.set()
        await publishing
        await eventually(lambda: missing() <= 0)
    assert {name: sorted(of_one) for name, of_one in received.items()} == {
        name: sorted(of_one) for name, of_one in expected(topics, published).items()
    }


@pytest.mark.releases(*REPRESENTATIVE_WITH_ACL)
async def test_a_denied_channel_fails_its_own_function(
    server: Server, client: redis.asyncio.Redis, run_host: RunHost
) -> None:
    """The other functions of the connection miss nothing, and the denied one works once it is allowed."""
    app, received = App("test"), defaultdict[str, list[int]](list)
    connection = f"{server.address},user=limited,password={PASSWORD}"

    @app.pubsub_trigger(channel="allowed", connection_string=connection)
    async def allowed(number: int) -> None:
        received["allowed"].append(number)

    @app.pubsub_trigger(channel="d[e]nied", connection_string=connection)
    async def on_message(number: int) -> None:
        received["denied"].append(number)

    async def limit(*rules: str) -> None:
        await client.execute_command("ACL", "SETUSER", "limited", *rules)

    def denials() -> float:
        return sample(host, "source_errors_total", reason="access_denied") or 0

    await limit("reset", "on", f">{PASSWORD}", "~*", "+@all", "-psubscribe")
    with contextlib.suppress(redis.exceptions.ResponseError):  # Redis 6.0 has no rules for channels
        await limit("&*")
    try:
        async with run_host(app, ready=False) as host:
            await eventually(lambda: client.publish("allowed", -1))
            await eventually(denials)
            before = denials()
            for number in range(100):
                await client.publish("allowed", number)
            await eventually(lambda: denials() > before)
            for number in range(100, 200):
                await client.publish("allowed", number)
            await eventually(lambda: received["allowed"][-1] == 199)
            await limit("+psubscribe")

            async def is_received() -> bool:
                await client.publish("denied", 0)
                return bool(received["denied"])

            await eventually(is_received)
    finally:
        await client.execute_command("ACL", "DELUSER", "limited")
    assert received["allowed"] == list(range(-1, 200))


@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_a_slow_function_does_not_hold_back_others(
    client: redis.asyncio.Redis, run_host: RunHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It drops what its queue cannot hold, and another function on the same channel gets every message."""
    monkeypatch.setattr("listeners.pubsub.queue.MAX_MESSAGES", 250)
    app, received, gate = App("test"), list[int](), asyncio.Event()

    @app.pubsub_trigger(channel="c")
    async def on_message(number: int) -> None:
        await gate.wait()

    @app.pubsub_trigger(channel="c")
    async def other(number: int) -> None:
        received.append(number)

    async with run_host(app) as host:
        await subscribed(client, 1)
        for number in range(2000):
            await client.publish("c", number)
        await eventually(lambda: received == list(range(2000)))
        assert (sample(host, "messages_dropped_total") or 0) > 0
        gate.set()


@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_a_handover_behind_messages_of_another_function(
    client: redis.asyncio.Redis, run_host: RunHost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A successor whose connection has a backlog for another function gets its marker late, and loses nothing."""
    monkeypatch.setattr("listeners.pubsub.source.HANDOVER_SECONDS", 3600)
    app, received = recording_app("news")
    successor, successor_received = recording_app("news")
    run = RedisLease.run

    @successor.pubsub_trigger(channel="busy", singleton=False)
    async def busy(message: str) -> None:
        time.sleep(0.01)  # noqa: ASYNC251  (a function that blocks the event loop)

    async def run_after_backlog(self: RedisLease, name: str) -> list[int]:
        if name == "take_over":
            await client.eval("for _ = 1, 300 do redis.call('PUBLISH', 'busy', 'x') end", 0)
            reply = await run(self, name)
            await client.publish("news", 1)
            return reply
        return await run(self, name)

    monkeypatch.setattr(RedisLease, "run", run_after_backlog)
    async with run_host(app, instance="first", pubsub_lease_seconds=3600) as first:
        await subscribed(client, 1)
        async with run_host(successor, instance="second", pubsub_lease_seconds=3600):
            await eventually(lambda: listening(client, 2, lease_key("test", "f0")))
            await subscribed(client, 2)
            await client.publish("news", 0)
            first.drain()
            await eventually(lambda: successor_received)
    assert (received, successor_received) == ({"f0": [("news", 0)]}, {"f0": [("news", 1)]})
    assert "no marker arrived" not in caplog.text
