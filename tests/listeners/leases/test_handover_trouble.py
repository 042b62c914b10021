"""Handovers that fail halfway end within a second or one lease time, and messages are handled again."""

import gc

import pytest
import redis.asyncio

from listeners.keys import lease_notices_channel
from listeners.leases.handover import Handover
from listeners.leases.redis_lease import RedisLease
from listeners.redis.client import Client
from tests.listeners.leases.holders import (
    KEY,
    holder,
    holds,
    listening,
    number_of,
    passed_on,
    recording_app,
    subscribed,
)
from tests.servers.catalogue import REPRESENTATIVE
from tests.support.running_host import RunHost
from tests.support.waiting import eventually

pytestmark = pytest.mark.releases(*REPRESENTATIVE)


async def test_a_drain_without_standbys_does_not_wait(
    client: redis.asyncio.Redis, run_host: RunHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance without standbys releases the lease without waiting for a successor."""
    monkeypatch.setattr("listeners.pubsub.source.HANDOVER_SECONDS", 3600)
    app, _ = recording_app("*")
    async with run_host(app, pubsub_lease_seconds=3600) as host:
        await subscribed(client, 1)
        host.drain()
        await eventually(lambda: listening(client, 0))
    assert await client.exists(KEY) == 0


async def test_a_holder_that_dies_after_its_offer(
    client: redis.asyncio.Redis, ours: Client, run_host: RunHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a holder announces a drain and dies, another takes over at once, however long the lease is."""
    monkeypatch.setattr("listeners.leases.redis_lease.REDIS_STANDBY_SECONDS", 3600)  # it must not wait for its turn
    app, got = recording_app("news")
    dead = RedisLease(ours, KEY, "dead", 3600)
    assert await dead.acquire()
    async with run_host(app, instance="next"):
        await eventually(lambda: listening(client, 1))
        assert await Handover(dead).offer() == 0  # it does not listen itself, so the standby is subtracted instead
        await eventually(lambda: holds(client, "next"))
        await client.publish("news", "1")
        await eventually(lambda: got)
    assert got[0].epoch == 2


async def test_a_successor_that_dies_before_it_takes_over(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """A holder that waits in vain for its successor releases the lease, however long that is."""
    app, got = recording_app("news")
    async with client.pubsub() as dead:
        await dead.subscribe(lease_notices_channel(KEY))
        async with run_host(app, instance="first", pubsub_lease_seconds=3600) as first:
            await subscribed(client, 1)
            first.drain()
            await eventually(lambda: client.exists(KEY + ":draining"))
            await client.publish("news", "0")
            await eventually(lambda: passed_on(client, "first"))
    assert [number_of(message) for message in got] == [0]


async def test_a_successor_that_is_slow(
    client: redis.asyncio.Redis, run_host: RunHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder offers its lease again while a standby takes its time. It receives meanwhile, and nothing is lost."""
    app, got = recording_app("news")
    offers, run = 0, RedisLease.run

    async def run_slowly(self: RedisLease, name: str) -> list[int]:
        nonlocal offers
        if name == "offer":
            offers += 1
        if name == "take_over":
            await client.publish("news", "0")
            await eventually(lambda: offers > 1)
            await client.publish("news", "1")
            reply = await run(self, name)
            await client.publish("news", "2")
            return reply
        return await run(self, name)

    monkeypatch.setattr(RedisLease, "run", run_slowly)
    async with run_host(app, instance="first") as first, run_host(app, instance="second"):
        await eventually(lambda: listening(client, 2))
        first.drain()
        await eventually(lambda: len(got) >= 3)
    assert sorted((number_of(message), message.epoch) for message in got) == [(0, 1), (1, 1), (2, 2)]


async def test_a_successor_that_dies_after_it_took_over(
    client: redis.asyncio.Redis, ours: Client, run_host: RunHost
) -> None:
    """The old holder stops at the marker; another instance continues after the dead successor's lease time."""
    app, got = recording_app("news")
    dead = RedisLease(ours, KEY, "dead", 1)
    async with client.pubsub() as notices, run_host(app, instance="first") as first:
        await subscribed(client, 1)
        await notices.subscribe(lease_notices_channel(KEY))
        first.drain()
        await eventually(lambda: notices.get_message(ignore_subscribe_messages=True))
        assert await Handover(dead).take_over()
        assert dead.held
        await client.publish("news", "1")  # lost, as it was published after the marker
        async with run_host(app, instance="third"):
            await eventually(lambda: holds(client, "third"))
            await subscribed(client, 1)
            await client.publish("news", "2")
            await eventually(lambda: got)
    assert [(number_of(message), message.epoch) for message in got] == [(2, 3)]


async def test_bogus_notices_are_ignored(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Bogus messages on the channel for notices change nothing and reach no function, not even one that reads `*`."""
    app, got = recording_app("*")
    async with run_host(app, instance="first"):
        await subscribed(client, 1)
        for payload in (
            "",
            "x",
            "taken",
            "taken 9 first",
            "taken x y",
            "released 9 first",
            "taken 0 x",
            f"taken {'9' * 5000} x",
            b"\xff 1 \xff",
        ):
            await client.publish(lease_notices_channel(KEY), payload)
        await client.publish("news", "1")
        await eventually(lambda: got)
    assert [number_of(message) for message in got] == [1]


async def test_lost_connections_during_a_drain(
    client: redis.asyncio.Redis, run_host: RunHost, caplog: pytest.LogCaptureFixture
) -> None:
    """Without its connection the old holder gets no marker, yet another instance takes over within two seconds."""
    app, got = recording_app("news")
    async with run_host(app, instance="first") as first, run_host(app, instance="second"):
        await eventually(lambda: listening(client, 2))
        name = await holder(client)
        assert name == "first"
        await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        first.drain()
        await eventually(lambda: holds(client, "second"), seconds=2)
        await subscribed(client, 1)
        await client.publish("news", "1")
        await eventually(lambda: got)
    assert [number_of(message) for message in got] == [1]
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


async def test_a_drain_without_a_handover(
    client: redis.asyncio.Redis, run_host: RunHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster, a drain releases the lease, however long it is, and another instance acquires it."""
    monkeypatch.setattr(Client, "is_cluster", property(lambda _: True))
    app, got = recording_app("news")
    async with (
        run_host(app, instance="first", pubsub_lease_seconds=3600) as first,
        run_host(app, instance="second", pubsub_lease_seconds=3600),
    ):
        await subscribed(client, 1)
        assert await listening(client, 0)
        await client.publish("news", "1")
        await eventually(lambda: got)
        first.drain()
        await eventually(lambda: holds(client, "second"))
        await subscribed(client, 1)
        await client.publish("news", "2")
        await eventually(lambda: len(got) == 2)
    assert [(number_of(message), message.epoch) for message in got] == [(1, 1), (2, 2)]
