"""Redis servers that fail in different ways do not affect the others."""

import asyncio
import contextlib
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import grpc
import pytest
import redis.asyncio
from grpc import StatusCode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.servers.catalogue import RELEASES
from tests.support.running_scaler import RunningScaler, failure, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server, free_port

LIST = {"type": "redisListTrigger", "keys": "orders"}
STREAM = {"type": "redisStreamTrigger", "keys": "payments"}
#: The settings' default. A call that waited for a failing Redis would take at least this long.
BOUND_SECONDS = 2.0
CONCURRENT = 100
#: Rounds are repeated until the healthy Redis was called this often, but at most MAX_ROUNDS times.
MIN_HEALTHY_CALLS = 20
MAX_ROUNDS = 6


def start() -> Server:
    """Start a server for one test."""
    return RELEASES["valkey-9.1"].start()


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """An address where nothing listens."""
    yield f"127.0.0.1:{free_port()}"


@contextlib.contextmanager
def hanging() -> Iterator[str]:
    """A suspended server: the kernel accepts connections, and nothing replies."""
    with start() as server:
        server.process.send_signal(signal.SIGSTOP)
        try:
            yield server.address
        finally:
            server.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """An address where connecting never ends: the accept queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        address: tuple[str, int] = listening.getsockname()
        with contextlib.ExitStack() as queue:
            for _ in range(3):
                waiting = queue.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(address)
            yield f"127.0.0.1:{address[1]}"


@contextlib.contextmanager
def denying() -> Iterator[str]:
    """A server whose ACL denies the user every command."""
    with start() as server:
        with server.client() as client:
            client.acl_setuser("denied", enabled=True, reset=True, passwords=["+hunter2"], keys=["*"])
        yield f"{server.address},user=denied,password=hunter2"


@contextlib.contextmanager
def wrong_password() -> Iterator[str]:
    """A server that rejects the user and password."""
    with start() as server:
        yield f"{server.address},user=unknown,password=hunter2"


@contextlib.asynccontextmanager
async def loading() -> AsyncIterator[str]:
    """A server that loads its data during the whole block, at 10 ms per key."""
    with start() as server:
        with server.client() as client:
            client.config_set("rdbcompression", "no")
            client.mset({f"key-{number}": "x" * 1024 for number in range(30_000)})  # it replies every 1,024 bytes
            client.save()
        server.process.kill()
        server.process.wait()
        slow_loading = ("--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")
        starting = asyncio.create_task(asyncio.to_thread(server.restart, *slow_loading))
        await eventually(lambda: _is_loading(server))
        yield server.address
        await eventually(lambda: _is_loading(server))  # still, or the test has shown nothing
        with server.client() as client:
            client.config_set("key-load-delay", 0)
        await starting


async def _is_loading(server: Server) -> bool:
    async with redis.asyncio.Redis(port=server.port, protocol=2, retry=Retry(NoBackoff(), 0)) as client:
        try:
            await client.ping()
        except redis.BusyLoadingError:
            return True
        except redis.RedisError:  # not listening yet
            pass
    return False


@dataclass
class Calls:
    """The outcomes of calls: how long each took, and how many ended with each status."""

    seconds: list[float] = field(default_factory=list)
    codes: Counter[StatusCode] = field(default_factory=Counter)

    def quantile(self, share: float) -> float:
        """Return the time within which this share of the calls ended."""
        return sorted(self.seconds)[int(len(self.seconds) * share) - 1]

    async def add(self, scaler: RunningScaler, connection: str, number: int) -> None:
        """Request a target or the activity, and record the outcome."""
        call = scaler.keda.target if number % 2 else scaler.keda.active
        metadata = {**(LIST if number % 3 else STREAM), "connection": connection}
        began = time.monotonic()
        try:
            await call(metadata, name=f"{connection}-{number}")
            self.codes[StatusCode.OK] += 1
        except grpc.aio.AioRpcError as error:
            self.codes[error.code()] += 1
        self.seconds.append(time.monotonic() - began)


async def test_failing_servers_do_not_affect_a_healthy_one() -> None:
    """A healthy Redis is measured quickly while six others refuse connections, hang, deny access or load. All calls for
    these end with UNAVAILABLE within the bound, with a hundred concurrent calls for each in several rounds.
    """
    kinds = {kind.__name__: kind for kind in (refusing, hanging, black_hole, denying, wrong_password)}
    async with contextlib.AsyncExitStack() as stack:
        connections = {name: stack.enter_context(kind()) for name, kind in kinds.items()}
        connections["loading"] = await stack.enter_async_context(loading())
        healthy = stack.enter_context(start())
        scaler = await stack.enter_async_context(
            running_scaler(
                connections={**connections, "healthy": healthy.address}, scaler={"bound_seconds": BOUND_SECONDS}
            )
        )
        failing_calls = {name: Calls() for name in connections}
        healthy_calls = Calls()
        polling = asyncio.create_task(poll_healthy(healthy_calls, scaler))
        rounds = 0
        # On a slow machine two rounds may end before there are enough calls for the healthy server.
        while rounds < 2 or (len(healthy_calls.seconds) <= MIN_HEALTHY_CALLS and rounds < MAX_ROUNDS):
            rounds += 1
            tasks = []
            for name, calls in failing_calls.items():
                tasks += [asyncio.create_task(calls.add(scaler, name, number)) for number in range(CONCURRENT)]
                await asyncio.sleep(0.1)  # all calls at once would take this process longer than the scaler
            await asyncio.gather(*tasks)
        polling.cancel()
        for name, calls in failing_calls.items():
            assert calls.codes == {StatusCode.UNAVAILABLE: rounds * CONCURRENT}, name
        assert set(healthy_calls.codes) == {StatusCode.OK}
        assert len(healthy_calls.seconds) > MIN_HEALTHY_CALLS
        assert healthy_calls.quantile(0.9) < BOUND_SECONDS, sorted(healthy_calls.seconds)[-20:]


async def poll_healthy(calls: Calls, scaler: RunningScaler) -> None:
    """Call the scaler for the healthy Redis until cancelled."""
    number = 0
    while True:
        number += 1
        await calls.add(scaler, "healthy", number)
        await asyncio.sleep(0.01)


async def test_a_failing_key_does_not_affect_the_others() -> None:
    """A key of another type or one that the ACL denies is UNAVAILABLE, and other keys of that server have values, when
    requested together and one by one.
    """
    with start() as server:
        with server.client() as client:
            client.set("text", "x")
            client.rpush("orders", "x")
            keys = [name for key in ("orders", "text") for name in (key, f"triggerfish:{{{key}}}:*")]
            client.acl_setuser("narrow", enabled=True, reset=True, passwords=["+pw"], commands=["+@all"], keys=keys)
        connections = {"narrow": f"{server.address},user=narrow,password=pw"}
        async with running_scaler(connections=connections) as scaler:
            metadata = {key: {**LIST, "keys": key, "connection": "narrow"} for key in ("text", "orders", "secret")}
            targets = await asyncio.gather(*map(scaler.keda.target, metadata.values()), return_exceptions=True)
            assert targets[1] == 1
            for _ in range(5):
                for key in ("text", "secret"):
                    with failure(StatusCode.UNAVAILABLE, key):
                        await scaler.keda.target(metadata[key])
                    assert await scaler.keda.target(metadata["orders"]) == 1


@dataclass
class ClosingServer:
    """A server that counts connections and closes each at once."""

    accepted: int = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve during the block. Yield the address."""
        listening = await asyncio.start_server(self._close, "127.0.0.1", 0)
        async with listening:
            yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"

    async def _close(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        writer.close()


async def test_a_redis_that_is_down_is_rarely_tried() -> None:
    """Of many requests for a Redis that is down only a few reach it. All fail at once, with the start of the outage and
    the time of the next attempt.
    """
    closing_server = ClosingServer()
    async with closing_server.serving() as address, running_scaler(connections={"down": address}) as scaler:
        metadata = {**LIST, "connection": "down"}
        with failure(StatusCode.UNAVAILABLE):
            await scaler.keda.target(metadata)
        calls = Calls()
        until = time.monotonic() + 2
        while time.monotonic() < until:
            await asyncio.gather(*(calls.add(scaler, "down", number) for number in range(CONCURRENT)))
        assert calls.codes.keys() == {StatusCode.UNAVAILABLE}
        assert len(calls.seconds) > 50 * closing_server.accepted
        # 0.25, 0.5, 1, 2 s, each at least half as long
        assert 2 <= closing_server.accepted <= 6
        with failure(StatusCode.UNAVAILABLE, "failing since 20", "UTC", "next attempt by"):
            await scaler.keda.target(metadata)


async def test_the_end_of_an_outage_is_noticed_soon(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an outage of any length Redis is tried within the longest pause, and the back-off then starts over."""
    monkeypatch.setattr("scaler.measuring.outage.FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr("scaler.measuring.outage.LAST_PAUSE_SECONDS", 0.8)
    async with running_scaler(own_server) as scaler:
        own_server.process.kill()
        own_server.process.wait()
        down_since = time.monotonic()
        await eventually(lambda: _has_failed_for(scaler, down_since, 3.0))
        own_server.restart()
        restarted = time.monotonic()
        await eventually(lambda: _has_value(scaler))
        assert time.monotonic() - restarted < 0.8 + 0.5
        own_server.process.kill()
        own_server.process.wait()
        await eventually(lambda: _has_failed_for(scaler, 0.0, 0.0))
        own_server.restart()
        restarted = time.monotonic()
        await eventually(lambda: _has_value(scaler))
        assert time.monotonic() - restarted < 0.5


async def _has_failed_for(scaler: RunningScaler, since: float, seconds: float) -> bool:
    return not await _has_value(scaler) and time.monotonic() - since > seconds


async def _has_value(scaler: RunningScaler) -> bool:
    try:
        await scaler.keda.target(LIST)
    except grpc.aio.AioRpcError:
        return False
    return True


async def test_a_redis_has_few_connections(own_server: Server) -> None:
    """However many triggers are measured concurrently, of whatever kind, there are two connections for it."""
    metadata = [{"type": "redisListTrigger", "keys": f"list-{number}"} for number in range(CONCURRENT)]
    metadata += [{"type": "redisStreamTrigger", "keys": f"stream-{number}"} for number in range(CONCURRENT)]
    with own_server.client() as client:
        for number in range(CONCURRENT):
            client.xadd(f"stream-{number}", {"a": "b"})
        async with running_scaler(own_server) as scaler:
            for _ in range(5):
                await asyncio.gather(*(scaler.keda.target(each) for each in metadata))
            names = [each["name"] for each in client.client_list()]
    assert 1 <= names.count("triggerfish:scaler") <= 2
    assert names.count("triggerfish:scaler:tracking") == 1
