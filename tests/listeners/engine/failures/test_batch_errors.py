"""`BatchError`: only some entries of a batch failed, each for its own reason."""

import asyncio
from collections.abc import Mapping

import pytest
import redis.asyncio
from pydantic import BaseModel

from listeners.engine.settlement import Outcome
from tests.listeners.engine.failures.batches import SIX, batch_function, no_stock
from tests.listeners.leases.holders import sample, subscribed
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import Kind, add, both_kinds, dead_letters, payload_of, settled, trigger
from tests.support.waiting import eventually
from triggerfish import App, BatchError, Call, CallNext, Host, RedisMessage, Reject, Retry

pytestmark = [
    pytest.mark.usefixtures("quick_retries", "quick_reclaims"),
    pytest.mark.releases("redis-5.0", "redis-6.2", "valkey-9.1"),
]


def outcomes(host: Host) -> dict[str, float]:
    """Return how many entries had each outcome."""
    found = {
        each.value: sample(host, "entries_settled_total", function="on_batch", outcome=each.value) for each in Outcome
    }
    return {name: number for name, number in found.items() if number}


async def letters_of(client: redis.asyncio.Redis, number: int) -> list[dict[bytes, bytes]]:
    """Return the dead letters once there are as many."""
    letters = await dead_letters(client)
    return letters if len(letters) == number else []


@both_kinds
@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
async def test_each_entry_has_its_own_outcome(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, *, is_async: bool
) -> None:
    """Those that are named are retried alone or dead-lettered; the others are finished and not called again."""
    app, calls = App("test"), list[list[str]]()

    def reasons(payloads: list[str], first: RedisMessage) -> Mapping[int, BaseException]:
        all_reasons = {"1": no_stock("1"), "2": Retry("later", after_seconds=0), "3": Reject("never")}
        if first.deliveries == 3:  # the one that asked for a retry succeeds at last
            del all_reasons["2"]
        return {at: all_reasons[payload] for at, payload in enumerate(payloads) if payload in all_reasons}

    trigger(app, kind, max_deliveries=3)(batch_function(calls, reasons, is_async=is_async))
    await add(client, kind, *SIX)
    async with run_host(app) as host:
        await eventually(lambda: len(calls) == 5)
        await eventually(lambda: settled(client, kind))
        await eventually(lambda: outcomes(host) == {"succeeded": 4, "retried": 4, "dead_lettered": 2})
    assert calls[0] == SIX
    assert sorted(calls[1:]) == [["1"], ["1"], ["2"], ["2"]]
    rejected, failed = await dead_letters(client)
    assert (rejected[b"error"], rejected[b"deliveries"]) == (b"Reject: never", b"1")
    assert (failed[b"error"], failed[b"deliveries"]) == (b"ValueError: no stock of 1", b"3")
    assert b"in no_stock" in failed[b"where"]
    assert b"in no_stock" in failed[b"traceback"]
    assert b".handle" in rejected[b"where"]  # it was never raised itself


@both_kinds
@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
async def test_an_entry_that_the_batch_does_not_have(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, *, is_async: bool
) -> None:
    """A position beyond the batch fails all of it: each entry is called again alone, and nothing is lost."""
    app, calls = App("test"), list[list[str]]()

    def reasons(payloads: list[str], first: RedisMessage) -> Mapping[int, BaseException]:
        return {6: no_stock("6"), 1: Reject()} if len(payloads) > 1 or payloads == ["4"] else {}

    trigger(app, kind, max_deliveries=2)(batch_function(calls, reasons, is_async=is_async))
    await add(client, kind, *SIX)
    async with run_host(app):
        [letter] = await eventually(lambda: dead_letters(client))
        await eventually(lambda: settled(client, kind))
    assert sorted(calls[1:]) == [[payload] for payload in SIX]
    assert letter[b"error"].startswith(
        b"UnknownEntryError: a BatchError names entry 6, and the batch has 1, counted from 0: name entries by their pos"
    )
    assert b".handle" in letter[b"where"]
    assert (
        b"BatchError: 2 entries of the batch failed, first entry 6: ValueError: no stock of 6" in letter[b"traceback"]
    )


@both_kinds
async def test_a_function_that_takes_one_entry(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """Its call fails with an error that says what to raise, whatever the BatchError names."""
    app = App("test")

    @trigger(app, kind, max_deliveries=1)
    async def on_entry(message: RedisMessage) -> None:
        raise BatchError({0: Retry()})

    await add(client, kind, "a")
    async with run_host(app):
        [letter] = await eventually(lambda: dead_letters(client))
    error = b"UnknownEntryError: a BatchError is for functions that take a list: raise the reason itself"
    assert (letter[b"error"], letter[b"deliveries"]) == (error, b"1")


async def test_the_place_of_a_batch_of_one(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """A reason that was never raised has the line of the `raise BatchError`, also if the batch has one entry."""
    app = App("test")

    @trigger(app, "list", max_deliveries=2)
    async def store(messages: list[str]) -> None:
        raise BatchError({0: ConnectionError("bank down")})

    await add(client, "list", "a")
    async with run_host(app):
        [letter] = await eventually(lambda: dead_letters(client))
    assert letter[b"error"] == b"ConnectionError: bank down"
    assert b".store" in letter[b"where"]
    assert b"test_batch_errors.py" in letter[b"where"]


async def test_elements_that_are_alike(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Of several equal elements, only the one that is named is called again."""
    app, calls = App("test"), list[list[str]]()

    def reasons(payloads: list[str], first: RedisMessage) -> Mapping[int, BaseException]:
        return {2: Retry(after_seconds=0)} if len(payloads) > 1 else {}

    trigger(app, "list")(batch_function(calls, reasons, is_async=True))
    await add(client, "list", *["same"] * 5)
    async with run_host(app):
        await eventually(lambda: len(calls) == 2)
        await eventually(lambda: settled(client, "list"))
    assert calls == [["same"] * 5, ["same"]]


class Order(BaseModel):
    """An entry that is validated."""

    payload: int


@both_kinds
async def test_entries_that_cannot_be_converted_have_no_position(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind
) -> None:
    """Positions are those of the list that the function got, without the entries that were not converted."""
    app, calls = App("test"), list[list[int]]()

    @trigger(app, kind)
    async def on_batch(orders: list[Order]) -> None:
        calls.append([order.payload for order in orders])
        orders.reverse()  # what the function does with its list does not change the positions
        raise BatchError({at: Reject(f"number {order}") for at, order in enumerate(calls[-1]) if order == 3})

    payloads = ["x", "1", "y", "2", "3"]
    await add(client, kind, *(p if kind == "stream" else f'{{"payload": "{p}"}}' for p in payloads))
    async with run_host(app):
        letters = await eventually(lambda: letters_of(client, 3))
        await eventually(lambda: settled(client, kind))
    assert calls == [[1, 2, 3]]
    assert sorted(letter[b"error"][:16] for letter in letters) == [b"Reject: not a va"] * 2 + [b"Reject: number 3"]


@pytest.mark.releases("redis-6.2", "valkey-9.1")  # before, elements are popped one by one
@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
async def test_popped_elements(client: redis.asyncio.Redis, run_host: RunHost, *, is_async: bool) -> None:
    """With at-most-once delivery, those that are named become dead letters, whatever the reason, and no others."""
    app, calls = App("test"), list[list[str]]()

    def reasons(payloads: list[str], first: RedisMessage) -> Mapping[int, BaseException]:
        return {0: Retry("later"), 4: no_stock("4")}

    function = batch_function(calls, reasons, is_async=is_async)
    trigger(app, "list", delivery="at-most-once", max_deliveries=1)(function)
    await add(client, "list", *SIX)
    async with run_host(app) as host:
        await eventually(lambda: outcomes(host) == {"dead_lettered": 2, "succeeded": 4})
    errors = [letter[b"error"] for letter in await dead_letters(client)]
    assert (calls, errors) == ([SIX], [b"Retry: later", b"ValueError: no stock of 4"])


async def test_messages(client: redis.asyncio.Redis, run_host: RunHost, caplog: pytest.LogCaptureFixture) -> None:
    """Messages that are named are lost, as Redis does not keep them, and the others count as handled."""
    app, gate, begun = App("test"), asyncio.Event(), list[list[str]]()

    @app.pubsub_trigger(channel="c")
    async def on_batch(messages: list[str]) -> None:
        begun.append(messages)
        await gate.wait()
        if len(messages) > 1:
            raise BatchError({1: no_stock("x"), 3: Retry()})

    async with run_host(app) as host:
        await subscribed(client, 1)
        await client.publish("c", "first")
        await eventually(lambda: begun)
        for payload in SIX:
            await client.publish("c", payload)
        gate.set()
        await eventually(lambda: outcomes(host) == {"dropped": 2, "succeeded": 5})
    assert begun[1] == SIX
    [line] = [line for line in caplog.messages if "of 6 entries" in line]
    assert line.startswith("on_batch: 2 of 6 entries in one call, from 'c' failed (2 lost, as Redis does not keep mes")


@both_kinds
async def test_middleware(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """Middleware gets the error, and may raise another one for the batch, or one of its own."""
    app, seen, calls = App("test"), list[BaseException](), list[list[str]]()

    @app.middleware
    async def adds(call: Call, call_next: CallNext) -> None:
        try:
            await call_next()
        except BatchError as error:
            seen.append(error)
            raise BatchError({**error.failures, 5: Reject("by middleware")}) from error

    def reasons(payloads: list[str], first: RedisMessage) -> Mapping[int, BaseException]:
        return {0: Reject("by the function")}

    trigger(app, kind)(batch_function(calls, reasons, is_async=True))
    await add(client, kind, *SIX)
    async with run_host(app):
        letters = await eventually(lambda: letters_of(client, 2))
        await eventually(lambda: settled(client, kind))
    assert calls == [SIX]
    assert [type(error) for error in seen] == [BatchError]
    assert [letter[b"error"] for letter in letters] == [b"Reject: by the function", b"Reject: by middleware"]


@both_kinds
async def test_a_time_limit_concerns_the_whole_batch(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind
) -> None:
    """A call that names entries only when it is cancelled has failed as a whole."""
    app, calls = App("test"), list[list[str]]()

    @trigger(app, kind, call_timeout_seconds=0.1)
    async def on_batch(messages: list[RedisMessage]) -> None:
        calls.append([payload_of(message) for message in messages])
        if len(messages) > 1:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError as error:
                raise BatchError({0: error}) from None

    await add(client, kind, *SIX)
    async with run_host(app):
        await eventually(lambda: len(calls) == 7)
        await eventually(lambda: settled(client, kind))
    assert sorted(calls[1:]) == [[payload] for payload in SIX]
