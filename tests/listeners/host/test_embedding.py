"""A host within a program that has an event loop and signal handlers of its own."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from listeners.errors import ConfigurationError, LifespanError
from listeners.settings import HostSettings
from tests.support.waiting import eventually
from triggerfish import App, Host
from triggerfish.testing.server import Server, free_port

pytestmark = pytest.mark.releases("valkey-9.1")


class Shop:
    """An app whose call waits for `end` where it has to, and what it was called with."""

    def __init__(self) -> None:
        self.app = App("shop")
        self.called: list[str] = []
        self.end = asyncio.Event()
        self.end.set()
        self.app.list_trigger(keys="orders")(self.handle)

    async def handle(self, order: str) -> None:
        """Handle an element."""
        self.called.append(order)
        await self.end.wait()


async def _is_gone(client: redis.asyncio.Redis) -> bool:
    return not any(one["name"].startswith("triggerfish") for one in await client.client_list())


async def test_a_block(server: Server, client: redis.asyncio.Redis) -> None:
    """The app runs during the block, and leaves no task, connection or signal handler behind."""
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    shop, tasks = Shop(), asyncio.all_tasks()
    async with Host(shop.app, server.address) as host:
        await client.rpush("orders", "x")
        await eventually(lambda: shop.called)
        assert host.ready
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert asyncio.all_tasks() == tasks
    await eventually(lambda: _is_gone(client))


async def test_the_end_of_a_block(server: Server, client: redis.asyncio.Redis) -> None:
    """At the end, also by an exception, calls finish within the grace period."""
    shop = Shop()
    shop.end.clear()

    async def failing() -> None:
        async with Host(shop.app, server.address):
            await client.rpush("orders", "x")
            await eventually(lambda: shop.called)
            asyncio.get_running_loop().call_later(0.1, shop.end.set)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()
    assert await client.zcard("triggerfish:{orders}:leases") == 0
    assert await client.llen("orders") == 0


@pytest.mark.parametrize("way", ["run", "block"])
async def test_a_cancellation(server: Server, client: redis.asyncio.Redis, way: str) -> None:
    """A cancellation ends the host. An entry in progress goes back to its list."""
    shop = Shop()
    shop.end.clear()
    host = Host(shop.app, server.address, HostSettings(grace_period_seconds=0))

    async def block() -> None:
        async with host:
            await asyncio.Event().wait()

    running = asyncio.create_task(host.run() if way == "run" else block())
    await client.rpush("orders", "x")
    await eventually(lambda: shop.called)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 30)
    await eventually(lambda: _is_gone(client))
    async with Host(shop.app, server.address):
        shop.end.set()
        await eventually(lambda: len(shop.called) == 2)


async def test_a_lifespan_that_fails(server: Server) -> None:
    """A block does not begin if the app's lifespan fails."""
    shop = Shop()

    @shop.app.lifespan
    async def fails() -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    with pytest.raises(LifespanError, match="no database"):
        async with Host(shop.app, server.address):
            pytest.fail("the block has begun")


async def test_without_redis() -> None:
    """A block begins and ends without Redis, so that the program that it is a part of starts."""
    async with asyncio.timeout(30), Host(Shop().app, f"127.0.0.1:{free_port()}") as host:
        assert not host.ready


async def test_a_host_runs_once(server: Server) -> None:
    """A host that has run cannot run again."""
    host = Host(Shop().app, server.address)
    async with host:
        pass
    with pytest.raises(ConfigurationError, match="Make another Host"):
        async with host:
            pytest.fail("the block has begun")
