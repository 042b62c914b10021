"""Push loops: one for each Redis, their cost in commands, and how quickly thousands of streams get `true`."""

import asyncio
import contextlib
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import redis.asyncio

from scaler.measuring.queries import commands_per_sample
from scaler.triggers.metadata import read_metadata
from tests.servers.catalogue import RELEASES
from tests.support.running_scaler import Keda, RunningScaler, Stream, channel_to, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

#: Less than the time limit for a Redis that hangs (2 s).
QUICKLY_SECONDS = 1.0
CHANNELS = 5


def orders(connection: str) -> dict[str, str]:
    """Return the metadata of a list on this connection."""
    return {"type": "redisListTrigger", "keys": "orders", "connection": connection}


@contextlib.contextmanager
def suspended(server: Server) -> Iterator[str]:
    """A Redis that accepts connections and never responds."""
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
    """A port that never accepts connections: the third one waits forever."""
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def checked_servers() -> list[str]:
    """Return the servers whose triggers are checked now: each push loop has a task for checks in turn."""
    names = [task.get_name().partition("checks in turn: ") for task in asyncio.all_tasks()]
    return sorted(address for _, found, address in names if found)


@pytest.mark.parametrize("broken", [suspended, killed, black_hole])
async def test_a_broken_redis_delays_no_other(
    server: Server, own_server: Server, client: redis.asyncio.Redis, broken: object
) -> None:
    """While one Redis hangs, refuses or never accepts connections, triggers of another are pushed without delay."""
    assert callable(broken)
    with broken(own_server) as address:
        connections = {"broken": address, "healthy": server.address}
        async with (
            running_scaler(connections=connections) as scaler,
            scaler.keda.activity(orders("broken")) as silent,
            scaler.keda.activity(orders("healthy")) as stream,
        ):
            await stream.call.initial_metadata()
            await asyncio.sleep(0.3)  # checks of the broken one are in progress
            began = time.monotonic()
            await client.rpush("orders", "x")
            await eventually(lambda: stream.received == [True])
            assert time.monotonic() - began < QUICKLY_SECONDS
            assert silent.received == []


async def test_a_slow_stream_delays_no_other_trigger(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the measurement of one trigger hangs, the others of its Redis are checked."""

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("scaler.measuring.slow_lane.run", hang)
    monkeypatch.setattr("scaler.measuring.slow_lane.STEP_LIMIT_SECONDS", 60.0)
    slow = {"type": "redisStreamTrigger", "keys": "payments"}
    async with running_scaler(server, scaler={"bound_seconds": 30}) as scaler, scaler.keda.activity(slow):
        for number in range(3):
            metadata = {"type": "redisListTrigger", "keys": f"orders-{number}"}
            async with scaler.keda.activity(metadata) as stream:
                await stream.call.initial_metadata()
                await eventually(partial(_is_known, scaler, number + 1))
                await client.rpush(f"orders-{number}", "x")
                await eventually(lambda: stream.received == [True], seconds=15)


async def _is_known(scaler: RunningScaler, triggers: int) -> bool:
    return sum((await scaler.samples()).get("triggerfish_trigger_known", {}).values()) == triggers


async def test_a_loop_exists_while_it_has_streams(server: Server, own_server: Server) -> None:
    """Each Redis has one loop, from its first open stream to its last."""
    connections = {"one": server.address, "other": own_server.address}
    async with running_scaler(connections=connections) as scaler:
        keda = scaler.keda
        async with keda.activity(orders("one")), keda.activity({**orders("one"), "keys": "more"}):
            await eventually(lambda: checked_servers() == [server.address])
            async with keda.activity(orders("other")), keda.activity(orders("other")):
                await eventually(lambda: checked_servers() == sorted(connections.values()))
            await eventually(lambda: checked_servers() == [server.address])
        await eventually(lambda: checked_servers() == [])


async def test_streams_follow_their_connection(
    server: Server, own_server: Server, client: redis.asyncio.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trigger whose connection is created, or changes to another Redis, is then checked there."""
    monkeypatch.setattr("scaler.server.FILE_CHECK_SECONDS", 0.02)
    monkeypatch.setattr("scaler.push.subscribers.MIN_GAP_SECONDS", 0.01)
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", ())
    async with (
        running_scaler(connections_dir=tmp_path) as scaler,
        scaler.keda.activity(orders("cache")) as stream,
    ):
        await eventually(lambda: checked_servers() == ["no Redis"])
        (tmp_path / "cache").write_text(server.address)
        await eventually(lambda: checked_servers() == [server.address])
        await client.rpush("orders", "x")
        await eventually(lambda: stream.received == [True])
        await client.delete("orders")
        await eventually(lambda: _is_evaluated(scaler, active=False))
        (tmp_path / "cache").write_text(own_server.address)
        await eventually(lambda: checked_servers() == [own_server.address])
        with own_server.client() as other:
            other.rpush("orders", "x")
        await eventually(lambda: stream.received == [True, True])


async def _is_evaluated(scaler: RunningScaler, *, active: bool) -> bool:
    """Return whether the last check found the only trigger active or inactive, as given."""
    return set((await scaler.samples())["triggerfish_trigger_active"].values()) == {active}


@pytest.fixture
def polled() -> Iterator[tuple[Server, str]]:
    """A server, and a connection to it as a user who may not turn client tracking on."""
    with RELEASES["valkey-9.1"].start() as own, own.client() as admin:
        rule = ("on", ">secret", "~*", "&*", "+@all", "-client|tracking")
        admin.execute_command("ACL", "SETUSER", "poller", *rule)
        yield own, f"{own.address},user=poller,password=secret"


@pytest.mark.parametrize(
    ("metadata", "commands"),
    [
        ({"type": "redisListTrigger", "keys": "a"}, 4),
        ({"type": "redisListTrigger", "keys": "a b c"}, 12),
        ({"type": "redisStreamTrigger", "keys": "a b"}, 6),
    ],
)
async def test_the_cost_of_a_check(polled: tuple[Server, str], metadata: dict[str, str], commands: int) -> None:
    """The budget counts the same commands as Redis: those for each key, with MULTI and EXEC or in a script."""
    measured = read_metadata(metadata).measured
    assert measured is not None
    assert commands_per_sample(measured) == commands
    own, connection = polled
    async with (
        running_scaler(connection=connection) as scaler,
        redis.asyncio.Redis(port=own.port, protocol=2) as client,
    ):
        await scaler.keda.active(metadata)  # connects
        await client.config_resetstat()
        await asyncio.sleep(0.06)  # until the cached sample is stale
        await scaler.keda.active(metadata)
        assert await _measuring_commands(client) == commands


async def _measuring_commands(client: redis.asyncio.Redis) -> int:
    """Return how many measuring commands Redis has run since its statistics were reset."""
    stats = await client.info("commandstats")
    names = ("multi", "exec", "llen", "zcard", "evalsha_ro", "xlen", "xinfo|groups", "xinfo|stream", "xrange")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in names)


async def test_the_budget(polled: tuple[Server, str]) -> None:
    """With many polled triggers, Redis gets no more commands than allowed, and a metric reports the interval."""
    own, connection = polled
    settings = {"sampling_commands_per_second": 400, "push_interval_seconds": 0.02}
    async with (
        running_scaler(connection=connection, scaler=settings) as scaler,
        redis.asyncio.Redis(port=own.port, protocol=2) as client,
        contextlib.AsyncExitStack() as opened,
    ):
        for number in range(60):
            metadata = {"type": "redisListTrigger", "keys": f"orders-{number}"}
            await opened.enter_async_context(scaler.keda.activity(metadata))
        await eventually(lambda: _is_interval(scaler, 60 * 4 / 400))
        await eventually(lambda: _has_measured(client, 60 * 4))
        await client.config_resetstat()
        began = time.monotonic()
        await eventually(lambda: _has_measured(client, 600))
        assert time.monotonic() - began > 600 / 400 * 0.75


async def _has_measured(client: redis.asyncio.Redis, commands: int) -> bool:
    return await _measuring_commands(client) >= commands


async def interval(scaler: RunningScaler) -> dict[str, float]:
    """Return the push interval metric by connection."""
    series = (await scaler.samples()).get("triggerfish_push_interval_seconds", {})
    return {dict(labels)["connection"]: value for labels, value in series.items()}


async def _is_interval(scaler: RunningScaler, seconds: float) -> bool:
    """Return whether only the default connection has triggers, and these are checked at this interval."""
    return await interval(scaler) == {"": seconds}


@contextlib.asynccontextmanager
async def many_streams(scaler: RunningScaler, number: int, channels: int) -> AsyncIterator[Sequence[Stream]]:
    """Open streams over several connections, each for a different list."""
    async with contextlib.AsyncExitStack() as opened:
        kedas = [Keda(await opened.enter_async_context(channel_to(scaler.server, None))) for _ in range(channels)]
        streams = [
            await opened.enter_async_context(kedas[at % channels].activity(_list(at), name=f"worker-{at}"))
            for at in range(number)
        ]
        await asyncio.gather(*(stream.call.initial_metadata() for stream in streams))
        yield streams


async def _has_backlog(scaler: RunningScaler, entries: int) -> bool:
    return entries in (await scaler.samples())["triggerfish_trigger_backlog"].values()


def _list(at: int) -> dict[str, str]:
    return {"type": "redisListTrigger", "keys": f"orders-{at}"}


async def test_many_streams(server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of many streams over 5 connections gets one `true` soon after its key gets an entry, and nothing more."""
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", ())
    number = 1_000
    async with running_scaler(server) as scaler, many_streams(scaler, number, CHANNELS) as streams:
        assert not any(stream.received for stream in streams)
        async with client.pipeline(transaction=False) as pipeline:
            for at in range(number):
                pipeline.rpush(f"orders-{at}", "x")
            await pipeline.execute()
        await eventually(lambda: all(stream.received for stream in streams))
        await client.rpush("orders-0", "x")
        await eventually(lambda: _has_backlog(scaler, 2))
        assert Counter(tuple(stream.received) for stream in streams) == {(True,): number}
