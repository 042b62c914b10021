"""Entries in progress when a host drains, is killed, or never finishes."""

import asyncio
import functools
import signal
import subprocess
import threading
import time

import pytest
import redis.asyncio

from tests.servers.catalogue import REPRESENTATIVE
from tests.support.programs.hosts import ended, host_process
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import (
    GROUP,
    KEY,
    KINDS,
    Kind,
    add,
    both_kinds,
    dead_letters,
    payload_of,
    reached,
    recorded,
    settled,
    trigger,
    unfinished,
)
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage, Retry
from triggerfish.testing.server import Server

pytestmark = pytest.mark.usefixtures("quick_retries", "quick_reclaims")


@pytest.mark.releases(*REPRESENTATIVE)
async def test_a_killed_instance_loses_nothing(server: Server, client: redis.asyncio.Redis) -> None:
    """Entries in progress in a killed process are handled by another after the lease; their calls are not known."""
    await client.set("hold", "")
    with host_process(server, "first", lease_seconds=1) as first:
        for kind in KINDS:
            await add(client, kind, "a", "b", "c", key=f"work:{kind}")
            await eventually(functools.partial(reached, client, f"started:{kind}", 3))
        first.kill()
        first.wait()
    assert [await unfinished(client, kind, key=f"work:{kind}") for kind in KINDS] == [3, 3]
    await client.delete("hold")
    with host_process(server, "second", lease_seconds=1):
        for kind in KINDS:
            await eventually(functools.partial(reached, client, f"handled:{kind}", 3))
            await eventually(functools.partial(settled, client, kind, key=f"work:{kind}"))
            assert sorted(await recorded(client, f"handled:{kind}")) == ["second a 1", "second b 1", "second c 1"]


@pytest.mark.releases(*REPRESENTATIVE)
@both_kinds
async def test_entries_in_progress_finish_after_sigterm(
    server: Server, client: redis.asyncio.Redis, kind: Kind
) -> None:
    """After SIGTERM, entries in progress finish, no new ones are taken, and the process exits with status 0."""
    await client.set("hold", "")
    await add(client, kind, "a", "b", key=f"work:{kind}")
    with host_process(server, "first") as first:
        await eventually(lambda: reached(client, f"started:{kind}", 2))
        first.send_signal(signal.SIGTERM)
        await eventually(lambda: takes_nothing(client, idle="on_element" if kind == "stream" else "on_entry"))
        await add(client, kind, "new", key=f"work:{kind}")
        await client.delete("hold")
        assert await ended(first) == 0
    assert sorted(await recorded(client, f"handled:{kind}")) == ["first a 1", "first b 1"]
    assert await unfinished(client, kind, key=f"work:{kind}") == 0


async def takes_nothing(client: redis.asyncio.Redis, *, idle: str) -> bool:
    """Return whether the drain is under way: the idle function has disconnected, and the last blocking read ended."""
    connections = [(each["name"], each["flags"]) for each in await client.client_list()]
    return not any(f":{idle}:" in name or (":on_entry:" in name and "b" in flags) for name, flags in connections)


@pytest.mark.releases("redis-5.0", "redis-7.0", "valkey-9.1")
async def test_a_second_signal_exits_at_once(server: Server, client: redis.asyncio.Redis) -> None:
    """A SIGTERM a second after the first exits at once; entries in progress stay in flight until their lease ends."""
    await client.set("hold", "")
    await add(client, "list", "a", key="work:list")
    with host_process(server, "first") as first:
        await eventually(lambda: reached(client, "started:list", 1))
        first.send_signal(signal.SIGTERM)
        signalled_at = time.monotonic()
        await eventually(lambda: takes_nothing(client, idle="on_entry"))
        await eventually(lambda: ended_after_another_sigterm(first))
        assert (first.returncode, time.monotonic() - signalled_at >= 1) == (128 + signal.SIGTERM, True)
    assert await unfinished(client, "list", key="work:list") == 1


def ended_after_another_sigterm(process: "subprocess.Popen[bytes]") -> bool:
    """Send SIGTERM once more. Return whether the process has ended."""
    process.send_signal(signal.SIGTERM)
    return process.poll() is not None


@both_kinds
async def test_unfinished_entries_are_handed_back(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind) -> None:
    """After the grace period, the rest is handed back at once despite the long lease; the delivery does not count."""
    app, other_app, started, handled, cancelled = App(), App(), [], [], []

    @trigger(app, kind)
    async def on_entry(message: RedisMessage) -> None:
        started.append(message)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(message)

    @trigger(other_app, kind, max_deliveries=1)
    async def on_other(message: RedisMessage) -> None:
        handled.append((payload_of(message), message.deliveries))

    await add(client, kind, "a", "b")
    async with run_host(app, grace_period_seconds=0.1, lease_seconds=3600) as host:
        await eventually(lambda: len(started) == 2)
        host.drain()
    assert len(cancelled) == 2
    if kind == "stream":  # a consumer that holds entries is kept
        assert await client.xlen(KEY) == (await client.xpending(KEY, GROUP))["pending"] == 2
    async with run_host(other_app, lease_seconds=3600):
        await eventually(lambda: len(handled) == 2)
        await eventually(lambda: settled(client, kind))
    assert sorted(handled) == [("a", 1), ("b", 1)]


@both_kinds
async def test_a_waiting_retry_is_taken_over_from_a_draining_host(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind
) -> None:
    """An entry that waits for its retry when its host drains is delivered by another host; the failure counts."""
    app, other_app, failed, handled = App(), App(), [], []

    @trigger(app, kind)
    async def on_entry(message: RedisMessage) -> None:
        failed.append(message)
        raise Retry(after_seconds=1)  # longer than it takes to drain

    @trigger(other_app, kind)
    async def on_other(message: RedisMessage) -> None:
        handled.append(message.deliveries)

    await add(client, kind, "a")
    async with run_host(app) as host:
        labels = {"app": "test", "function": "on_entry", "outcome": "retried"}
        await eventually(lambda: host.registry.get_sample_value("triggerfish_entries_settled_total", labels) == 1)
    async with run_host(other_app):
        await eventually(lambda: handled)
    assert (len(failed), handled) == (1, [2])


async def test_a_function_that_ignores_its_cancellation_does_not_block_a_drain(
    client: redis.asyncio.Redis, run_host: RunHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coroutine that continues after its cancellation is abandoned, and its entry is handed back."""
    monkeypatch.setattr("listeners.engine.listener.CLEAN_UP_SECONDS", 0.2)
    app, started, gate = App(), [], asyncio.Event()

    @app.list_trigger(keys=KEY)
    async def on_element(message: RedisMessage) -> None:
        started.append(message)
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                started.append(message)

    await client.rpush(KEY, "a")
    async with run_host(app, grace_period_seconds=0.1) as host:
        await eventually(lambda: started)
        host.drain()
    assert len(started) == 2
    assert await unfinished(client, "list") == 1
    gate.set()


@both_kinds
async def test_a_thread_that_never_ends_does_not_block_a_drain(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind
) -> None:
    """A `def` function that does not return is abandoned after the grace period, and its entry is handed back."""
    app, other_app, started, handled, gate = App(), App(), [], [], threading.Event()

    @trigger(app, kind)
    def on_entry(message: RedisMessage) -> None:
        started.append(message)
        gate.wait()

    @trigger(other_app, kind)
    def on_other(message: RedisMessage) -> None:
        handled.append(message.deliveries)

    await add(client, kind, "a")
    try:
        async with run_host(app, grace_period_seconds=0.1) as host:
            await eventually(lambda: started)
            host.drain()
        async with run_host(other_app):
            await eventually(lambda: handled)
        assert handled == [1]
    finally:
        gate.set()


@pytest.mark.releases("redis-5.0", "redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1")
async def test_a_slow_function_keeps_its_lease(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """A function that takes longer than the lease is not called again, here or elsewhere, as the lease is renewed."""
    apps, slow, quick, gate = (App(), App()), [], [], asyncio.Event()

    def register(app: App, kind: Kind) -> None:
        async def handle(message: RedisMessage) -> None:
            if payload_of(message) == "slow":
                slow.append((kind, message.deliveries))
                await gate.wait()
            else:
                quick.append((kind, message.deliveries))

        handle.__name__ = f"handle_{kind}"
        trigger(app, kind, keys=f"work:{kind}")(handle)

    for app in apps:
        for kind in KINDS:
            register(app, kind)
    for kind in KINDS:
        await add(client, kind, "slow", key=f"work:{kind}")
    async with run_host(apps[0], lease_seconds=1, instance="one"), run_host(apps[1], lease_seconds=1, instance="two"):
        await eventually(lambda: len(slow) == 2)
        past_the_lease = time.monotonic() + 1.5
        await eventually(lambda: time.monotonic() > past_the_lease)
        for kind in KINDS:
            await add(client, kind, "quick", key=f"work:{kind}")
        await eventually(lambda: len(quick) == 2)
        gate.set()
        for kind in KINDS:
            await eventually(functools.partial(settled, client, kind, key=f"work:{kind}"))
    assert sorted(slow) == sorted(quick) == [("list", 1), ("stream", 1)]


@both_kinds
@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_an_entry_that_kills_its_process_is_dead_lettered(
    server: Server, client: redis.asyncio.Redis, kind: Kind
) -> None:
    """After the first crash it is called alone, and crashes count: after max_deliveries of them it is dead-lettered."""
    key = f"work:{kind}"
    await add(client, kind, "poison", key=key)
    for instance in ("first", "second", "third"):
        with host_process(server, instance, lease_seconds=1) as process:
            assert await ended(process) == 1
    with host_process(server, "fourth", lease_seconds=1):
        await eventually(lambda: dead_letters(client, key=key))
        await eventually(lambda: settled(client, kind, key=key))
    assert sorted(await recorded(client, f"started:{kind}")) == [
        "first poison 1",
        "second poison 1",
        "third poison 2",
    ]
    (letter,) = await dead_letters(client, key=key)
    assert letter[b"error"].startswith(b"called 2 times, the last time alone in its process")
