"""Delivery of entries whose function fails, and of unusual entries."""

import itertools
import json
import time
from collections import defaultdict

import pytest
import redis.asyncio

from tests.servers.catalogue import RELEASES, REPRESENTATIVE
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
    unfinished,
)
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage, Reject, Retry

pytestmark = [pytest.mark.usefixtures("quick_retries"), pytest.mark.releases(*REPRESENTATIVE)]


@pytest.mark.releases(*RELEASES)
@both_kinds
async def test_failing_entry_is_retried_then_dead_lettered(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind
) -> None:
    """A failing entry is delivered max_deliveries times and then dead-lettered; the others of its batch finish."""
    app, handled = App(), []

    @trigger(app, kind, max_deliveries=3)
    async def on_entry(message: RedisMessage) -> None:
        handled.append((payload_of(message), message.deliveries))
        if payload_of(message) == "bad":
            raise ValueError("no good")

    before_ms = time.time() * 1000
    await add(client, kind, "a", "bad", "c")
    async with run_host(app):
        await eventually(lambda: dead_letters(client))
        await eventually(lambda: settled(client, kind))
    assert sorted(handled) == [("a", 1), ("bad", 1), ("bad", 2), ("bad", 3), ("c", 1)]
    (letter,) = await dead_letters(client)
    payload = letter[b"payload"] if kind == "list" else letter[b"field:payload"]
    assert (payload, letter[b"error"], letter[b"deliveries"]) == (b"bad", b"ValueError: no good", b"3")
    assert (letter[b"function"], letter[b"trigger"]) == (b"on_entry", KEY.encode())
    assert before_ms - 1 <= int(letter[b"time_ms"]) <= time.time() * 1000


@both_kinds
async def test_failing_entry_stays_unsettled_until_it_succeeds(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind
) -> None:
    """An entry whose function raised stays unsettled and is delivered again, until a call succeeds."""
    app, seen = App(), []

    @trigger(app, kind)
    async def on_entry(message: RedisMessage) -> None:
        seen.append(await unfinished(client, kind))
        if message.deliveries < 3:
            raise ValueError

    await add(client, kind, "a")
    async with run_host(app):
        await eventually(lambda: len(seen) == 3)
        await eventually(lambda: settled(client, kind))
    assert seen == [1, 1, 1]
    assert await dead_letters(client) == []


@both_kinds
async def test_retries_wait_longer_each_time(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time between deliveries doubles, with jitter."""
    monkeypatch.setattr("listeners.engine.retry_policy.FIRST_RETRY_SECONDS", 0.05)
    app, times = App(), []

    @trigger(app, kind, max_deliveries=4)
    async def on_entry(message: RedisMessage) -> None:
        times.append(time.monotonic())
        raise ValueError

    await add(client, kind, "a")
    async with run_host(app):
        await eventually(lambda: dead_letters(client))
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(waits) == 3
    assert all(wait >= 0.0375 * 2**number - 0.002 for number, wait in enumerate(waits)), waits


@both_kinds
async def test_a_failed_batch_is_delivered_one_by_one(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind
) -> None:
    """After a batch call fails, each entry is delivered alone; only one that fails alone is dead-lettered."""
    app, calls = App(), []

    @trigger(app, kind, max_deliveries=3)
    async def on_batch(messages: list[RedisMessage]) -> None:
        payloads = [payload_of(message) for message in messages]
        calls.append(payloads)
        if "bad" in payloads:
            raise ValueError("no good")

    await add(client, kind, "a", "bad", "c")
    async with run_host(app):
        await eventually(lambda: dead_letters(client))
        await eventually(lambda: settled(client, kind))
    assert calls[0] == ["a", "bad", "c"]
    assert sorted(calls[1:]) == [["a"], ["bad"], ["bad"], ["c"]]
    assert len(await dead_letters(client)) == 1


@both_kinds
async def test_a_function_may_request_a_retry(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """Retry(after_seconds=...) delivers the entry again after that time, and the delivery counts."""
    app, times, retried = App(), [], []

    @trigger(app, kind, max_deliveries=2)
    async def on_entry(message: RedisMessage) -> None:
        times.append(time.monotonic())
        retried.append(message.deliveries)
        raise Retry("later", after_seconds=0.15)

    await add(client, kind, "a")
    async with run_host(app):
        await eventually(lambda: dead_letters(client))
    assert retried == [1, 2]
    assert times[1] - times[0] >= 0.145


@both_kinds
async def test_a_function_may_reject(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """Reject dead-letters the entry at once, with its reason."""
    app, handled = App(), []

    @trigger(app, kind)
    async def on_entry(message: RedisMessage) -> None:
        handled.append(message.deliveries)
        raise Reject("not ours")

    await add(client, kind, "a")
    async with run_host(app):
        await eventually(lambda: dead_letters(client))
        await eventually(lambda: settled(client, kind))
    assert handled == [1]
    assert (await dead_letters(client))[0][b"error"] == b"Reject: not ours"


@both_kinds
async def test_entry_that_cannot_be_converted_does_not_block_its_batch(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind
) -> None:
    """An entry that cannot be converted to the parameter's type is dead-lettered; the rest of its batch is handled."""
    app, calls = App(), []

    @trigger(app, kind)
    async def on_batch(texts: list[str]) -> None:
        calls.append(len(texts))

    await add(client, kind, "a", "b")
    await (client.rpush(KEY, b"\xff") if kind == "list" else client.xadd(KEY, {"payload": b"\xff"}))
    async with run_host(app):
        await eventually(lambda: dead_letters(client))
        await eventually(lambda: settled(client, kind))
    assert calls == [2]
    (letter,) = await dead_letters(client)
    assert b"\xff" in letter.values()
    assert b"UTF-8" in letter[b"error"]


async def test_at_most_once_never_redelivers(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """With delivery="at-most-once" a failed element is dead-lettered at once; the next one is handled."""
    app, handled = App(), []

    @app.list_trigger(keys=KEY, delivery="at-most-once")
    async def on_element(message: RedisMessage) -> None:
        handled.append(message.message)
        if message.message == "bad":
            raise ValueError("no good")

    async with run_host(app):
        await client.rpush(KEY, "bad", "good")
        await eventually(lambda: dead_letters(client))
        await client.rpush(KEY, "last")
        await eventually(lambda: "last" in handled)
    assert handled == ["bad", "good", "last"]
    (letter,) = await dead_letters(client)
    assert (letter[b"payload"], letter[b"deliveries"]) == (b"bad", b"1")


async def test_unusual_elements(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Empty elements, bytes that are not UTF-8 and elements with colons arrive unchanged, also after a retry."""
    app, handled = App(), defaultdict[int, list[bytes]](list)
    elements = [b"", b"\xff\x00\r\n", b"3:a:b", b"plain"]

    @app.list_trigger(keys=KEY, batch_size=1)
    async def on_element(message: RedisMessage) -> None:
        handled[message.deliveries].append(message.message.encode("utf-8", "surrogateescape"))
        if message.deliveries == 1:
            raise ValueError

    await client.rpush(KEY, *elements)
    async with run_host(app):
        await eventually(lambda: len(handled[2]) == 4)
    assert handled[1] == elements
    assert sorted(handled[2]) == sorted(elements)


async def test_unusual_entries(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Empty values, duplicate fields and bytes that are not UTF-8 arrive unchanged in `fields`; JSON has the last."""
    app, messages = App(), []

    @app.stream_trigger(keys=KEY, polling_interval_ms=20)
    async def on_entry(message: RedisMessage) -> None:
        messages.append(message)

    await client.execute_command("XADD", KEY, "*", "a", "1", "a", "", b"\xff", b"\x00\xfe", "", "empty name")
    async with run_host(app):
        await eventually(lambda: messages)
    (message,) = messages
    assert message.fields is not None
    assert message.fields.pairs() == ((b"a", b"1"), (b"a", b""), (b"\xff", b"\x00\xfe"), (b"", b"empty name"))
    assert json.loads(message.message) == {"a": "", "\udcff": "\x00\udcfe", "": "empty name"}
