"""What functions learn from their context while a host runs them."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from listeners.functions.context import Context as AnyContext
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import Kind, add, both_kinds, dead_letters, settled, trigger
from tests.support.waiting import eventually
from triggerfish import App, Call, CallNext, Context, RedisMessage, Reject, Retry

pytestmark = [pytest.mark.releases("valkey-9.1"), pytest.mark.usefixtures("quick_retries", "quick_reclaims")]

Seen = list[tuple[Any, AnyContext[Any]]]


@both_kinds
@pytest.mark.parametrize("is_async", [True, False])
async def test_lists_and_streams(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, is_async: bool) -> None:
    """A context names the app, the function, the key and the ID, counts deliveries and knows the time limit."""
    app, seen = App("shop"), Seen()

    def record(message: RedisMessage, context: Context) -> None:
        assert 0 < context.seconds_left <= 60
        seen.append((message, context))
        if context.deliveries == 1:
            raise Retry("again", after_seconds=0)

    async def record_on_loop(message: RedisMessage, context: Context) -> None:
        record(message, context)

    declare = trigger(app, kind, call_timeout_seconds=60)
    declare(record_on_loop if is_async else record)
    await add(client, kind, "a")
    async with run_host(app):
        await eventually(lambda: len(seen) == 2)
        await eventually(lambda: settled(client, kind))
    message = seen[0][0]
    assert (message.id is None) == (kind == "list")
    assert [(one.app, one.key, one.id, one.deliveries, one.epoch, one.state) for _, one in seen] == [
        ("shop", "work", message.id, 1, None, None),
        ("shop", "work", message.id, 2, None, None),
    ]
    assert {one.function for _, one in seen} == {"record_on_loop" if is_async else "record"}


async def test_a_batch(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """The context of a batch has the key and the ID of the first entry, and all IDs."""
    app, seen = App(), Seen()

    @trigger(app, "stream", batch_size=3)
    async def handle(entries: list[RedisMessage], context: Context) -> None:
        seen.append((entries, context))

    await add(client, "stream", "a", "b", "c")
    async with run_host(app):
        await eventually(lambda: seen)
    [(entries, context)] = seen
    assert context.ids == tuple(entry.id for entry in entries)
    assert (len(context.ids), context.id, context.key) == (3, entries[0].id, "work")


async def test_pubsub(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """The context of a message has the channel it was published on, and the epoch of the lease."""
    app, seen = App(), Seen()

    @app.pubsub_trigger(channel="prices.*")
    async def reprice(price: str, context: Context) -> None:
        seen.append((price, context))

    async with run_host(app):
        await eventually(lambda: client.publish("prices.a", "5"))
        await eventually(lambda: seen)
    price, context = seen[0]
    assert (price, context.key, context.id, context.ids, context.epoch) == ("5", "prices.a", None, (), 1)


async def test_the_log(client: redis.asyncio.Redis, run_host: RunHost, caplog: pytest.LogCaptureFixture) -> None:
    """Records have the function, the key and the ID, beside what the caller adds."""
    app = App()

    @trigger(app, "stream")
    async def handle(message: RedisMessage, context: Context) -> None:
        context.log.info("handling %s", message.id, extra={"order": 5})

    with caplog.at_level(logging.INFO, "triggerfish.function"):
        await add(client, "stream", "a")
        async with run_host(app):
            await eventually(lambda: "handling" in caplog.text)
    [record] = [one for one in caplog.records if one.name == "triggerfish.function"]
    found = vars(record)
    assert (found["function"], found["key"], found["order"]) == ("handle", "work", 5)
    assert record.getMessage() == f"handling {found['id']}"


async def test_the_redis_of_the_trigger(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Async and plain functions have a client each, which replies with bytes, shares connections, and has a name."""
    app, done = App("shop"), list[str]()
    names = set[bytes]()

    @app.list_trigger(keys="async", batch_size=40)
    async def handle(element: str, context: Context) -> None:
        await context.redis.set(f"async:{element}", element)
        assert await context.redis.get(f"async:{element}") == element.encode()
        names.add(await context.redis.execute_command("CLIENT", "GETNAME"))
        done.append(element)

    @app.list_trigger(keys="plain", batch_size=32)
    def handle_plainly(element: str, context: Context) -> None:
        context.redis_sync.set(f"plain:{element}", element)
        assert context.redis_sync.get(f"plain:{element}") == element.encode()
        names.add(context.redis_sync.execute_command("CLIENT", "GETNAME"))
        done.append(element)

    await client.rpush("async", *map(str, range(200)))
    await client.rpush("plain", *map(str, range(200)))
    async with run_host(app, instance="i"):
        await eventually(lambda: len(done) == 400)
        connections = [one["name"] for one in await client.client_list()]
    assert names == {b"triggerfish:host:shop:i:functions"}
    assert 2 <= connections.count("triggerfish:host:shop:i:functions") <= 20
    await eventually(lambda: nothing_named(client, "functions"))
    assert len(await client.keys("async:*")) == len(await client.keys("plain:*")) == 200


async def nothing_named(client: redis.asyncio.Redis, name: str) -> bool:
    """Return whether no connection has this in its name."""
    return not any(name in one["name"] for one in await client.client_list())


async def test_an_app_that_uses_no_client(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """A client connects at its first use."""
    app, seen = App(), Seen()

    @trigger(app, "list")
    async def handle(element: str, context: Context) -> None:
        seen.append((element, context))

    await add(client, "list", "a")
    async with run_host(app):
        await eventually(lambda: seen)
        assert await nothing_named(client, "functions")


async def test_the_wrong_client(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """The async client on a thread and the blocking one on the event loop are errors that name the other one."""
    app = App()

    @app.list_trigger(keys="work", max_deliveries=1)
    def plain(element: str, context: Context) -> None:
        context.redis.get("key")

    @app.list_trigger(keys="other", max_deliveries=1)
    async def on_loop(element: str, context: Context) -> None:
        context.redis_sync.get("key")

    await add(client, "list", "a")
    await add(client, "list", "a", key="other")
    async with run_host(app):
        [plain_letter] = await eventually(lambda: dead_letters(client))
        [letter] = await eventually(lambda: dead_letters(client, key="other"))
    assert b"a thread: use context.redis_sync." in plain_letter[b"error"]
    assert b"Use `await context.redis...`." in letter[b"error"]


async def test_everything_together(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """The state of the lifespan is the same object in middleware and in functions."""
    app, seen = App(), list[object]()
    pool = object()

    @app.lifespan
    async def lifespan() -> AsyncIterator[object]:
        yield pool

    @app.middleware
    async def middleware(call: Call, call_next: CallNext) -> None:
        seen.append(call.context.state)
        await call_next()

    @trigger(app, "list")
    async def handle(element: str, context: Context[object]) -> None:
        seen.append(context.state)
        if element == "bad":
            await asyncio.sleep(0)
            raise Reject("bad")

    await add(client, "list", "a", "bad")
    async with run_host(app):
        await eventually(lambda: len(seen) == 4)
        [letter] = await eventually(lambda: dead_letters(client))
    assert all(one is pool for one in seen)
    assert letter[b"error"] == b"Reject: bad"
