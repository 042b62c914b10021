"""Listeners make progress: none waits for a poll, and none holds up another key or listener."""

import asyncio
import threading
from collections import Counter
from operator import attrgetter

import pytest
import redis.asyncio

from tests.servers.catalogue import REPRESENTATIVE
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import (
    KEY,
    Kind,
    add,
    both_kinds,
    dead_letters,
    payload_of,
    settled,
    trigger,
)
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage

pytestmark = [pytest.mark.usefixtures("quick_retries"), pytest.mark.releases(*REPRESENTATIVE)]

#: After so many, the pauses that begin with 10 ms and double have reached a second.
POLLS_TO_A_SECOND = 8


@both_kinds
async def test_a_backlog_is_drained_without_waiting(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """A backlog of 100 batches takes much less than 100 polling intervals (100 s)."""
    app, handled = App(), []
    register = app.list_trigger if kind == "list" else app.stream_trigger

    @register(keys=KEY, polling_interval_ms=1000, batch_size=10)
    async def on_entry(message: RedisMessage) -> None:
        handled.append(message.id)

    await add(client, kind, *map(str, range(1000)))
    async with run_host(app):
        await eventually(lambda: len(handled) == 1000, seconds=10)


@pytest.mark.parametrize("delivery", ["at-least-once", None])
async def test_a_busy_first_key_does_not_starve_the_others(
    client: redis.asyncio.Redis, run_host: RunHost, delivery: str | None
) -> None:
    """While the first key never runs empty, elements and entries of the other keys are handled too."""
    await _check_all_keys_are_served(client, run_host, delivery)


@pytest.mark.releases("redis-7.0", "redis-7.2", "redis-7.4", "redis-8.2", "valkey-8.1", "valkey-9.1")
async def test_plain_pops_do_not_starve_a_key(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """LMPOP also serves the keys in rotation."""
    await _check_all_keys_are_served(client, run_host, "at-most-once")


async def _check_all_keys_are_served(client: redis.asyncio.Redis, run_host: RunHost, delivery: str | None) -> None:
    """`delivery`: that of a list trigger, or None for a stream trigger."""
    app, handled = App(), Counter[str]()
    kind: Kind = "stream" if delivery is None else "list"
    options = {} if delivery is None else {"delivery": delivery}

    @trigger(app, kind, keys="busy second third", batch_size=5, **options)
    async def on_entry(message: RedisMessage) -> None:
        handled[message.trigger] += 1
        if message.trigger == "busy":
            await add(client, kind, "more", "and more", key="busy")

    await add(client, kind, *map(str, range(100)), key="busy")
    async with run_host(app):
        await eventually(lambda: handled["busy"] > 20)
        await add(client, kind, "a", "b", key="second")
        await add(client, kind, "a", "b", key="third")
        await eventually(lambda: handled["second"] == handled["third"] == 2)
        assert handled["busy"] < 2000


@both_kinds
async def test_one_listener_stops_and_the_other_continues(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind
) -> None:
    """One of two listeners on one connection can stop without affecting the other."""
    app, handled = App(), []

    @trigger(app, kind, keys="first")
    async def on_first(message: RedisMessage) -> None:
        handled.append("first")

    @trigger(app, kind, keys="second")
    async def on_second(message: RedisMessage) -> None:
        handled.append("second")

    def running() -> set[str]:
        return {task.get_name() for task in asyncio.all_tasks()} & {"on_first", "on_second"}

    async with run_host(app) as host:
        host.listeners[0].drain()
        await eventually(lambda: running() == {"on_second"})
        await add(client, kind, "a", key="first")
        await add(client, kind, "a", "b", key="second")
        await eventually(lambda: len(handled) == 2)
    assert handled == ["second", "second"]


@both_kinds
async def test_plain_functions_run_concurrently_on_threads(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind
) -> None:
    """`def` functions run concurrently on threads, up to the batch size; what they raise counts as a failure too."""
    app, together, threads = App(), threading.Barrier(3), set()

    @trigger(app, kind, batch_size=3, max_deliveries=1)
    def on_entry(message: RedisMessage) -> None:
        threads.add(threading.current_thread())
        together.wait(timeout=5)
        if payload_of(message) == "bad":
            raise ValueError("no good")

    await add(client, kind, "a", "bad", "c")
    async with run_host(app):
        await eventually(lambda: dead_letters(client))
        await eventually(lambda: settled(client, kind))
    assert len(threads) == 3
    assert threading.main_thread() not in threads
    assert [letter[b"error"] for letter in await dead_letters(client)] == [b"ValueError: no good"]


@pytest.mark.releases("redis-5.0")
async def test_polling_is_quick_again_after_an_element(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Before Redis 6.0 an idle listener polls ever less often; after an element arrives, the next is taken soon."""
    app, handled = App(), []

    @app.list_trigger(keys="q", polling_interval_ms=1000)
    async def on_element(body: bytes) -> None:
        handled.append(body)

    async with run_host(app) as host:
        polls = attrgetter("_source._lookout._polling._failures")
        await eventually(lambda: polls(host.listeners[0]) >= POLLS_TO_A_SECOND)
        await client.rpush("q", "first")
        await eventually(lambda: handled == [b"first"])
        assert polls(host.listeners[0]) < POLLS_TO_A_SECOND
