"""The open streams of KEDA: which messages they get, and how they end."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import grpc
import pytest
import redis.asyncio
from grpc import StatusCode

from listeners.runtime.child_processes import die_with_parent
from tests.support.running_scaler import SCALER, Keda, RunningScaler, Stream, reference, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server, free_port

pytestmark = pytest.mark.releases("valkey-9.1")

ROOT = Path(__file__).parents[3]
LIST = {"type": "redisListTrigger", "keys": "orders"}
PUBSUB = {"type": "redisPubSubTrigger", "channel": "prices.*"}
#: Frequent checks, so that a test need not wait.
QUICK = {"push_interval_seconds": 0.02}


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use times short enough for a test, and do not repeat the first `true`."""
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0.005)
    monkeypatch.setattr("scaler.push.subscribers.MIN_GAP_SECONDS", 0.05)
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", ())


async def evaluated(scaler: RunningScaler, *, active: bool, backlog: int | None = None) -> None:
    """Wait until the scaler knows that the only trigger is active or not, with this backlog."""

    async def is_known() -> bool:
        samples = await scaler.samples()
        known = list(samples.get("triggerfish_trigger_active", {}).values()) == [active]
        return known and (backlog is None or list(samples["triggerfish_trigger_backlog"].values()) == [backlog])

    await eventually(is_known)


async def unknown(scaler: RunningScaler) -> None:
    """Wait until the scaler knows that it does not know the only trigger's backlog."""

    async def is_unknown() -> bool:
        return list((await scaler.samples()).get("triggerfish_trigger_known", {}).values()) == [0]

    await eventually(is_unknown)


@pytest.mark.usefixtures("_quick")
async def test_true_on_open_if_active(server: Server, client: redis.asyncio.Redis) -> None:
    """A stream that is opened for an active trigger gets `true` once, and nothing more while the trigger is active."""
    await client.rpush("orders", "x")
    async with running_scaler(server, scaler=QUICK) as scaler, scaler.keda.activity(LIST) as stream:
        await eventually(lambda: stream.received == [True])
        await client.rpush("orders", "y")
        await evaluated(scaler, active=True, backlog=2)
        assert stream.received == [True]


def _got_true(stream: Stream, times: int) -> bool:
    return bool(stream.received == [True] * times)


@pytest.mark.usefixtures("_quick")
async def test_true_at_each_change_to_active(server: Server, client: redis.asyncio.Redis) -> None:
    """A stream gets `true` at each change to active, never `false`, and nothing while the trigger is inactive."""
    async with running_scaler(server, scaler=QUICK) as scaler, scaler.keda.activity(LIST) as stream:
        await evaluated(scaler, active=False)
        assert stream.received == []
        for times in (1, 2, 3):
            await client.rpush("orders", "x")
            await eventually(partial(_got_true, stream, times))
            await client.delete("orders")
            await evaluated(scaler, active=False)
        assert stream.received == [True] * 3


async def test_the_first_true_is_repeated(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first `true` of a stream is repeated after each of the configured times, and later ones are not."""
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0.005)
    monkeypatch.setattr("scaler.push.subscribers.MIN_GAP_SECONDS", 0.01)
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", (0.1, 0.3))
    loop = asyncio.get_running_loop()
    await client.rpush("orders", "x")
    async with running_scaler(server, scaler=QUICK) as scaler, scaler.keda.activity(LIST) as stream:
        await eventually(lambda: stream.received)
        began = loop.time()
        await eventually(lambda: len(stream.received) == 3)
        assert loop.time() - began >= 0.25
        await client.delete("orders")
        await evaluated(scaler, active=False)
        await client.rpush("orders", "x")
        await eventually(lambda: len(stream.received) == 4)
        again = loop.time()
        await eventually(lambda: loop.time() - again > 0.4)
        assert stream.received == [True] * 4


async def test_no_repeat_once_it_is_inactive(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repetition is dropped when the trigger is no longer active."""
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0.005)
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", (0.3,))
    loop = asyncio.get_running_loop()
    await client.rpush("orders", "x")
    async with running_scaler(server, scaler=QUICK) as scaler, scaler.keda.activity(LIST) as stream:
        await eventually(lambda: stream.received)
        began = loop.time()
        await client.delete("orders")
        await eventually(lambda: loop.time() - began > 0.5)
        assert stream.received == [True]


async def test_the_minimum_gap(server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second `true` is sent, but not before MIN_GAP_SECONDS have passed since the first."""
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0.005)
    monkeypatch.setattr("scaler.push.subscribers.MIN_GAP_SECONDS", 0.5)
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", ())
    loop = asyncio.get_running_loop()
    async with running_scaler(server, scaler=QUICK) as scaler, scaler.keda.activity(LIST) as stream:
        await client.rpush("orders", "x")
        await eventually(lambda: stream.received)
        began = loop.time()
        await client.delete("orders")
        await evaluated(scaler, active=False)
        await client.rpush("orders", "x")
        await eventually(lambda: stream.received == [True, True])
        assert loop.time() - began >= 0.4


@pytest.mark.usefixtures("_quick")
async def test_pubsub_is_active_while_redis_is_down(own_server: Server) -> None:
    """A stream for a pub/sub trigger gets `true` when it is opened, even while Redis is down."""
    own_server.process.kill()
    async with running_scaler(own_server, scaler=QUICK) as scaler, scaler.keda.activity(PUBSUB) as stream:
        await eventually(lambda: stream.received == [True])


@pytest.mark.usefixtures("_quick")
async def test_streams_survive_an_outage(own_server: Server) -> None:
    """While Redis is down a stream stays open and gets nothing; afterwards a new entry wakes the app."""
    async with running_scaler(own_server, scaler=QUICK) as scaler, scaler.keda.activity(LIST) as stream:
        await evaluated(scaler, active=False)
        own_server.process.kill()
        own_server.process.wait()
        await unknown(scaler)
        assert stream.received == []
        own_server.restart()
        with own_server.client() as client:
            client.rpush("orders", "x")
        await eventually(lambda: stream.received == [True])


@pytest.mark.usefixtures("_quick")
async def test_closed_streams_are_forgotten(server: Server, client: redis.asyncio.Redis) -> None:
    """A stream that KEDA closes is no longer counted, and its trigger no longer checked."""
    series = (("method", "StreamIsActive"),)

    async def open_streams() -> float:
        return (await scaler.samples()).get("triggerfish_open_streams", {}).get(series, 0)

    async with running_scaler(server, scaler=QUICK) as scaler:
        async with scaler.keda.activity(LIST), scaler.keda.activity(LIST), scaler.keda.activity(PUBSUB):
            await eventually(lambda: _returns(open_streams, 3))
        await eventually(lambda: _returns(open_streams, 0))
        before = await scaler.rounds()
        async with scaler.keda.activity(PUBSUB) as stream:
            await eventually(lambda: stream.received == [True])
        assert await scaler.rounds() <= before + 1


async def _returns(function: object, expected: float) -> bool:
    assert callable(function)
    return bool(await function() == expected)


async def test_streams_end_with_ok(server: Server, client: redis.asyncio.Redis) -> None:
    """When the scaler stops, each open stream ends with OK, whether it got a message or not."""
    await client.rpush("orders", "x")
    async with running_scaler(server) as scaler:
        keda = scaler.keda
        async with (
            keda.activity(LIST) as active,
            keda.activity({**LIST, "keys": "empty"}) as idle,
            keda.specs(LIST) as specs,
        ):
            await eventually(lambda: active.received and specs.received)
            await idle.call.initial_metadata()
            scaler.server.stop()
            assert [await stream.code() for stream in (active, idle, specs)] == [StatusCode.OK] * 3


async def test_spec_streams(server: Server) -> None:
    """StreamMetricSpec sends the spec of GetMetricSpec once, and stays open."""
    async with running_scaler(server) as scaler, scaler.keda.specs(LIST) as stream:
        await eventually(lambda: stream.received)
        assert [list(answer.metricSpecs) for answer in stream.received] == [[await scaler.keda.spec(LIST)]]
        assert not stream.call.done()


@contextlib.asynccontextmanager
async def scaler_process(
    server: Server, port: int | None = None
) -> AsyncIterator[tuple[subprocess.Popen[bytes], Keda]]:
    """Run a scaler in a separate process, with a client. It must exit with status 0 in the block or soon after."""
    port = port or free_port()
    settings = {**SCALER, "grpc_port": port}
    environment = {f"TRIGGERFISH_SCALER__{name.upper()}": str(value) for name, value in settings.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "triggerfish", "scaler"],
        cwd=ROOT,
        env={**os.environ, **environment, "TRIGGERFISH_CONNECTION": server.address},
        preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
    )
    try:
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.max_reconnect_backoff_ms", 100)]
        ) as channel:
            async with asyncio.timeout(20):
                await channel.channel_ready()
            yield process, Keda(channel)
            await eventually(lambda: process.poll() is not None)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


async def test_sigterm(server: Server, client: redis.asyncio.Redis) -> None:
    """On SIGTERM, a scaler ends each open stream with OK, and exits with status 0 in time."""
    await client.rpush("orders", "x")
    async with (
        scaler_process(server) as (process, keda),
        keda.activity(LIST) as active,
        keda.activity({**LIST, "keys": "empty"}) as idle,
        keda.specs(LIST) as specs,
    ):
        await eventually(lambda: active.received and specs.received)
        await idle.call.initial_metadata()
        process.send_signal(signal.SIGTERM)
        assert [await stream.code() for stream in (active, idle, specs)] == [StatusCode.OK] * 3


async def test_calls_that_wait_at_sigterm(server: Server) -> None:
    """When SIGTERM arrives among many calls, each call is answered, even if it was not accepted yet."""
    port = free_port()
    requested = [{**LIST, "keys": f"orders-{number}"} for number in range(300)]
    async with scaler_process(server, port) as (process, keda):
        await keda.target(LIST)
        process.send_signal(signal.SIGSTOP)  # so that no call is answered before
        calls = [asyncio.create_task(keda.target(metadata)) for metadata in requested]
        await eventually(lambda: unread_bytes(port) > sum(reference(metadata).ByteSize() for metadata in requested))
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        assert await asyncio.gather(*calls) == [0] * len(calls)


def unread_bytes(port: int) -> int:
    """Return how many bytes have arrived for the listener on this port and are still unread."""
    tables = [Path("/proc/net", name).read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    connections = [line.split() for table in tables for line in table]
    return sum(int(fields[4].partition(":")[2], 16) for fields in connections if fields[1].endswith(f":{port:04X}"))
