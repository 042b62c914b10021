"""Whom the looks at one Redis hold up, what they cost it, and how fast thousands of streams are told."""

import asyncio
import contextlib
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
import redis.asyncio

from scaler.measuring.queries import commands_per_sample
from scaler.triggers.metadata import read_metadata
from tests.support.running_scaler import Keda, Running, Stream, channel_to, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

#: Less than the time that a Redis which hangs is given to answer (2 s).
QUICKLY_SECONDS = 1.0
CHANNELS = 5
#: A second or two, on a machine that does nothing else.
TOLD_SECONDS = 15.0


def orders(connection: str) -> dict[str, str]:
    """Metadata of a list on this connection."""
    return {"type": "redisListTrigger", "keys": "orders", "connection": connection}


@contextlib.contextmanager
def suspended(server: Server) -> Iterator[str]:
    """A Redis that accepts connections and answers nothing."""
    server.process.send_signal(signal.SIGSTOP)
    yield server.address


@contextlib.contextmanager
def killed(server: Server) -> Iterator[str]:
    """A Redis that refuses connections."""
    server.process.kill()
    server.process.wait()
    yield server.address


@contextlib.contextmanager
def black_hole(_: Server) -> Iterator[str]:
    """A port whose connections are never accepted: the third one waits for good."""
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def looked_at() -> list[str]:
    """Where triggers are looked at now: each loop has a task that takes turns."""
    names = [task.get_name().partition("looking in turn at ") for task in asyncio.all_tasks()]
    return sorted(where for _, found, where in names if found)


@pytest.mark.parametrize("broken", [suspended, killed, black_hole])
async def test_a_broken_redis_delays_no_other(
    server: Server, own_server: Server, client: redis.asyncio.Redis, broken: object
) -> None:
    """While one Redis hangs, refuses or is a black hole, the triggers of another are pushed as fast as ever."""
    assert callable(broken)
    with broken(own_server) as address:
        connections = {"broken": address, "healthy": server.address}
        async with (
            running_scaler(connections=connections) as scaler,
            scaler.keda.activity(orders("broken")) as silent,
            scaler.keda.activity(orders("healthy")) as stream,
        ):
            await stream.call.initial_metadata()
            await asyncio.sleep(0.3)  # looks at the broken one are under way
            began = time.monotonic()
            await client.rpush("orders", "x")
            await eventually(lambda: stream.said == [True])
            assert time.monotonic() - began < QUICKLY_SECONDS
            assert silent.said == []


async def test_a_loop_lives_as_long_as_its_streams(server: Server, own_server: Server) -> None:
    """Each Redis has one loop, from its first open stream to its last."""
    connections = {"one": server.address, "other": own_server.address}
    async with running_scaler(connections=connections) as scaler:
        keda = scaler.keda
        async with keda.activity(orders("one")), keda.activity({**orders("one"), "keys": "more"}):
            await eventually(lambda: looked_at() == [server.address])
            async with keda.activity(orders("other")), keda.activity(orders("other")):
                await eventually(lambda: looked_at() == sorted(connections.values()))
            await eventually(lambda: looked_at() == [server.address])
        await eventually(lambda: looked_at() == [])


async def test_streams_follow_their_connection(
    server: Server, own_server: Server, client: redis.asyncio.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trigger whose connection does not exist yet, or becomes another Redis, is looked at with those there."""
    monkeypatch.setattr("scaler.server.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("scaler.push.subscribers.LEAST_GAP_SECONDS", 0.01)
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", ())
    async with (
        running_scaler(connections_dir=tmp_path) as scaler,
        scaler.keda.activity(orders("cache")) as stream,
    ):
        await eventually(lambda: looked_at() == ["no Redis"])
        (tmp_path / "cache").write_text(server.address)
        await eventually(lambda: looked_at() == [server.address])
        await client.rpush("orders", "x")
        await eventually(lambda: stream.said == [True])
        await client.delete("orders")
        await eventually(lambda: _is_seen(scaler, active=False))
        (tmp_path / "cache").write_text(own_server.address)
        await eventually(lambda: looked_at() == [own_server.address])
        with own_server.client() as other:
            other.rpush("orders", "x")
        await eventually(lambda: stream.said == [True, True])


async def _is_seen(scaler: Running, *, active: bool) -> bool:
    """Whether the last look found the only trigger so."""
    return set((await scaler.samples())["triggerfish_trigger_active"].values()) == {active}


@pytest.mark.parametrize(
    ("metadata", "commands"),
    [
        ({"type": "redisListTrigger", "keys": "a"}, 4),
        ({"type": "redisListTrigger", "keys": "a b c"}, 12),
        ({"type": "redisStreamTrigger", "keys": "a b"}, 8),
    ],
)
async def test_what_a_look_costs(
    server: Server, client: redis.asyncio.Redis, metadata: dict[str, str], commands: int
) -> None:
    """The budget counts the commands that Redis counts: those of each key, and what holds them together."""
    measured = read_metadata(metadata).measured
    assert measured is not None
    assert commands_per_sample(measured) == commands
    async with running_scaler(server) as scaler:
        await scaler.keda.active(metadata)  # the connection is there
        await client.config_resetstat()
        await asyncio.sleep(0.06)  # no sample is left over
        await scaler.keda.active(metadata)
        assert await _measuring_commands(client) == commands


async def _measuring_commands(client: redis.asyncio.Redis) -> int:
    """How many commands of measuring Redis has run since its statistics were reset."""
    stats = await client.info("commandstats")
    ours = ("multi", "exec", "llen", "zcard", "xinfo|groups", "xinfo|stream", "xinfo")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ours)


async def test_the_budget(server: Server, client: redis.asyncio.Redis) -> None:
    """Very many looks take turns: Redis gets no more commands than the budget has, and a metric tells the interval."""
    settings = {"sampling_commands_per_second": 400, "push_interval_seconds": 0.02}
    async with running_scaler(server, scaler=settings) as scaler, contextlib.AsyncExitStack() as opened:
        for number in range(60):
            metadata = {"type": "redisListTrigger", "keys": f"orders-{number}"}
            await opened.enter_async_context(scaler.keda.activity(metadata))
        await eventually(lambda: _is_interval(scaler, 60 * 4 / 400))
        await eventually(lambda: _has_looked(client, 60 * 4))
        await client.config_resetstat()
        began = time.monotonic()
        await eventually(lambda: _has_looked(client, 600))
        assert time.monotonic() - began > 600 / 400 * 0.75


async def _has_looked(client: redis.asyncio.Redis, commands: int) -> bool:
    return await _measuring_commands(client) >= commands


async def interval(scaler: Running) -> dict[str, float]:
    """The metric, by connection."""
    series = (await scaler.samples()).get("triggerfish_push_interval_seconds", {})
    return {dict(labels)["connection"]: value for labels, value in series.items()}


async def _is_interval(scaler: Running, seconds: float) -> bool:
    """Whether the default connection's triggers are looked at so often."""
    return await interval(scaler) == {"": seconds}


@contextlib.asynccontextmanager
async def many_streams(scaler: Running, number: int, channels: int) -> AsyncIterator[Sequence[Stream]]:
    """Open streams, each of a list of its own, over several connections."""
    async with contextlib.AsyncExitStack() as opened:
        kedas = [Keda(await opened.enter_async_context(channel_to(scaler.server, None))) for _ in range(channels)]
        streams = [
            await opened.enter_async_context(kedas[at % channels].activity(_list(at), name=f"worker-{at}"))
            for at in range(number)
        ]
        await asyncio.gather(*(stream.call.initial_metadata() for stream in streams))
        yield streams


def _list(at: int) -> dict[str, str]:
    return {"type": "redisListTrigger", "keys": f"orders-{at}"}


@pytest.mark.parametrize(("number", "notifications"), [(2_500, ""), (500, "Kl")])
async def test_thousands_of_streams(
    server: Server, client: redis.asyncio.Redis, number: int, notifications: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K5: of many streams over 5 connections each says `true` soon after its key got an entry, and nothing more."""
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", ())
    await client.config_set("notify-keyspace-events", notifications)
    async with running_scaler(server) as scaler, many_streams(scaler, number, CHANNELS) as streams:
        assert not any(stream.said for stream in streams)
        async with client.pipeline(transaction=False) as pipeline:
            for at in range(number):
                pipeline.rpush(f"orders-{at}", "x")
            began = time.monotonic()
            await pipeline.execute()
        await eventually(lambda: all(stream.said for stream in streams))
        assert time.monotonic() - began < TOLD_SECONDS
        await asyncio.sleep(3 * (await interval(scaler))[""])
        assert Counter(tuple(stream.said) for stream in streams) == {(True,): number}
