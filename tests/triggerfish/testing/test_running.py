"""A whole app on an embedded Valkey, in a test's event loop."""

import asyncio
import threading

import psutil
import pytest
import redis

from listeners.errors import ConfigurationError
from tests.support.waiting import eventually
from triggerfish import App, Context, RedisMessage, Reject, Retry
from triggerfish.testing import Server, embedded_binary, running


def shop(received: list[str]) -> App:
    """Return an app whose functions pass everything on, the last one to `received`."""
    app = App("shop")

    @app.list_trigger(keys="orders", connection="cache")
    async def on_order(order: str) -> None:
        if order == "bad":
            raise Reject("bad order")
        received.append(order)

    @app.stream_trigger(keys="payments", connection_string="production.example:6379", consumer_group="g")
    async def on_payment(payment: RedisMessage) -> None:
        if payment.deliveries == 1:
            raise Retry(after_seconds=0.05)
        received.append(payment.message)

    @app.pubsub_trigger(channel="prices.*")
    async def on_price(price: RedisMessage) -> None:
        await asyncio.sleep(0.05)
        received.append(f"{price.trigger} {price.message}")

    return app


async def test_everything_is_handled() -> None:
    """until_idle() waits for all kinds of triggers and for retries, whatever Redis the app names."""
    received: list[str] = []
    async with running(shop(received)) as host:
        await host.push("on_order", "good", "bad")
        await host.push("on_payment", {"number": 1})
        await host.push("on_price", RedisMessage("prices.eur", "2"))
        await host.until_idle()
        assert sorted(received) == ["good", "prices.eur 2", '{"number":"1"}']
        [letter] = await host.dead_letters("on_order")
        assert (letter.error, letter.entry.payload) == ("Reject: bad order", b"bad")
        assert "bad order" in letter.traceback
        assert await host.dead_letters("on_payment") == []
        assert await host.client.xlen("payments") == 1


async def test_replies_are_those_of_a_function() -> None:
    """The test's client returns what the function's client returns: bytes."""
    app = App("shop")
    got: list[object] = []

    @app.list_trigger(keys="orders")
    async def on_order(order: str, context: Context) -> None:
        got.append(await context.redis.get("stock"))

    async with running(app) as host:
        await host.client.set("stock", "5")
        await host.push(on_order, "book")
        await host.until_idle()
        assert got == [await host.client.get("stock")] == [b"5"]


async def test_a_batch_that_waits() -> None:
    """until_idle() waits for the window of a batch, and the end of the block does not: it calls what was gathered."""
    app, received = App(), list[list[str]]()

    @app.list_trigger(keys="short", batch_window_ms=300)
    async def short(elements: list[str]) -> None:
        received.append(elements)

    @app.stream_trigger(keys="long", batch_window_ms=300_000)
    async def long(entries: list[RedisMessage]) -> None:
        received.append([entry.message for entry in entries])

    async with running(app) as host:
        await host.push("short", "a")
        await host.push("short", "b")
        await host.until_idle()
        assert [element for elements in received for element in elements] == ["a", "b"]
        await host.push("long", {"number": 1})
        await eventually(lambda: any(listener.is_busy for listener in host._host.listeners))
    assert received[-1] == ['{"number":"1"}']


async def test_what_a_function_pushes_is_handled_too() -> None:
    """until_idle() waits for chains of functions, also where an element is popped before its call."""
    app = App()
    received: list[int] = []

    @app.list_trigger(keys="first", delivery="at-most-once")
    async def first(number: int) -> None:
        await asyncio.sleep(0.02)
        await host.push(second, str(number + 1))

    @app.list_trigger(keys="second", list_pop_from_beginning=False)
    async def second(number: int) -> None:
        await asyncio.sleep(0.02)
        if number < 6:
            await host.push(first, str(number + 1))
        received.append(number)

    async with running(app) as host:
        await host.push(first, "1")
        await host.until_idle()
        assert received == [2, 4, 6]


async def test_what_does_not_become_idle() -> None:
    """The error names the function, what is left, and what to do."""
    app = App()

    @app.list_trigger(keys="q")
    async def later(_: str) -> None:
        raise Retry(after_seconds=600)

    async with running(app) as host:
        await host.push(later, "a", "b")
        with pytest.raises(TimeoutError, match=r"not idle within 0.3 s \(later: 2 unfinished\). Give until_idle"):
            await host.until_idle(0.3)


async def test_nothing_is_left() -> None:
    """After the block, also if the test fails in it, there is no server, no thread and no task of the host."""
    app, tasks = App(), asyncio.all_tasks()

    @app.list_trigger(keys="q")
    async def hangs(_: str) -> None:
        await asyncio.sleep(600)

    pids: list[int] = []

    async def failing_test() -> None:
        async with running(app) as host:
            await host.push(hangs, "a")
            pids.append(host.server.process.pid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing_test()
    assert not psutil.pid_exists(pids[0])
    assert asyncio.all_tasks() == tasks
    assert "supervisor" not in [thread.name for thread in threading.enumerate()]


async def test_a_given_server_goes_on() -> None:
    """A server that the test gives is used, and still runs after the block."""
    received: list[str] = []
    with Server(embedded_binary()) as server, server.client() as client:
        client.rpush("orders", "early")
        async with running(shop(received), server) as host:
            await host.until_idle()
        assert received == ["early"]
        assert client.ping()
    with pytest.raises(redis.ConnectionError):
        server.client().ping()


async def test_misuse() -> None:
    """Errors name the fix."""
    async with running(shop([])) as host:
        with pytest.raises(ConfigurationError, match="Did you mean on_order"):
            await host.push("on_orders", "a")
        with pytest.raises(ConfigurationError, match="Give the fields"):
            await host.push("on_payment", "a")
        with pytest.raises(ConfigurationError, match="dropped, not dead-lettered"):
            await host.dead_letters("on_price")


async def test_a_host_that_has_ended() -> None:
    """If the host ends, waiting for it is an error at once."""
    async with running(shop([])) as host:
        await host.push("on_order", "a")
        host._host.drain()
        with pytest.raises(RuntimeError, match="the app has ended"):
            await host.until_idle()
