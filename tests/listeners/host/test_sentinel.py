"""Under Sentinel: the primary is found, and a fail-over is followed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError

from listeners.connections.strings import parse_connection_string
from listeners.errors import SourceUnavailableError
from listeners.functions.triggers import ListTrigger
from listeners.redis.client import Client
from scaler.measuring.backlog import Backlog
from scaler.measuring.counting import CountMemory
from scaler.measuring.measure import measure
from scaler.triggers.measured_trigger import MeasuredTrigger
from tests.servers.catalogue import RELEASES, present
from tests.servers.sentinels import Sentinels, sentinel_of
from tests.support.running_host import running_host
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server


def all_kinds(handled: list[str]) -> App:
    """An app with one function of each kind; they record their payload."""
    app = App("test")

    @app.list_trigger(keys="l")
    async def on_element(element: str) -> None:
        handled.append(element)

    @app.stream_trigger(keys="s")
    async def on_entry(entry: dict[str, str]) -> None:
        handled.append(entry["n"])

    @app.pubsub_trigger(channel="c")
    async def on_message(message: RedisMessage) -> None:
        handled.append(message.message)

    return app


@pytest.mark.parametrize("release", present("redis-7.0", "valkey-9.1"))
async def test_a_fail_over(release: str) -> None:
    """F5: all three triggers and measuring find the primary, and the new one after a fail-over."""
    with Sentinels(RELEASES[release]) as sentinels:
        handled: list[str] = []
        ours = Client(parse_connection_string(sentinels.address), "test")
        subject = MeasuredTrigger(ListTrigger(keys=("l",)))
        async with running_host(sentinels, all_kinds(handled)):
            await works(sentinels, handled, "before")
            server = await ours.server()
            await asyncio.to_thread(sentinels.kill_primary)
            await works(sentinels, handled, "after")

            async def measured() -> bool:
                found = (await measure(ours, server, [subject], CountMemory()))[subject]
                return isinstance(found, Backlog) and found.entries == 0

            await eventually(measured, seconds=20)
        await ours.aclose()


async def works(sentinels: Sentinels, handled: list[str], word: str) -> None:
    """An element, an entry and a message that are sent to the primary now are handled."""
    async with redis.asyncio.Redis(port=sentinels.primary.port, protocol=2) as client:
        await client.rpush("l", f"{word} l")
        await client.xadd("s", {"n": f"{word} s"})
        await eventually(lambda: client.publish("c", f"{word} c"), seconds=20)
        await eventually(lambda: {f"{word} l", f"{word} s", f"{word} c"} <= set(handled), seconds=20)


@pytest.mark.parametrize("release", present("redis-7.0", "valkey-9.1"))
async def test_a_sentinel_that_knows_less(release: str) -> None:
    """A replica that a Sentinel takes for the primary is neither measured nor subscribed to, until it is one; another
    Sentinel is asked after it.
    """
    with RELEASES[release].start() as primary, RELEASES[release].start() as replica, replica.client() as its:
        its.replicaof("127.0.0.1", primary.port)
        with (
            sentinel_of(RELEASES[release], primary) as right,
            sentinel_of(RELEASES[release], replica, down_after_ms=60_000) as wrong,
        ):
            async with connected(wrong) as client:
                for _ in range(2):
                    with pytest.raises(SourceUnavailableError, match=f"{replica.port} is a replica"):
                        await client.command("k", "LLEN", "k", doing="measuring")
                async with await client.subscription("c") as subscription:
                    with pytest.raises(RedisConnectionError, match=f"{replica.port} is a replica"):
                        await subscription.subscribe("c")
            async with connected(wrong, right) as client:
                with pytest.raises(SourceUnavailableError, match=f"{replica.port} is a replica"):
                    await client.command("k", "LLEN", "k", doing="measuring")
                for _ in range(2):
                    await client.command("k", "RPUSH", "k", "x", doing="adding")
                    await client.invalidate_routes()
            its.replicaof("NO", "ONE")
            async with connected(wrong) as client:
                await client.command("k", "DEL", "k", doing="deleting")


@contextlib.asynccontextmanager
async def connected(*sentinels: Server) -> AsyncIterator[Client]:
    """A client that asks these Sentinels, in this order."""
    addresses = ",".join(sentinel.address for sentinel in sentinels)
    client = Client(parse_connection_string(f"{addresses},serviceName=main"), "test")
    try:
        yield client
    finally:
        await client.aclose()


async def test_a_service_that_the_sentinels_do_not_know() -> None:
    """An unknown service is an error that names it."""
    with Sentinels(RELEASES["valkey-9.1"]) as sentinels:
        client = Client(parse_connection_string(sentinels.address.replace("main", "other")), "test")
        with pytest.raises(SourceUnavailableError, match="'other'"):
            await client.command("k", "LLEN", "k", doing="measuring")
        await client.aclose()


async def test_several_servers_that_are_no_cluster() -> None:
    """Several endpoints without a cluster or a service: an error that says what to write."""
    with RELEASES["valkey-9.1"].start() as one, RELEASES["valkey-9.1"].start() as other:
        client = Client(parse_connection_string(f"{one.address},{other.address}"), "test")
        with pytest.raises(Exception, match="they are no cluster: name one of them, or Sentinels"):
            await client.server()
        await client.aclose()
