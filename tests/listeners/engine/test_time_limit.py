"""Calls that exceed their time limit."""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
import redis.asyncio

from tests.support.running_host import RunHost
from tests.support.trigger_kinds import KEY, Kind, add, both_kinds, dead_letters, payload_of, settled, trigger
from tests.support.waiting import eventually
from triggerfish import App, Host, RedisMessage

pytestmark = [
    pytest.mark.usefixtures("quick_retries", "quick_reclaims"),
    # What functions do is the same on every server: the oldest, one with the older stream commands, and the newest.
    pytest.mark.releases("redis-5.0", "redis-6.2", "valkey-9.1"),
]

LIMIT = 0.1


@pytest.fixture
def quick_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give cancelled functions little time to clean up."""
    monkeypatch.setattr("listeners.engine.calling.executor.CLEAN_UP_SECONDS", 0.05)
    monkeypatch.setattr("listeners.engine.listener.CLEAN_UP_SECONDS", 0.2)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event that stuck threads wait for; it is set after the test."""
    event = threading.Event()
    yield event
    event.set()


def overdue(host: Host, function: str = "on_entry") -> float | None:
    """Return how many abandoned calls are still running."""
    return host.registry.get_sample_value("triggerfish_calls_overdue", {"app": "test", "function": function})


@both_kinds
async def test_a_slow_call_is_cancelled_and_counts_as_failed(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind
) -> None:
    """A slow async function is cancelled and cleans up; its entry is retried, then dead-lettered."""
    app = App()
    cleaned_up: list[int] = []
    handled: list[int] = []

    @trigger(app, kind, call_timeout_seconds=LIMIT, max_deliveries=2)
    async def on_entry(message: RedisMessage) -> None:
        try:
            await (asyncio.Event().wait() if payload_of(message) == "slow" else asyncio.sleep(0))
        finally:
            await asyncio.sleep(0)
            (cleaned_up if payload_of(message) == "slow" else handled).append(message.deliveries)

    await add(client, kind, "slow", "quick")
    async with run_host(app) as host:
        await eventually(lambda: dead_letters(client))
        await eventually(lambda: settled(client, kind))
        assert overdue(host) == 0
    assert (cleaned_up, handled) == ([1, 2], [1])
    (letter,) = await dead_letters(client)
    assert (letter[b"error"], letter[b"deliveries"]) == (b"CallTimeoutError: took longer than 0.1 s", b"2")


@both_kinds
async def test_a_slow_batch_is_delivered_one_by_one(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """After a batch call times out, each entry is delivered alone, with its own time limit."""
    app, calls = App(), []

    @trigger(app, kind, call_timeout_seconds=LIMIT, max_deliveries=2)
    async def on_batch(messages: list[RedisMessage]) -> None:
        payloads = [payload_of(message) for message in messages]
        calls.append(payloads)
        if "slow" in payloads:
            await asyncio.Event().wait()

    await add(client, kind, "a", "slow")
    async with run_host(app):
        await eventually(lambda: dead_letters(client))
        await eventually(lambda: settled(client, kind))
    assert calls[0] == ["a", "slow"]
    assert sorted(calls[1:]) == [["a"], ["slow"]]


@pytest.mark.usefixtures("quick_clean_up")
@both_kinds
async def test_a_call_that_ignores_its_cancellation_blocks_nothing(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind
) -> None:
    """A coroutine that keeps running after its limit is abandoned: others run in its slot, and a metric counts it."""
    app, handled, release = App(), [], asyncio.Event()

    @trigger(app, kind, call_timeout_seconds=LIMIT, max_deliveries=1, batch_size=2)
    async def on_entry(message: RedisMessage) -> None:
        while payload_of(message) == "stubborn" and not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        handled.append(payload_of(message))

    await add(client, kind, "stubborn", *map(str, range(20)))
    async with run_host(app) as host:
        await eventually(lambda: dead_letters(client))
        await eventually(lambda: len(handled) == 20)
        await eventually(lambda: settled(client, kind))
        assert overdue(host) == 1
        release.set()
        await eventually(lambda: overdue(host) == 0)
    assert len(await dead_letters(client)) == 1  # its late return changes nothing


@both_kinds
async def test_a_thread_that_does_not_return_is_replaced(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, gate: threading.Event
) -> None:
    """A `def` function that does not return is abandoned: its entry counts as failed, and others get a new thread."""
    app, handled, deliveries = App(), [], []

    @trigger(app, kind, call_timeout_seconds=LIMIT, max_deliveries=2, batch_size=3)
    def on_entry(message: RedisMessage) -> None:
        if payload_of(message) == "stuck":
            deliveries.append(message.deliveries)
            gate.wait()
        else:
            handled.append(payload_of(message))

    await add(client, kind, "stuck", *map(str, range(30)))
    async with run_host(app) as host:
        await eventually(lambda: dead_letters(client))
        await eventually(lambda: len(handled) == 30)
        await eventually(lambda: settled(client, kind))
        assert overdue(host) == 2
        gate.set()
        await eventually(lambda: overdue(host) == 0)
    assert deliveries == [1, 2]
    (letter,) = await dead_letters(client)
    assert letter[b"error"] == b"CallTimeoutError: took longer than 0.1 s"


@both_kinds
async def test_too_many_stuck_threads_pause_consumption(
    client: redis.asyncio.Redis,
    run_host: RunHost,
    kind: Kind,
    gate: threading.Event,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """When the stuck calls reach the concurrency limit, consumption pauses until one ends, and one line is logged."""
    app, started, handled = App(), Counter[str](), []

    @trigger(app, kind, call_timeout_seconds=LIMIT, max_deliveries=1, batch_size=2)
    def on_entry(message: RedisMessage) -> None:
        started[payload_of(message)] += 1
        if payload_of(message).startswith("stuck"):
            gate.wait()
        handled.append(payload_of(message))

    @app.list_trigger(keys="other")
    async def on_other(message: RedisMessage) -> None:
        handled.append("other")

    def lines(text: str) -> int:
        return sum(text in record.getMessage() for record in caplog.records)

    with caplog.at_level(logging.INFO, "triggerfish.host"):
        async with run_host(app) as host:
            await add(client, kind, "stuck 1", "stuck 2")
            await eventually(lambda: overdue(host) == 2)
            await eventually(lambda: settled(client, kind))
            await add(client, kind, "later")
            await client.rpush("other", "")
            await eventually(lambda: handled == ["other"])
            assert (lines("consumption is paused"), started["later"]) == (1, 0)
            gate.set()
            await eventually(lambda: "later" in handled)
            await eventually(lambda: overdue(host) == 0)
    assert (lines("consumption is paused"), lines("consumption resumes")) == (1, 1)
    assert len(await dead_letters(client)) == 2


@both_kinds
async def test_retries_of_a_blocked_function_go_to_other_instances(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, gate: threading.Event
) -> None:
    """A blocked instance keeps no entries: another instance gets those held for a retry."""
    app, other_app, handled = App(), App(), []

    @trigger(app, kind, call_timeout_seconds=LIMIT, batch_size=1)
    def on_entry(message: RedisMessage) -> None:
        gate.wait()

    @trigger(other_app, kind)
    async def on_other(message: RedisMessage) -> None:
        handled.append((payload_of(message), message.deliveries))

    async with run_host(app, lease_seconds=3600, instance="stuck") as host:
        await add(client, kind, "a")
        await eventually(lambda: overdue(host) == 1)
        async with run_host(other_app, lease_seconds=3600, instance="other"):
            await eventually(lambda: handled)
            await eventually(lambda: settled(client, kind))
    assert handled == [("a", 2)]


@pytest.mark.releases("redis-5.0", "redis-7.0", "valkey-9.1")
@both_kinds
async def test_entries_without_a_thread_go_to_other_instances(
    client: redis.asyncio.Redis,
    run_host: RunHost,
    kind: Kind,
    gate: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Entries for which there is no thread are left to other instances, and no delivery of theirs counts."""
    monkeypatch.setattr("listeners.engine.calling.limits.MAX_THREADS", 2)
    app, other_app, handled = App(), App(), []

    @trigger(app, kind, call_timeout_seconds=LIMIT, max_deliveries=1, batch_size=6)
    def on_entry(message: RedisMessage) -> None:
        gate.wait()

    @trigger(other_app, kind)
    async def on_other(message: RedisMessage) -> None:
        handled.append((payload_of(message), message.deliveries))

    await add(client, kind, *"abcdef")
    async with run_host(app, lease_seconds=3600, instance="stuck") as host:
        await eventually(lambda: (overdue(host) or 0) >= 2)
        async with run_host(other_app, lease_seconds=3600, instance="other"):
            # A third call may have started in the slot of the first, before the second was abandoned.
            await eventually(lambda: len(handled) >= 3)
            await eventually(lambda: settled(client, kind))
    assert len(await dead_letters(client)) + len(handled) == 6
    assert {deliveries for _, deliveries in handled} == {1}


@pytest.mark.usefixtures("quick_clean_up")
@pytest.mark.parametrize("ending", ["cancelled", "stubborn", "thread"])
async def test_a_message_whose_call_is_too_slow_is_dropped(
    client: redis.asyncio.Redis, run_host: RunHost, ending: str, gate: threading.Event
) -> None:
    """A pub/sub message whose call times out is counted as dropped, and the next one is handled in a free slot."""
    app, handled = App(), []

    def on_thread(message: str) -> None:
        if message == "slow":
            gate.wait()
        handled.append(message)

    async def on_loop(message: str) -> None:
        while message == "slow" and not gate.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                if ending == "cancelled":
                    raise
        handled.append(message)

    function = on_thread if ending == "thread" else on_loop
    app.pubsub_trigger(channel="c", call_timeout_seconds=LIMIT)(function)
    labels = {"app": "test", "function": function.__name__, "outcome": "dropped"}

    async def subscribed() -> bool:
        return bool((await client.pubsub_numsub("c"))[0][1])

    async with run_host(app) as host:
        await eventually(subscribed)
        await client.publish("c", "slow")
        await client.publish("c", "quick")
        await eventually(lambda: handled == ["quick"])
        await eventually(lambda: host.registry.get_sample_value("triggerfish_entries_settled_total", labels) == 1)
        assert overdue(host, function.__name__) == (0 if ending == "cancelled" else 1)


async def test_a_timeout_with_at_most_once_delivery(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """With delivery="at-most-once", an element whose call times out is dead-lettered at once."""
    app = App()

    @app.list_trigger(keys=KEY, delivery="at-most-once", call_timeout_seconds=LIMIT)
    async def on_element(message: RedisMessage) -> None:
        await asyncio.Event().wait()

    async with run_host(app):
        await client.rpush(KEY, "slow")
        await eventually(lambda: dead_letters(client))
    (letter,) = await dead_letters(client)
    assert (letter[b"payload"], letter[b"deliveries"]) == (b"slow", b"1")
