"""Redis under Sentinel: the primary is found, and a failover is followed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from listeners.connections.strings import parse_connection_string
from listeners.errors import SourceUnavailableError
from listeners.functions.triggers import ListTrigger
from listeners.redis.client import Client
from listeners.redis.subscriptions.shared import SharedSubscriptions
from scaler.measuring.backlog import Backlog
from scaler.triggers.measured_trigger import MeasuredTrigger
from tests.servers.catalogue import RELEASES, present
from tests.servers.sentinels import Sentinels, sentinel_of
from tests.support.measuring import measure_now
from tests.support.running_host import running_host
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server


def all_kinds(handled: list[str]) -> App:
    """Return an app with one function of each kind; they record payloads."""
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
async def test_a_failover(release: str) -> None:
    """All three triggers and measuring find the primary, and the new one after a failover."""
    with Sentinels(RELEASES[release]) as sentinels:
        handled: list[str] = []
        ours = Client(parse_connection_string(sentinels.address), "test")
        subject = MeasuredTrigger(ListTrigger(keys=("l",)))
        async with running_host(sentinels, all_kinds(handled)):
            await send_and_wait(sentinels, handled, "before")
            server = await ours.server()
            await asyncio.to_thread(sentinels.kill_primary)
            await send_and_wait(sentinels, handled, "after")

            async def measured() -> bool:
                found = (await measure_now(ours, [subject], server=server))[subject]
                return isinstance(found, Backlog) and found.entries == 0

            await eventually(measured, seconds=20)
        await ours.aclose()


async def send_and_wait(sentinels: Sentinels, handled: list[str], word: str) -> None:
    """Send an element, an entry and a message to the primary and wait until they are handled."""
    async with redis.asyncio.Redis(port=sentinels.primary.port, protocol=2) as client:
        await client.rpush("l", f"{word} l")
        await client.xadd("s", {"n": f"{word} s"})
        await eventually(lambda: client.publish("c", f"{word} c"), seconds=20)
        await eventually(lambda: {f"{word} l", f"{word} s", f"{word} c"} <= set(handled), seconds=20)


@pytest.mark.parametrize("release", present("redis-7.0", "valkey-9.1"))
async def test_a_sentinel_with_stale_information(release: str) -> None:
    """A replica that a Sentinel reports as the primary is not used until it is promoted; the next Sentinel is asked."""
    with RELEASES[release].start() as primary, RELEASES[release].start() as replica, replica.client() as replica_client:
        replica_client.replicaof("127.0.0.1", primary.port)
        with (
            sentinel_of(RELEASES[release], primary) as right,
            sentinel_of(RELEASES[release], replica, down_after_ms=60_000) as wrong,
        ):
            async with connected(wrong) as client:
                for _ in range(2):
                    with pytest.raises(SourceUnavailableError, match=f"{replica.port} is a replica"):
                        await client.command("k", "LLEN", "k", doing="measuring")
                subscription = await SharedSubscriptions(client).open("c", lambda message: False, lambda: None)
                with pytest.raises(SourceUnavailableError, match=f"{replica.port} is a replica"):
                    await subscription.add("c")
                await subscription.close()
            async with connected(wrong, right) as client:
                with pytest.raises(SourceUnavailableError, match=f"{replica.port} is a replica"):
                    await client.command("k", "LLEN", "k", doing="measuring")
                for _ in range(2):
                    await client.command("k", "RPUSH", "k", "x", doing="adding")
                    await client.invalidate_routes()
            replica_client.replicaof("NO", "ONE")
            async with connected(wrong) as client:
                await client.command("k", "DEL", "k", doing="deleting")


@contextlib.asynccontextmanager
async def connected(*sentinels: Server) -> AsyncIterator[Client]:
    """A client that asks these Sentinels in this order."""
    addresses = ",".join(sentinel.address for sentinel in sentinels)
    client = Client(parse_connection_string(f"{addresses},serviceName=main"), "test")
    try:
        yield client
    finally:
        await client.aclose()


async def test_an_unknown_service() -> None:
    """An unknown service is an error that names it."""
    with Sentinels(RELEASES["valkey-9.1"]) as sentinels:
        client = Client(parse_connection_string(sentinels.address.replace("main", "other")), "test")
        with pytest.raises(SourceUnavailableError, match="'other'"):
            await client.command("k", "LLEN", "k", doing="measuring")
        await client.aclose()


async def test_several_servers_that_are_not_a_cluster() -> None:
    """Several endpoints without a cluster or a service are an error that states the fix."""
    with RELEASES["valkey-9.1"].start() as one, RELEASES["valkey-9.1"].start() as other:
        client = Client(parse_connection_string(f"{one.address},{other.address}"), "test")
        with pytest.raises(Exception, match="that are not a cluster: name one server, or Sentinels"):
            await client.server()
        await client.aclose()
