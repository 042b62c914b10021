"""Redises that do not answer, in every way there is, and what they cost the others: nothing."""

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
from tests.support.running_scaler import Running, failure, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server, free_port

LIST = {"type": "redisListTrigger", "keys": "orders"}
STREAM = {"type": "redisStreamTrigger", "keys": "payments"}
#: The settings' default, and with what a busy machine may add.
BOUND_SECONDS = 2.0
PATIENCE_SECONDS = 2 * BOUND_SECONDS
TOGETHER = 100
#: So many calls to the Redis that is well are asked for, as far as so many rounds bring them.
ENOUGH = 100
MAX_ROUNDS = 6


def start() -> Server:
    """A server of this file's own."""
    return RELEASES["valkey-9.1"].start()


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """Nothing listens there."""
    yield f"127.0.0.1:{free_port()}"


@contextlib.contextmanager
def hanging() -> Iterator[str]:
    """A server that is suspended: the kernel accepts, nobody answers."""
    with start() as server:
        server.process.send_signal(signal.SIGSTOP)
        try:
            yield server.address
        finally:
            server.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """Connecting never ends: the queue of a socket that nobody accepts from is full."""
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
    """A server that refuses every command of its user."""
    with start() as server:
        with server.client() as client:
            client.acl_setuser("nobody", enabled=True, reset=True, passwords=["+hunter2"], keys=["*"])
        yield f"{server.address},user=nobody,password=hunter2"


@contextlib.contextmanager
def wrong_password() -> Iterator[str]:
    """A server that does not let us in."""
    with start() as server:
        yield f"{server.address},user=nobody,password=hunter2"


@contextlib.asynccontextmanager
async def loading() -> AsyncIterator[str]:
    """A server that loads its data all the while: each key takes it 10 ms."""
    with start() as server:
        with server.client() as client:
            client.config_set("rdbcompression", "no")
            client.mset({f"key-{number}": "x" * 1024 for number in range(500)})  # it answers at each 1,024 bytes
            client.save()
        server.process.kill()
        server.process.wait()
        slowly = ("--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")
        starting = asyncio.create_task(asyncio.to_thread(server.restart, *slowly))
        await eventually(lambda: _is_loading(server))
        yield server.address
        assert await _is_loading(server), "it was ready too soon to be a test"
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
    """What became of calls: how long each took, and how many ended with which status."""

    seconds: list[float] = field(default_factory=list)
    codes: Counter[StatusCode] = field(default_factory=Counter)

    def slowest_of(self, share: float) -> float:
        """So long or less took this share of the calls."""
        return sorted(self.seconds)[int(len(self.seconds) * share) - 1]

    async def add(self, scaler: Running, connection: str, number: int) -> None:
        """Ask for a value or the activity."""
        ask = scaler.keda.target if number % 2 else scaler.keda.active
        metadata = {**(LIST if number % 3 else STREAM), "connection": connection}
        began = time.monotonic()
        try:
            await ask(metadata, name=f"{connection}-{number}")
            self.codes[StatusCode.OK] += 1
        except grpc.aio.AioRpcError as error:
            self.codes[error.code()] += 1
        self.seconds.append(time.monotonic() - began)


async def test_sick_redises_cost_the_others_nothing() -> None:
    """F17: a Redis answers in milliseconds while six others refuse, hang, swallow, deny and load; each of a hundred
    calls to each of these is UNAVAILABLE within the bound, in every one of several rounds.
    """
    kinds = {kind.__name__: kind for kind in (refusing, hanging, black_hole, denying, wrong_password)}
    async with contextlib.AsyncExitStack() as stack:
        connections = {name: stack.enter_context(kind()) for name, kind in kinds.items()}
        connections["loading"] = await stack.enter_async_context(loading())
        well = stack.enter_context(start())
        scaler = await stack.enter_async_context(
            running_scaler(connections={**connections, "well": well.address}, scaler={"bound_seconds": BOUND_SECONDS})
        )
        sick = {name: Calls() for name in connections}
        healthy = Calls()
        polling = asyncio.create_task(poll_on(healthy, scaler))
        rounds = 0
        # On a slow machine two rounds are over before there are enough calls to the one that is well.
        while rounds < 2 or (len(healthy.seconds) <= ENOUGH and rounds < MAX_ROUNDS):
            rounds += 1
            asking = []
            for name, calls in sick.items():
                asking += [asyncio.create_task(calls.add(scaler, name, number)) for number in range(TOGETHER)]
                await asyncio.sleep(0.1)  # so many calls at one time take this process longer than the scaler
            await asyncio.gather(*asking)
        polling.cancel()
        for name, calls in sick.items():
            assert calls.codes == {StatusCode.UNAVAILABLE: rounds * TOGETHER}, name
            assert max(calls.seconds) < PATIENCE_SECONDS, name
        assert set(healthy.codes) == {StatusCode.OK}
        assert len(healthy.seconds) > ENOUGH
        assert healthy.slowest_of(0.99) < BOUND_SECONDS / 4, sorted(healthy.seconds)[-20:]


async def poll_on(calls: Calls, scaler: Running) -> None:
    """Ask about the Redis that is well, again and again."""
    number = 0
    while True:
        number += 1
        await calls.add(scaler, "well", number)
        await asyncio.sleep(0.01)


async def test_a_sick_key_costs_the_others_nothing() -> None:
    """F17: keys of another type and keys that the ACL denies are UNAVAILABLE, and those beside them have values, asked
    about together and one by one.
    """
    with start() as server:
        with server.client() as client:
            client.set("text", "x")
            client.rpush("orders", "x")
            keys = [name for key in ("orders", "text") for name in (key, f"triggerfish:{{{key}}}:*")]
            client.acl_setuser("narrow", enabled=True, reset=True, passwords=["+pw"], commands=["+@all"], keys=keys)
        connections = {"narrow": f"{server.address},user=narrow,password=pw"}
        async with running_scaler(connections=connections) as scaler:
            ask = {key: {**LIST, "keys": key, "connection": "narrow"} for key in ("text", "orders", "secret")}
            answers = await asyncio.gather(*map(scaler.keda.target, ask.values()), return_exceptions=True)
            assert answers[1] == 1
            for _ in range(5):
                for key in ("text", "secret"):
                    with failure(StatusCode.UNAVAILABLE, key):
                        await scaler.keda.target(ask[key])
                    assert await scaler.keda.target(ask["orders"]) == 1


@dataclass
class Doorman:
    """Something that listens like a Redis, counts who comes, and shows them out."""

    came: int = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Its address."""
        listening = await asyncio.start_server(self._show_out, "127.0.0.1", 0)
        async with listening:
            yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"

    async def _show_out(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        writer.close()


async def test_a_redis_that_is_down_is_let_alone() -> None:
    """Of many questions about a Redis that is down only a few get through, and all are answered at once, with since
    when and until when it is let alone.
    """
    doorman = Doorman()
    async with doorman.serving() as address, running_scaler(connections={"down": address}) as scaler:
        metadata = {**LIST, "connection": "down"}
        with failure(StatusCode.UNAVAILABLE):
            await scaler.keda.target(metadata)
        calls = Calls()
        until = time.monotonic() + 2
        while time.monotonic() < until:
            await asyncio.gather(*(calls.add(scaler, "down", number) for number in range(TOGETHER)))
        assert calls.codes.keys() == {StatusCode.UNAVAILABLE}
        assert len(calls.seconds) > 50 * doorman.came
        assert max(calls.seconds) < BOUND_SECONDS / 2
        # 0.25, 0.5, 1, 2 s, each at least half as long
        assert 2 <= doorman.came <= 6
        with failure(StatusCode.UNAVAILABLE, "since 20", "UTC", "asked again by"):
            await scaler.keda.target(metadata)


async def test_an_outage_is_over_soon(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long Redis was down, it is asked again within the longest pause; and then the pauses begin anew."""
    monkeypatch.setattr("scaler.measuring.outage.FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr("scaler.measuring.outage.LAST_PAUSE_SECONDS", 0.8)
    async with running_scaler(own_server) as scaler:
        own_server.process.kill()
        own_server.process.wait()
        down_since = time.monotonic()
        await eventually(lambda: _was_down_for(scaler, down_since, 3.0))
        own_server.restart()
        restarted = time.monotonic()
        await eventually(lambda: _answers(scaler))
        assert time.monotonic() - restarted < 0.8 + 0.5
        own_server.process.kill()
        own_server.process.wait()
        await eventually(lambda: _was_down_for(scaler, 0.0, 0.0))
        own_server.restart()
        restarted = time.monotonic()
        await eventually(lambda: _answers(scaler))
        assert time.monotonic() - restarted < 0.5


async def _was_down_for(scaler: Running, since: float, seconds: float) -> bool:
    return not await _answers(scaler) and time.monotonic() - since > seconds


async def _answers(scaler: Running) -> bool:
    try:
        await scaler.keda.target(LIST)
    except grpc.aio.AioRpcError:
        return False
    return True
