"""The open streams of KEDA: what they say, and how they end."""

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
from tests.support.running_scaler import SCALER, Keda, Running, Stream, reference, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server, free_port

pytestmark = pytest.mark.releases("valkey-9.1")

ROOT = Path(__file__).parents[3]
LIST = {"type": "redisListTrigger", "keys": "orders"}
PUBSUB = {"type": "redisPubSubTrigger", "channel": "prices.*"}
#: Looks are frequent, so that a test need not wait.
QUICK = {"push_interval_seconds": 0.02}


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times short enough for a test, and a first `true` that is not repeated."""
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0.005)
    monkeypatch.setattr("scaler.push.subscribers.LEAST_GAP_SECONDS", 0.05)
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", ())


async def looks(scaler: Running, more: int = 5) -> None:
    """Wait until the scaler has looked at Redis several times more."""
    before = await scaler.rounds()

    async def looked() -> bool:
        return await scaler.rounds() >= before + more

    await eventually(looked)


@pytest.mark.usefixtures("_quick")
async def test_true_on_open_if_active(server: Server, client: redis.asyncio.Redis) -> None:
    """A stream says `true` once when it is opened on an active trigger, and says nothing more while that lasts."""
    await client.rpush("orders", "x")
    async with running_scaler(server, scaler=QUICK) as scaler, scaler.keda.activity(LIST) as stream:
        await eventually(lambda: stream.said == [True])
        await looks(scaler)
        assert stream.said == [True]


def _has_said(stream: Stream, times: int) -> bool:
    return bool(stream.said == [True] * times)


@pytest.mark.usefixtures("_quick")
async def test_true_at_each_change_to_active(server: Server, client: redis.asyncio.Redis) -> None:
    """A stream says `true` at each change to active, never `false`, and nothing while the trigger is not active."""
    async with running_scaler(server, scaler=QUICK) as scaler, scaler.keda.activity(LIST) as stream:
        await looks(scaler)
        assert stream.said == []
        for times in (1, 2, 3):
            await client.rpush("orders", "x")
            await eventually(partial(_has_said, stream, times))
            await client.delete("orders")
            await looks(scaler)
        assert stream.said == [True] * 3


async def test_the_first_true_is_repeated(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first `true` of a stream is said again after each of the set times, and the later ones are not."""
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0.005)
    monkeypatch.setattr("scaler.push.subscribers.LEAST_GAP_SECONDS", 0.01)
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", (0.1, 0.3))
    loop = asyncio.get_running_loop()
    await client.rpush("orders", "x")
    async with running_scaler(server, scaler=QUICK) as scaler, scaler.keda.activity(LIST) as stream:
        await eventually(lambda: stream.said)
        began = loop.time()
        await eventually(lambda: len(stream.said) == 3)
        assert loop.time() - began >= 0.25
        await client.delete("orders")
        await looks(scaler)
        await client.rpush("orders", "x")
        await eventually(lambda: len(stream.said) == 4)
        again = loop.time()
        await eventually(lambda: loop.time() - again > 0.4)
        assert stream.said == [True] * 4


async def test_no_repeat_once_it_is_not_active(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repetition is left out when the trigger is no longer active."""
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0.005)
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", (0.3,))
    loop = asyncio.get_running_loop()
    await client.rpush("orders", "x")
    async with running_scaler(server, scaler=QUICK) as scaler, scaler.keda.activity(LIST) as stream:
        await eventually(lambda: stream.said)
        began = loop.time()
        await client.delete("orders")
        await eventually(lambda: loop.time() - began > 0.5)
        assert stream.said == [True]


async def test_the_least_gap_between_two(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second `true` comes no sooner than the least gap after the first, and it does come."""
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0.005)
    monkeypatch.setattr("scaler.push.subscribers.LEAST_GAP_SECONDS", 0.5)
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", ())
    loop = asyncio.get_running_loop()
    async with running_scaler(server, scaler=QUICK) as scaler, scaler.keda.activity(LIST) as stream:
        await client.rpush("orders", "x")
        await eventually(lambda: stream.said)
        began = loop.time()
        await client.delete("orders")
        await looks(scaler, 3)
        await client.rpush("orders", "x")
        await eventually(lambda: stream.said == [True, True])
        assert loop.time() - began >= 0.4


@pytest.mark.usefixtures("_quick")
async def test_pubsub_is_active_while_redis_is_down(own_server: Server) -> None:
    """A stream of a pub/sub trigger says `true` on open also while Redis is down."""
    own_server.process.kill()
    async with running_scaler(own_server, scaler=QUICK) as scaler, scaler.keda.activity(PUBSUB) as stream:
        await eventually(lambda: stream.said == [True])


@pytest.mark.usefixtures("_quick")
async def test_streams_outlive_an_outage(own_server: Server) -> None:
    """A stream stays open while Redis is down, says nothing meanwhile, and wakes the app afterwards."""
    async with running_scaler(own_server, scaler=QUICK) as scaler, scaler.keda.activity(LIST) as stream:
        await looks(scaler, 1)
        own_server.process.kill()
        own_server.process.wait()
        await looks(scaler, 2)
        assert stream.said == []
        own_server.restart()
        with own_server.client() as client:
            client.rpush("orders", "x")
        await eventually(lambda: stream.said == [True])


@pytest.mark.usefixtures("_quick")
async def test_closed_streams_are_forgotten(server: Server, client: redis.asyncio.Redis) -> None:
    """A stream that KEDA closes is counted no more, and its trigger is no longer looked at."""
    series = (("method", "StreamIsActive"),)

    async def open_streams() -> float:
        return (await scaler.samples()).get("triggerfish_open_streams", {}).get(series, 0)

    async with running_scaler(server, scaler=QUICK) as scaler:
        async with scaler.keda.activity(LIST), scaler.keda.activity(LIST), scaler.keda.activity(PUBSUB):
            await eventually(lambda: _is(open_streams, 3))
        await eventually(lambda: _is(open_streams, 0))
        before = await scaler.rounds()
        async with scaler.keda.activity(PUBSUB) as stream:
            await eventually(lambda: stream.said == [True])
        assert await scaler.rounds() <= before + 1


async def _is(ask: object, wanted: float) -> bool:
    assert callable(ask)
    return bool(await ask() == wanted)


async def test_streams_end_with_ok(server: Server, client: redis.asyncio.Redis) -> None:
    """When the scaler stops, each open stream ends with OK, whether it has said something or not."""
    await client.rpush("orders", "x")
    async with running_scaler(server) as scaler:
        keda = scaler.keda
        async with (
            keda.activity(LIST) as active,
            keda.activity({**LIST, "keys": "empty"}) as idle,
            keda.specs(LIST) as specs,
        ):
            await eventually(lambda: active.said and specs.said)
            await idle.call.initial_metadata()
            scaler.server.stop()
            assert [await stream.code() for stream in (active, idle, specs)] == [StatusCode.OK] * 3


async def test_spec_streams(server: Server) -> None:
    """StreamMetricSpec says the spec of GetMetricSpec once, and stays open."""
    async with running_scaler(server) as scaler, scaler.keda.specs(LIST) as stream:
        await eventually(lambda: stream.said)
        assert [list(answer.metricSpecs) for answer in stream.said] == [[await scaler.keda.spec(LIST)]]
        assert not stream.call.done()


@contextlib.asynccontextmanager
async def scaler_process(
    server: Server, port: int | None = None
) -> AsyncIterator[tuple[subprocess.Popen[bytes], Keda]]:
    """A scaler in a process of its own, which must end with code 0 in the block or soon after, and who asks it."""
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
    """K6: at SIGTERM a scaler with open streams ends each of them with OK, and itself with code 0 in good time."""
    await client.rpush("orders", "x")
    async with (
        scaler_process(server) as (process, keda),
        keda.activity(LIST) as active,
        keda.activity({**LIST, "keys": "empty"}) as idle,
        keda.specs(LIST) as specs,
    ):
        await eventually(lambda: active.said and specs.said)
        await idle.call.initial_metadata()
        process.send_signal(signal.SIGTERM)
        assert [await stream.code() for stream in (active, idle, specs)] == [StatusCode.OK] * 3


async def test_calls_that_wait_at_sigterm(server: Server) -> None:
    """K6: when SIGTERM comes while many calls come, each is answered, also those not taken up by then."""
    port = free_port()
    asked = [{**LIST, "keys": f"orders-{number}"} for number in range(300)]
    async with scaler_process(server, port) as (process, keda):
        await keda.target(LIST)
        process.send_signal(signal.SIGSTOP)  # so that none is answered before
        calls = [asyncio.create_task(keda.target(metadata)) for metadata in asked]
        await eventually(lambda: unread_bytes(port) > sum(reference(metadata).ByteSize() for metadata in asked))
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        assert await asyncio.gather(*calls) == [0] * len(calls)


def unread_bytes(port: int) -> int:
    """What has come for who listens on this port, and was not read by it yet."""
    tables = [Path("/proc/net", name).read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    connections = [line.split() for table in tables for line in table]
    return sum(int(fields[4].partition(":")[2], 16) for fields in connections if fields[1].endswith(f":{port:04X}"))
