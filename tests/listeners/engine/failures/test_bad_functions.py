"""Misbehaving functions end in a clear state, and the other triggers of the app keep working."""

import asyncio
import contextvars
import functools
import logging
from collections import Counter

import pytest
import redis.asyncio

from tests.listeners.engine.failures.raised import RAISED, ExitOnTextError, InterruptOnTextError
from tests.servers.catalogue import REPRESENTATIVE
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import GROUP, KEY, Kind, add, both_kinds, dead_letters, payload_of, settled, trigger
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage, Retry

pytestmark = [
    pytest.mark.usefixtures("quick_retries", "quick_reclaims"),
    pytest.mark.releases(*REPRESENTATIVE),
]

word = contextvars.ContextVar("word", default="nothing")


def other_triggers(app: App) -> set[str]:
    """Add a list, a stream and a channel to an app. Return what their functions have handled."""
    handled: set[str] = set()

    @app.list_trigger(keys="other-list")
    async def on_other_element(element: str) -> None:
        handled.add(element)

    @app.stream_trigger(keys="other-stream", polling_interval_ms=20)
    async def on_other_entry(fields: dict[str, str]) -> None:
        handled.add(fields["payload"])

    @app.pubsub_trigger(channel="other-channel")
    async def on_other_message(message: str) -> None:
        handled.add(message)

    return handled


async def wait_for_other_triggers(client: redis.asyncio.Redis, handled: set[str]) -> None:
    """Wait until each of the other triggers has handled one more entry."""
    handled.clear()
    await client.rpush("other-list", "element")
    await client.xadd("other-stream", {"payload": "entry"})

    async def all_handled() -> bool:
        await client.publish("other-channel", "message")
        return handled == {"element", "entry", "message"}

    await eventually(all_handled)


@pytest.mark.parametrize("on_thread", [False, True], ids=["loop", "thread"])
@pytest.mark.parametrize("raised", RAISED, ids=lambda raised: raised.__name__)
async def test_any_exception_affects_only_its_entry(
    client: redis.asyncio.Redis, run_host: RunHost, raised: type[BaseException], on_thread: bool
) -> None:
    """A BaseException counts as a failure like any other: retried, then dead-lettered with its name."""
    app, kinds = App(), ("list", "stream")
    others = other_triggers(app)

    def on_entry(message: RedisMessage) -> None:
        raise raised("no good")

    async def on_loop(message: RedisMessage) -> None:
        on_entry(message)

    for kind in kinds:
        function = on_entry if on_thread else on_loop
        function.__name__ = f"on_{kind}"
        register = app.list_trigger if kind == "list" else app.stream_trigger
        register(keys=f"work:{kind}", max_deliveries=2)(function)
    await client.rpush("work:list", "a")
    await client.xadd("work:stream", {"payload": "a"})
    async with run_host(app):
        for kind in kinds:
            letters = await eventually(functools.partial(dead_letters, client, key=f"work:{kind}"))
            # Python turns it into a RuntimeError when it leaves a coroutine.
            stops = issubclass(raised, StopIteration) and not on_thread
            assert letters[0][b"error"].decode().startswith("RuntimeError" if stops else f"{raised.__name__}: no good")
            assert letters[0][b"deliveries"] == b"2"
        await wait_for_other_triggers(client, others)


@pytest.mark.parametrize("raised", [*RAISED, ExitOnTextError, InterruptOnTextError], ids=lambda raised: raised.__name__)
async def test_any_exception_affects_only_its_message(
    client: redis.asyncio.Redis, run_host: RunHost, raised: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """A pub/sub function that raises a BaseException loses only its message."""
    app, handled = App(), []

    @app.pubsub_trigger(channel="c")
    def on_message(message: str) -> None:
        if message == "bad":
            raise raised
        handled.append(message)

    async def is_handled() -> bool:
        await client.publish("c", "bad")
        await client.publish("c", "good")
        return bool(handled)

    async with run_host(app) as host:
        await eventually(is_handled)
        labels = {"app": "test", "function": "on_message", "outcome": "dropped"}
        await eventually(lambda: host.registry.get_sample_value("triggerfish_entries_settled_total", labels))
    assert any(f"failed and is lost, as Redis does not keep messages: {raised.__name__}" in x for x in caplog.messages)


@both_kinds
async def test_function_that_feeds_itself_starves_no_other(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind
) -> None:
    """A function that adds two entries for each one it handles floods only itself: others work, and a drain ends."""
    app, started = App(), Counter[str]()
    others = other_triggers(app)

    @trigger(app, kind)
    async def on_entry(message: RedisMessage) -> None:
        started[payload_of(message)] += 1
        if started.total() < 5000:
            await add(client, kind, "more", "more")

    await add(client, kind, "first")
    async with run_host(app) as host:
        await eventually(lambda: started.total() > 100)
        await wait_for_other_triggers(client, others)
        assert started.total() < 5000  # it has not stopped yet
        host.drain()
    assert await settled(client, kind)


@pytest.mark.parametrize("error", [None, ValueError("no good"), Retry(after_seconds=0)], ids=["-", "raises", "retries"])
@pytest.mark.parametrize("deletes", ["stream", "group"])
async def test_function_that_deletes_its_stream_or_group(
    client: redis.asyncio.Redis,
    run_host: RunHost,
    deletes: str,
    error: Exception | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After a function has deleted its own stream or group, the next entry is delivered, and one line is logged."""
    app, handled = App(), []
    others = other_triggers(app)

    @app.stream_trigger(keys=KEY, polling_interval_ms=20, max_deliveries=3, batch_size=1)
    async def on_entry(fields: dict[str, str]) -> None:
        payload = fields["payload"]
        handled.append(payload)
        if payload == "destroy" and handled.count("destroy") == 1:
            await (client.delete(KEY) if deletes == "stream" else client.xgroup_destroy(KEY, GROUP))
            if error is not None:
                raise error

    with caplog.at_level(logging.WARNING, "triggerfish.host"):
        async with run_host(app):
            await client.xadd(KEY, {"payload": "destroy"})
            await eventually(lambda: handled)
            await wait_for_other_triggers(client, others)
            await client.xadd(KEY, {"payload": "later"})
            await eventually(lambda: "later" in handled)
            await eventually(lambda: settled(client, "stream"))
    # A recreated group starts at 0, so entries still in the stream are delivered again.
    again = [] if deletes == "stream" else ["destroy"]
    assert handled == ["destroy", *again, "later"]
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if "recreated" in line]) == 1, lines


async def test_entries_trimmed_while_in_progress(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """An entry that is trimmed while its function fails is settled, and not retried forever."""
    app, handled = App(), Counter[str]()

    @app.stream_trigger(keys=KEY, polling_interval_ms=20, max_deliveries=3)
    async def on_entry(fields: dict[str, str]) -> None:
        handled[fields["payload"]] += 1
        if fields["payload"] == "bad":
            await client.execute_command("XTRIM", KEY, "MAXLEN", "0")
            raise ValueError("no good")

    async with run_host(app):
        await client.xadd(KEY, {"payload": "bad"})
        await eventually(lambda: handled["bad"])
        await eventually(lambda: settled(client, "stream"))
        await client.xadd(KEY, {"payload": "later"})
        await eventually(lambda: handled["later"])
        await eventually(lambda: settled(client, "stream"))
    assert handled["bad"] <= 3


@both_kinds
async def test_function_that_cancels_itself(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """The call that cancels itself fails and is retried; concurrent and later calls are unaffected."""
    app, handled = App(), list[tuple[str, int]]()

    @trigger(app, kind, batch_size=10)
    async def on_entry(message: RedisMessage) -> None:
        if payload_of(message) == "bad" and message.deliveries == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        await asyncio.sleep(0.001)
        handled.append((payload_of(message), message.deliveries))

    await add(client, kind, "good 1", "bad", "good 2", "good 3")
    async with run_host(app):
        await eventually(lambda: len(handled) == 4)
        await eventually(lambda: settled(client, kind))
    assert sorted(handled) == [("bad", 2), ("good 1", 1), ("good 2", 1), ("good 3", 1)]


async def test_context_variables_do_not_leak_between_calls(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """A context variable set by one call is not visible to later calls."""
    app, seen = App(), list[str]()

    @app.list_trigger(keys=KEY, batch_size=10)
    async def on_element(element: str) -> None:
        seen.append(word.get())
        word.set(element)

    await client.rpush(KEY, *map(str, range(30)))
    async with run_host(app):
        await eventually(lambda: len(seen) == 30)
    assert set(seen) == {"nothing"}
