"""Handovers of a pub/sub lease: no message is lost or handled twice, however fast messages arrive."""

import asyncio
import contextlib
import dataclasses
import functools
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Self

import pytest
import redis.asyncio

from tests.listeners.leases.holders import (
    RECORDER_KEY,
    holder,
    holds,
    listening,
    number_of,
    passed_on,
    recording_app,
    sample,
    subscribed,
)
from tests.servers.catalogue import REPRESENTATIVE
from tests.support.programs.hosts import host_process
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import recorded
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases(*REPRESENTATIVE)

#: The largest backlog: more would only overflow the queue, which proves nothing about handovers.
MAX_BACKLOG = 2_000

Publish = Callable[[int], Awaitable[object]]
CountHandled = Callable[[], Awaitable[int]]


class Publisher:
    """Publishes 0, 1, 2, ... as fast as the server replies while functions keep up. `number` is how many so far."""

    def __init__(self, publish: Publish, handled: CountHandled) -> None:
        self.number = 0
        self._publish = publish
        self._handled = handled
        self._stop = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self._running

    async def _run(self) -> None:
        while not self._stop.is_set():
            await self._publish(self.number)
            self.number += 1
            if self.number % 500 == 0 and not await self._within(MAX_BACKLOG):
                await eventually(lambda: self._within(MAX_BACKLOG // 2))

    async def wait_for_more(self, number: int = 300) -> None:
        """Wait until `number` more messages are published and handled."""
        wanted = self.number + number
        await eventually(lambda: self.number > wanted)
        await eventually(lambda: self._within(self.number - wanted))

    async def wait_until_handled(self) -> None:
        """Wait until every message is handled."""
        await eventually(lambda: self._within(0))

    async def _within(self, backlog: int) -> bool:
        return self.number - await self._handled() <= backlog


def counter_of(got: list[RedisMessage]) -> CountHandled:
    """Return a function that counts the messages in a list."""

    async def count() -> int:
        return len(got)

    return count


#: The channels that functions listen to, and how to publish a number to each.
CHANNELS: dict[str, Callable[[redis.asyncio.Redis], Publish]] = {
    "news": lambda client: lambda number: client.publish("news", number),
    "n?ws": lambda client: lambda number: client.publish("news", number),
    "*": lambda client: lambda number: client.publish("news", number),
    "__keyevent@0__:set": lambda client: lambda number: client.set(str(number), ""),
    "__keyspace@0__:*": lambda client: lambda number: client.set(str(number), ""),
}


@pytest.mark.parametrize("channel", CHANNELS)
async def test_several_drains_in_a_row_lose_nothing(
    client: redis.asyncio.Redis, run_host: RunHost, channel: str
) -> None:
    """The holder drains four times while a publisher runs at full speed, and each message is handled once."""
    await client.config_set("notify-keyspace-events", "EK$")
    app, got = recording_app(channel)

    async with contextlib.AsyncExitStack() as stack:
        hosts = [await stack.enter_async_context(run_host(app, instance="0"))]
        await subscribed(client, 1)
        async with Publisher(CHANNELS[channel](client), counter_of(got)) as publisher:
            for number in range(1, 5):
                hosts.append(await stack.enter_async_context(run_host(app, instance=str(number))))
                await eventually(lambda: listening(client, 2))
                hosts[-2].drain()
                await eventually(functools.partial(holds, client, str(number)))
                await eventually(lambda: listening(client, 1))
                await publisher.wait_for_more()
        await publisher.wait_until_handled()
        dropped = [sample(host, "messages_dropped_total") for host in hosts]
    epochs = {message.epoch for message in got}
    counts = Counter(map(number_of, got))
    assert dropped == [0] * 5
    assert [number for number in range(publisher.number) if counts[number] != 1] == []
    assert len(counts) == publisher.number
    assert epochs == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("quick", [True, False], ids=["at once", "when it holds the lease"])
async def test_a_successor_that_drains_too(client: redis.asyncio.Redis, run_host: RunHost, *, quick: bool) -> None:
    """Two overlapping drains lose nothing: a third instance gets every message from then on."""
    app, got = recording_app("news")

    async with run_host(app, instance="first") as first:
        await subscribed(client, 1)
        async with run_host(app, instance="second") as second, run_host(app, instance="third"):
            await eventually(lambda: listening(client, 3))
            async with Publisher(CHANNELS["news"](client), counter_of(got)) as publisher:
                await publisher.wait_for_more(50)
                first.drain()
                await eventually(lambda: quick or passed_on(client, "first"))
                second.drain()
                await eventually(lambda: holds(client, "third"))
                await eventually(lambda: listening(client, 1))
            await publisher.wait_until_handled()
    assert sorted(map(number_of, got)) == list(range(publisher.number))


async def test_one_of_several_standbys_takes_over(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Exactly one of several standbys takes over, and the others keep standing by."""
    app, got = recording_app("news")

    names = {"first", "second", "third", "fourth"}
    async with contextlib.AsyncExitStack() as stack:
        hosts = {"first": await stack.enter_async_context(run_host(app, instance="first"))}
        await subscribed(client, 1)
        for name in sorted(names - {"first"}):
            hosts[name] = await stack.enter_async_context(run_host(app, instance=name))
        await eventually(lambda: listening(client, 4))
        async with Publisher(CHANNELS["news"](client), counter_of(got)) as publisher:
            for left in (3, 2, 1):
                name = await holder(client)
                hosts[name].drain()
                await eventually(functools.partial(listening, client, left))
                await subscribed(client, 1)
        await publisher.wait_until_handled()
    assert sorted(map(number_of, got)) == list(range(publisher.number))
    assert {message.epoch for message in got} <= {1, 2, 3, 4}


async def test_queued_messages_do_not_delay_a_handover(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """The old holder handles its queued messages while the new holder already handles later ones."""
    handled: list[tuple[str, str]] = []
    gate = asyncio.Event()
    app, other_app = App("test"), App("test")

    @app.pubsub_trigger(channel="news")
    async def on_message(message: str) -> None:
        await gate.wait()
        handled.append(("first", message))

    @other_app.pubsub_trigger(channel="news")
    async def on_other(message: str) -> None:
        handled.append(("second", message))

    other_app.functions = {"on_message": dataclasses.replace(other_app.functions["on_other"], name="on_message")}
    async with run_host(app, instance="first") as first:
        await subscribed(client, 1)
        async with run_host(other_app, instance="second"):
            await eventually(lambda: listening(client, 2))
            for number in range(30):
                await client.publish("news", f"old {number}")
            first.drain()
            await eventually(lambda: listening(client, 1))
            await client.publish("news", "new")
            await eventually(lambda: handled == [("second", "new")])
            gate.set()
            await eventually(lambda: len(handled) == 31)
    assert Counter(instance for instance, _ in handled) == {"first": 30, "second": 1}


@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_terminated_processes(server: Server, client: redis.asyncio.Redis) -> None:
    """After each SIGTERM another process takes over, long before the lease ends, and each message is handled once."""

    async def handled() -> int:
        return int(await client.llen("handled:pubsub"))

    async with contextlib.AsyncExitStack() as stack:
        processes = {
            name: stack.enter_context(host_process(server, name, pubsub_lease_seconds=3600))
            for name in ("first", "second", "third")
        }
        await eventually(lambda: listening(client, 3, RECORDER_KEY), seconds=30)
        await subscribed(client, 1)
        async with Publisher(lambda number: client.publish("work:pubsub", number), handled) as publisher:
            for left in (2, 1):
                await publisher.wait_for_more()
                name = await holder(client, RECORDER_KEY)
                processes[name].send_signal(signal.SIGTERM)
                await eventually(functools.partial(_is_taken_over_from, client, name))
                await eventually(functools.partial(listening, client, left, RECORDER_KEY))
            await publisher.wait_for_more()
        await publisher.wait_until_handled()
        lines = await recorded(client, "handled:pubsub")
    assert sorted(int(line.split()[1]) for line in lines) == list(range(publisher.number))
    assert len({line.split()[0] for line in lines}) == 3


async def _is_taken_over_from(client: redis.asyncio.Redis, instance: str) -> bool:
    """Return whether another instance holds the recorder's lease."""
    return await holder(client, RECORDER_KEY) not in {"", instance}
