"""Leases in Redis while the server's clock steps: a dead holder's lease ends in time, a living holder keeps its own."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio

from listeners.connections.strings import parse_connection_string
from listeners.leases.handover import Handover
from listeners.leases.redis_lease import RedisLease
from listeners.redis.client import Client
from tests.listeners.leases.holders import KEY, holds, number_of, recording_app, sample, subscribed
from tests.servers.catalogue import RELEASES, present
from tests.servers.stepping_clock import STEPPABLE, SteppingClock
from tests.support.programs.installed import collectable
from tests.support.running_host import running_host
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

HOUR = 3600
LEASE_SECONDS = 2

needs_faketime = pytest.mark.skipif(not collectable("faketime"), reason="faketime is not installed")


@pytest.fixture
def clock(tmp_path: Path) -> SteppingClock:
    """The clock of the server `stepping`."""
    return SteppingClock(tmp_path)


@pytest.fixture(params=present(*STEPPABLE))
async def stepping(request: pytest.FixtureRequest, clock: SteppingClock) -> AsyncIterator[Server]:
    """A server whose clock the test steps."""
    server = await asyncio.to_thread(clock.start, RELEASES[request.param])
    yield server
    server.stop()


@pytest.fixture
async def its_client(stepping: Server) -> AsyncIterator[redis.asyncio.Redis]:
    """A plain client of the server whose clock steps."""
    async with redis.asyncio.Redis(port=stepping.port, protocol=2) as connected:
        yield connected


@needs_faketime
async def test_a_dead_holder_and_a_step_back(
    stepping: Server, its_client: redis.asyncio.Redis, clock: SteppingClock
) -> None:
    """The lease of a dead holder ends after its length, although the clock has stepped back by an hour."""
    client = Client(parse_connection_string(stepping.address), "test")
    assert await RedisLease(client, KEY, "dead", LEASE_SECONDS).acquire()
    await client.aclose()
    clock.step(-HOUR)
    await eventually(lambda: ends_after(its_client, HOUR))
    app, got = recording_app("news")
    async with running_host(stepping, app, instance="next", pubsub_lease_seconds=LEASE_SECONDS):
        await eventually(lambda: holds(its_client, "next"))
        await subscribed(its_client, 1)
        await its_client.publish("news", "1")
        await eventually(lambda: got)
    assert [(number_of(message), message.epoch) for message in got] == [(1, 2)]


@needs_faketime
async def test_a_living_holder_and_a_step_back(
    stepping: Server, its_client: redis.asyncio.Redis, clock: SteppingClock
) -> None:
    """A holder that renews its lease keeps it, although a standby shortens it meanwhile."""
    app, got = recording_app("news")
    async with (
        running_host(stepping, app, instance="first", pubsub_lease_seconds=10 * LEASE_SECONDS) as first,
        running_host(stepping, app, instance="second", pubsub_lease_seconds=LEASE_SECONDS),
    ):
        await eventually(lambda: sample(first, "lease_held"))
        await subscribed(its_client, 1)
        clock.step(-HOUR)
        await eventually(lambda: ends_after(its_client, HOUR))
        await eventually(lambda: ends_within(its_client, 10 * LEASE_SECONDS))
        await eventually(lambda: renewed(its_client))
        for number in range(20):
            await its_client.publish("news", number)
        await eventually(lambda: len(got) == 20)
        assert await holds(its_client, "first")
    assert [(number_of(message), message.epoch) for message in got] == [(number, 1) for number in range(20)]


@needs_faketime
async def test_a_step_forward(stepping: Server, its_client: redis.asyncio.Redis, clock: SteppingClock) -> None:
    """After a step forward the lease may change its holder, and only one instance goes on."""
    app, got = recording_app("news")
    async with (
        running_host(stepping, app, instance="first", pubsub_lease_seconds=LEASE_SECONDS) as first,
        running_host(stepping, app, instance="second", pubsub_lease_seconds=LEASE_SECONDS) as second,
    ):
        await subscribed(its_client, 1)
        clock.step(HOUR)
        await eventually(lambda: its_client.exists(KEY))
        await eventually(lambda: {sample(first, "lease_held"), sample(second, "lease_held")} == {0, 1})
        await subscribed(its_client, 1)
        numbers = itertools.count()

        async def handled() -> bool:
            await its_client.publish("news", next(numbers))
            return len(got) >= 5

        await eventually(handled)
    handled_numbers = [number_of(message) for message in got]
    assert sorted(set(handled_numbers)) == handled_numbers


async def test_lengths_that_differ(client: redis.asyncio.Redis, ours: Client) -> None:
    """A standby never shortens a lease to its own length, but to that of the holder, also after a takeover."""
    long, short = RedisLease(ours, KEY, "long", HOUR), RedisLease(ours, KEY, "short", LEASE_SECONDS)
    assert await long.acquire()
    assert not await short.acquire()
    assert await ends_after(client, HOUR - 60)
    await client.pexpire(KEY, 24 * HOUR * 1000)  # as if the clock had stepped back by a day
    assert not await short.acquire()
    assert await ends_within(client, HOUR)
    assert await ends_after(client, HOUR - 60)
    assert await long.release()
    assert await short.acquire()
    await client.pexpire(KEY, HOUR * 1000)
    assert not await long.acquire()
    assert await ends_within(client, LEASE_SECONDS)


async def test_a_successor_has_its_own_length(client: redis.asyncio.Redis, ours: Client) -> None:
    """A lease that was handed over is shortened to the length of its new holder."""
    old, new = RedisLease(ours, KEY, "old", HOUR), RedisLease(ours, KEY, "new", LEASE_SECONDS)
    assert await old.acquire()
    assert await Handover(old).offer() is not None
    assert await Handover(new).take_over()
    await client.pexpire(KEY, HOUR * 1000)
    assert not await old.acquire()
    assert await ends_within(client, LEASE_SECONDS)


async def ends_after(client: redis.asyncio.Redis, seconds: float) -> bool:
    """Return whether the lease ends later than `seconds` from now."""
    return bool(await client.pttl(KEY) > seconds * 1000)


async def ends_within(client: redis.asyncio.Redis, seconds: float) -> bool:
    """Return whether the lease ends within `seconds`."""
    return bool(0 < await client.pttl(KEY) <= seconds * 1000)


async def renewed(client: redis.asyncio.Redis) -> bool:
    """Return whether the holder has just renewed its lease of 10 * LEASE_SECONDS."""
    return await ends_within(client, 10 * LEASE_SECONDS) and await ends_after(client, 10 * LEASE_SECONDS - 1)
