"""Middleware around the calls of a running host."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis.asyncio

from tests.support.running_host import RunHost
from tests.support.trigger_kinds import Kind, add, both_kinds, dead_letters, settled, trigger, unfinished
from tests.support.waiting import eventually
from triggerfish import App, Call, CallNext, RedisMessage, Reject, Retry

pytestmark = [pytest.mark.releases("valkey-9.1"), pytest.mark.usefixtures("quick_retries", "quick_reclaims")]

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="none")
both_forms = pytest.mark.parametrize("is_async", [True, False])


def in_form(function: Callable[[str], Any], *, is_async: bool) -> Callable[[str], Any]:
    """Return the function, or an async one that does the same."""

    async def handle(element: str) -> None:
        function(element)

    def handle_plainly(element: str) -> None:
        function(element)

    return handle if is_async else handle_plainly


@both_kinds
@both_forms
async def test_the_order(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, is_async: bool) -> None:
    """The first middleware is the outermost, and each sees the function's name and the messages."""
    app, seen = App(), list[str]()

    @app.middleware
    async def outer(call: Call, call_next: CallNext) -> None:
        seen.append(f"outer {call.function} {len(call.messages)} {call.messages[0].trigger} {call.context.key}")
        await call_next()
        seen.append("outer ends")

    @app.middleware
    async def inner(call: Call, call_next: CallNext) -> None:
        seen.append("inner")
        await call_next()
        seen.append("inner ends")

    handle = in_form(lambda element: seen.append("function"), is_async=is_async)
    trigger(app, kind)(handle)
    await add(client, kind, "a")
    async with run_host(app):
        await eventually(lambda: "outer ends" in seen)
        await eventually(lambda: settled(client, kind))
    name = handle.__name__
    assert seen == [f"outer {name} 1 work work", "inner", "function", "inner ends", "outer ends"]


async def test_batches_and_messages(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """A batch is one call with all its messages, and a message of pub/sub is a call too."""
    app, seen = App(), list[tuple[str, list[str]]]()

    @app.middleware
    async def record(call: Call, call_next: CallNext) -> None:
        await call_next()
        seen.append((call.function, [message.message for message in call.messages]))

    @app.list_trigger(keys="work")
    def handle(elements: list[str]) -> None: ...

    @app.pubsub_trigger(channel="prices")
    async def reprice(price: str) -> None: ...

    await add(client, "list", "a", "b")
    async with run_host(app):
        await eventually(lambda: client.publish("prices", "5"))
        await eventually(lambda: len(seen) >= 2)
    assert ("handle", ["a", "b"]) in seen
    assert ("reprice", ["5"]) in seen


@both_forms
async def test_what_the_function_raises(client: redis.asyncio.Redis, run_host: RunHost, is_async: bool) -> None:
    """call_next() raises what the function raised. Unless the middleware swallows it, the call has failed."""
    app, raised = App(), list[BaseException]()

    @app.middleware
    async def swallow(call: Call, call_next: CallNext) -> None:
        try:
            await call_next()
        except Exception as error:
            raised.append(error)
            if call.messages[0].message != "swallow":
                raise

    def fail(element: str) -> None:
        raise ValueError(element)

    trigger(app, "list", max_deliveries=1)(in_form(fail, is_async=is_async))
    await add(client, "list", "swallow", "keep")
    async with run_host(app):
        await eventually(lambda: len(raised) == 2)
        await eventually(lambda: settled(client, "list"))
    assert [letter[b"error"] for letter in await dead_letters(client)] == [b"ValueError: keep"]
    assert sorted(str(error) for error in raised) == ["keep", "swallow"]


@both_forms
@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_middleware_raises(
    client: redis.asyncio.Redis, run_host: RunHost, is_async: bool, when: str
) -> None:
    """An error, a Retry and a Reject of a middleware count as the function's own, before or after its call."""
    app, called = App(), list[str]()
    raised = [Retry("later", after_seconds=0), ValueError("wrong"), Reject("enough")]

    @app.middleware
    async def refuse(call: Call, call_next: CallNext) -> None:
        if when == "before":
            raise raised[call.context.deliveries - 1]
        await call_next()
        raise raised[call.context.deliveries - 1]

    trigger(app, "list")(in_form(called.append, is_async=is_async))
    await add(client, "list", "a")
    async with run_host(app):
        [letter] = await eventually(lambda: dead_letters(client))
    assert (letter[b"error"], letter[b"deliveries"]) == (b"Reject: enough", b"3")
    assert called == ([] if when == "before" else ["a", "a", "a"])


async def returning(call: Call, call_next: CallNext) -> None:
    """Forget the call."""


async def not_awaiting(call: Call, call_next: CallNext) -> None:
    """Make the coroutine of call_next() without awaiting it."""
    rest: Any = call_next()
    rest.close()


async def calling_twice(call: Call, call_next: CallNext) -> None:
    """Call the function twice."""
    await call_next()
    await call_next()


async def passing_on(call: Call, call_next: Any) -> None:
    """Give call_next() the call, as in FastStream."""
    await call_next(call)


async def not_waiting(call: Call, call_next: CallNext) -> None:
    """Start the call, and return before it has ended."""
    started = asyncio.Event()
    tasks.append(asyncio.ensure_future(call_next()))
    asyncio.get_running_loop().call_soon(started.set)
    await started.wait()


tasks: list[asyncio.Future[None]] = []


@pytest.mark.parametrize(
    ("middleware", "problem", "calls"),
    [
        (returning, "returning returned without awaiting call_next(): `await call_next()`, or raise Reject", 0),
        (not_awaiting, "not_awaiting returned without awaiting call_next()", 0),
        (calling_twice, "calling_twice called call_next() twice: raise Retry to have the entry delivered again", 1),
        (passing_on, "passing_on gave call_next() an argument: write `await call_next()`", 0),
        (not_waiting, "not_waiting returned without awaiting call_next()", 1),
    ],
)
async def test_middleware_that_is_wrong(
    client: redis.asyncio.Redis, run_host: RunHost, middleware: Any, problem: str, calls: int
) -> None:
    """A middleware that does not await call_next() exactly once fails the call: nothing is dropped silently."""
    app, called, release = App(), list[str](), asyncio.Event()
    app.middleware(middleware)

    @trigger(app, "list", max_deliveries=1)
    async def handle(element: str) -> None:
        called.append(element)
        if middleware is not_waiting:
            await release.wait()

    await add(client, "list", "a")
    async with run_host(app):
        [letter] = await eventually(lambda: dead_letters(client))
        release.set()
        await asyncio.gather(*tasks)
        tasks.clear()
    assert letter[b"error"].decode().startswith(f"MiddlewareError: {problem}")
    assert len(called) == calls


@both_forms
async def test_context_variables(client: redis.asyncio.Redis, run_host: RunHost, is_async: bool) -> None:
    """The function sees what a middleware has set, also on a thread, and each call has its own."""
    app, seen = App(), list[tuple[str, str]]()

    @app.middleware
    async def set_tenant(call: Call, call_next: CallNext) -> None:
        assert tenant.get() == "none"
        tenant.set(f"tenant of {call.messages[0].message}")
        await call_next()

    trigger(app, "list")(in_form(lambda element: seen.append((element, tenant.get())), is_async=is_async))
    await add(client, "list", "a", "b", "c")
    async with run_host(app):
        await eventually(lambda: len(seen) == 3)
    assert sorted(seen) == [(element, f"tenant of {element}") for element in ("a", "b", "c")]


@pytest.mark.parametrize("where", ["before", "after"])
@both_forms
async def test_the_time_limit_covers_middleware(
    client: redis.asyncio.Redis, run_host: RunHost, is_async: bool, where: str
) -> None:
    """A middleware that waits beyond the time limit is cancelled, and the dead letter names its line."""
    app, ended = App(), list[str]()

    @app.middleware
    async def hang(call: Call, call_next: CallNext) -> None:
        if where == "after":
            await call_next()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    trigger(app, "list", max_deliveries=1, call_timeout_seconds=0.2)(in_form(ended.append, is_async=is_async))
    await add(client, "list", "a")
    async with run_host(app):
        [letter] = await eventually(lambda: dead_letters(client))
    assert letter[b"error"] == b"CallTimeoutError: took longer than 0.2 s"
    assert b"test_middleware.py" in letter[b"where"]
    assert b"hang" in letter[b"where"]
    assert ended == (["a"] if where == "after" else []) + ["cancelled"]


async def test_a_thread_beyond_the_time_limit(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """The call is abandoned, as without middleware. Once the function ends, its middleware learns of the time limit."""
    app, learnt, release = App(), list[str](), threading.Event()

    @app.middleware
    async def record(call: Call, call_next: CallNext) -> None:
        try:
            await call_next()
        except BaseException as error:
            learnt.append(repr(error))
            raise

    @trigger(app, "list", max_deliveries=1, call_timeout_seconds=0.2)
    def handle(element: str) -> None:
        release.wait(30)

    await add(client, "list", "a")
    async with run_host(app):
        [letter] = await eventually(lambda: dead_letters(client))
        assert (letter[b"error"], learnt) == (b"CallTimeoutError: took longer than 0.2 s", [])
        release.set()
        await eventually(lambda: learnt)
    assert learnt == ["CallTimeoutError('took longer than 0.2 s')"]


async def test_an_uncalled_entry_is_put_back(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """With at-most-once delivery, an entry whose middleware is waiting at the end of the grace period is put back."""
    app, waiting = App(), list[str]()

    @app.middleware
    async def wait(call: Call, call_next: CallNext) -> None:
        waiting.append(call.messages[0].message)
        await asyncio.Event().wait()
        await call_next()

    @app.list_trigger(keys="work", delivery="at-most-once")
    async def handle(element: str) -> None: ...

    await add(client, "list", "a")
    async with run_host(app, grace_period_seconds=0):
        await eventually(lambda: waiting)
    assert await client.lrange("work", 0, -1) == [b"a"]


@both_kinds
async def test_entries_that_cannot_be_converted(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """Middleware is not called for an entry with which no call is made."""
    app, calls = App(), list[Call]()

    @app.middleware
    async def record(call: Call, call_next: CallNext) -> None:
        calls.append(call)
        await call_next()

    @trigger(app, kind)
    async def handle(numbers: list[dict[str, int]]) -> None: ...

    await add(client, kind, '{"payload": "x"}' if kind == "list" else "x", '{"payload": 5}' if kind == "list" else "5")
    async with run_host(app):
        await eventually(lambda: dead_letters(client))
        await eventually(lambda: settled(client, kind))
    [call] = calls
    [message] = call.messages
    assert isinstance(message, RedisMessage)
    assert "5" in message.message
    assert await unfinished(client, kind) == 0
