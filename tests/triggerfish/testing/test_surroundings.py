"""Calls without a server have the app's middleware around them, and a context."""

import contextlib
from collections.abc import AsyncIterator
from unittest import mock

import pytest
import redis.asyncio

from triggerfish import App, Call, CallNext, ConfigurationError, Context, Reject
from triggerfish.testing import Server, call, call_sync

app = App("kit")
seen: list[str] = []


@app.lifespan
async def lifespan() -> AsyncIterator[str]:
    raise AssertionError("a call in a test does not enter it")
    yield ""


@app.middleware
async def note(call: Call, call_next: CallNext) -> None:
    seen.append(f"before {call.context.function}")
    try:
        await call_next()
    finally:
        seen.append("after")


@app.list_trigger(keys="orders")
async def handle(order: str, context: Context[str]) -> None:
    seen.append(f"{context.state} {context.key} {order} {context.deliveries}")
    if order == "rejected":
        raise Reject("no")


@app.list_trigger(keys="returns")
def count(order: str, context: Context[str]) -> None:
    context.redis_sync.incr("count")


@app.list_trigger(keys="more")
async def count_on_loop(order: str, context: Context[str]) -> None:
    await context.redis.incr("count")


@app.list_trigger(keys="wrong")
async def blocks(order: str, context: Context[str]) -> None:
    context.redis_sync.incr("count")


@app.list_trigger(keys="wrong")
def on_wrong_thread(order: str, context: Context[str]) -> None:
    assert context.redis


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


def test_middleware_and_the_context() -> None:
    """The middleware runs around the function, whose context has the state that the test gives."""
    assert call_sync(app, handle, "1", state="pool", deliveries=2).succeeded
    assert seen == ["before handle", "pool orders 1 2", "after"]


async def test_a_lifespan_that_the_test_enters() -> None:
    """The decorator returns the function unchanged, so that a test can make a context manager of it."""
    shop = App("shop")

    @shop.lifespan
    async def pool() -> AsyncIterator[str]:
        yield "opened"
        seen.append("closed")

    @shop.list_trigger(keys="orders")
    async def on_order(order: str, context: Context[str]) -> None:
        seen.append(context.state)

    async with contextlib.asynccontextmanager(pool)() as state:
        assert (await call(shop, on_order, "1", state=state)).succeeded
    assert seen == ["opened", "closed"]


def test_what_the_function_raises_passes_through() -> None:
    result = call_sync(app, handle, "rejected", state="pool")
    assert result.dead_lettered
    assert seen[-1] == "after"


@pytest.mark.parametrize(("function", "client"), [("count", "redis_sync"), ("count_on_loop", "redis")])
def test_without_a_client(function: str, client: str) -> None:
    """A function that uses the trigger's Redis fails, and the error has the ways to test it."""
    result = call_sync(app, function, "1")
    assert f"call(..., {client}=CLIENT)" in result.error
    assert "triggerfish.testing.running()" in result.error


@pytest.mark.releases("valkey-9.1")
async def test_clients_that_a_test_gives(server: Server, client: redis.asyncio.Redis) -> None:
    """The function and the middleware use them."""
    with redis.Redis(port=server.port, protocol=2) as plain:
        for function in (count, count_on_loop):
            result = await call(app, function, "1", redis=client, redis_sync=plain)
            assert result.succeeded, result.error
    assert await client.get("count") == b"2"


def test_stand_ins() -> None:
    """Anything with the methods that the function uses will do."""
    on_loop, on_threads = mock.AsyncMock(), mock.Mock()
    assert call_sync(app, count_on_loop, "1", redis=on_loop).succeeded
    assert call_sync(app, count, "1", redis_sync=on_threads).succeeded
    on_loop.incr.assert_awaited_once_with("count")
    on_threads.incr.assert_called_once_with("count")


@pytest.mark.parametrize(("function", "text"), [("blocks", "would block"), ("on_wrong_thread", "runs on a thread")])
def test_the_wrong_client(function: str, text: str) -> None:
    """What a host refuses, a call refuses too."""
    assert text in call_sync(app, function, "1", redis=mock.AsyncMock(), redis_sync=mock.Mock()).error


def test_a_context_of_a_test() -> None:
    """A context that a test makes has no client. The error names the call that makes one with a client."""
    with pytest.raises(ConfigurationError, match=r"call\(\.\.\., redis_sync=CLIENT\)"):
        count("1", Context(state=""))
