"""Pub/sub: messages are handled one after the other, in the order of arrival, unless concurrency allows more."""

import asyncio
import threading

import pytest
import redis.asyncio

from tests.listeners.leases.holders import sample, subscribed
from tests.servers.catalogue import REPRESENTATIVE
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App, Reject

pytestmark = pytest.mark.releases(*REPRESENTATIVE)

#: How long a call waits for another to begin beside it. If none may, all calls together wait for 2 s.
OVERLAP_SECONDS = 0.01
MESSAGES = 200


@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
async def test_one_call_after_the_other(client: redis.asyncio.Redis, run_host: RunHost, *, is_async: bool) -> None:
    """By default a call begins when the previous one has ended, also after one that failed."""
    app, steps, another_began = App(), list[str](), threading.Event()

    def begin(message: str) -> None:
        another_began.set()
        another_began.clear()
        steps.append(f"begin {message}")

    def end(message: str) -> None:
        steps.append(f"end {message}")
        if int(message) % 50 == 7:
            raise Reject("a call that fails")

    async def on_message(message: str) -> None:
        begin(message)
        await asyncio.sleep(OVERLAP_SECONDS)
        end(message)

    def on_message_in_thread(message: str) -> None:
        begin(message)
        another_began.wait(OVERLAP_SECONDS)
        end(message)

    app.pubsub_trigger(channel="c")(on_message if is_async else on_message_in_thread)
    async with run_host(app):
        await subscribed(client, 1)
        for number in range(MESSAGES):
            await client.publish("c", str(number))
        await eventually(lambda: f"end {MESSAGES - 1}" in steps)
    assert steps == [f"{step} {number}" for number in range(MESSAGES) for step in ("begin", "end")]


@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
async def test_more_calls_at_once(client: redis.asyncio.Redis, run_host: RunHost, *, is_async: bool) -> None:
    """With concurrency=3, three calls run and the others wait."""
    app, begun, gate, thread_gate = App("test"), list[str](), asyncio.Event(), threading.Event()

    async def on_message(message: str) -> None:
        begun.append(message)
        await gate.wait()

    def on_message_in_thread(message: str) -> None:
        begun.append(message)
        thread_gate.wait(30)

    on_message_in_thread.__name__ = "on_message"
    app.pubsub_trigger(channel="c", concurrency=3)(on_message if is_async else on_message_in_thread)
    async with run_host(app) as host:
        await subscribed(client, 1)
        for number in range(10):
            await client.publish("c", str(number))
        await eventually(lambda: len(begun) == 3)
        await eventually(lambda: (sample(host, "entries_received_total") or 0) > 3)
        assert len(begun) == 3
        gate.set()
        thread_gate.set()
        await eventually(lambda: len(begun) == 10)
    assert sorted(begun, key=int) == [str(number) for number in range(10)]
