"""Connections that all callers share, with real servers and links that fail."""

import asyncio
import contextlib
import math
import random
import signal
import time
from collections.abc import AsyncIterator, Callable

import hiredis
import pytest
import redis.asyncio
import uvloop

from listeners.connections.strings import parse_connection_string
from listeners.errors import SourceError, SourceTimeoutError, SourceUnavailableError
from listeners.redis.client import SHARED_CONNECTIONS, Client
from listeners.redis.pipeline import MAX_CALLS, Pipeline
from listeners.redis.scripts import load_script
from tests.support.network.forwarding import forwarding
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

LIMIT_SECONDS = 0.2

pytestmark = pytest.mark.releases("valkey-9.1")


@contextlib.asynccontextmanager
async def connected(address: str, timeout_seconds: float = 5.0) -> AsyncIterator[Client]:
    """A client of its own."""
    ours = Client(parse_connection_string(address), "shared", timeout_seconds=timeout_seconds)
    try:
        yield ours
    finally:
        await ours.aclose()


async def echo(ours: Client, text: str) -> bytes:
    """Return what the server answers to ECHO."""
    reply: bytes = await ours.command(None, "ECHO", text, doing="echo")
    return reply


async def connections(client: redis.asyncio.Redis) -> list[str]:
    """Return the IDs of the connections of connected()."""
    return [row["id"] for row in await client.client_list() if row["name"] == "shared"]


async def test_callers_share_connections(server: Server, client: redis.asyncio.Redis) -> None:
    """However many calls there are at once, each gets its own answer, over a bounded number of connections."""
    async with connected(server.address) as ours:
        for _ in range(3):
            texts = [str(number) for number in range(3 * MAX_CALLS)]
            assert await asyncio.gather(*(echo(ours, text) for text in texts)) == [text.encode() for text in texts]
        assert 1 < len(await connections(client)) <= SHARED_CONNECTIONS
    await eventually(lambda: _none(client))


async def test_transactions_of_several_callers(server: Server) -> None:
    """Commands of one call are executed together, and each caller gets the answers to its own."""
    async with connected(server.address) as ours:

        async def both(name: str) -> list[int]:
            return await ours.transaction(name, [("INCR", name), ("INCR", name)], doing="counting")

        for round_ in range(3):
            counts = await asyncio.gather(*(both(f"n{number}") for number in range(100)))
            assert counts == [[2 * round_ + 1, 2 * round_ + 2]] * 100


async def test_a_cancelled_call_shifts_no_answers(server: Server, client: redis.asyncio.Redis) -> None:
    """The answer to a call whose task was cancelled is dropped, and the connection stays."""
    async with connected(server.address) as ours:
        await echo(ours, "first")
        before = await connections(client)
        busy = asyncio.create_task(ours.command("k", "EVAL", "for _ = 1, 1000000 do end", 0, doing="being busy"))
        calls = [asyncio.create_task(echo(ours, str(number))) for number in range(20)]
        await asyncio.sleep(0)
        for call in (busy, *calls[::2]):
            call.cancel()
        answers = await asyncio.gather(*calls[1::2])
        assert answers == [str(number).encode() for number in range(1, 20, 2)]
        assert set(before) <= set(await connections(client))


async def test_a_reply_that_arrives_at_the_deadline(server: Server) -> None:
    """When a blocked loop finds both the reply and the deadline, the next call is not affected."""
    async with connected(server.address, LIMIT_SECONDS) as ours:
        for number in range(1, 4):
            first = asyncio.create_task(ours.command("n", "PING", doing="first"))
            await asyncio.sleep(0)  # it has been sent
            time.sleep(2 * LIMIT_SECONDS)  # noqa: ASYNC251  (like a function that blocks the loop)
            await asyncio.wait([first], timeout=5)
            assert isinstance(first.exception(), SourceTimeoutError) or first.result() == b"PONG"
            assert await ours.command("n", "INCR", "n", doing="counting") == number


async def test_a_server_that_hangs(server: Server) -> None:
    """All outstanding calls fail, however many there are; each later call gets its own answer."""
    async with connected(server.address, LIMIT_SECONDS) as ours:
        await echo(ours, "first")
        server.process.send_signal(signal.SIGSTOP)
        try:
            calls = [asyncio.create_task(echo(ours, str(number))) for number in range(3 * MAX_CALLS)]
            done, pending = await asyncio.wait(calls, timeout=30)
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert not pending
        assert {type(call.exception()) for call in done} <= {SourceTimeoutError, SourceUnavailableError}
        assert any(isinstance(call.exception(), SourceTimeoutError) for call in done)
        assert await echo(ours, "mine") == b"mine"


async def test_a_former_primary(server: Server, client: redis.asyncio.Redis) -> None:
    """A connection to a server that has become a replica is replaced, as its address may lead to another by now."""
    async with connected(server.address) as ours:
        await ours.command("k", "SET", "k", "v", doing="setting")
        before = await connections(client)
        await client.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(SourceError):
            await ours.command("k", "SET", "k", "v", doing="setting")
        await client.execute_command("REPLICAOF", "NO", "ONE")
        await ours.command("k", "SET", "k", "v", doing="setting")
        assert not set(before) & set(await connections(client))


async def test_a_lost_script_cache(server: Server, client: redis.asyncio.Redis) -> None:
    """A refused command of one caller changes nothing for the others."""
    script = load_script("listeners.leases", "acquire")
    async with connected(server.address) as ours:
        for _ in range(3):
            await client.script_flush()
            scripted = [
                ours.run_script(script, [f"k{number}", f"l{number}"], ["a", 1000], doing="x") for number in range(9)
            ]
            echoed = [echo(ours, str(number)) for number in range(9)]
            results = await asyncio.gather(*scripted, *echoed, return_exceptions=True)
            assert results[9:] == [str(number).encode() for number in range(9)]


@contextlib.asynccontextmanager
async def fake_server(*replies: bytes) -> AsyncIterator[str]:
    """A server that answers each connection's requests with these replies, one for each chunk that it receives."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            if not await reader.read(65536):
                break
            writer.write(reply)
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+one\r\n+two\r\n", b"*1\r\n$-7\r\n"])
async def test_garbage(garbage: bytes) -> None:
    """What is no reply, or answers no call, closes the connection: the next answer could be another call's."""
    async with fake_server(b"+OK\r\n", garbage, b"+late\r\n") as address, connected(address, 1.0) as ours:
        results = [await _outcome(ours) for _ in range(2)]
    assert b"two" not in results
    assert any(isinstance(result, SourceError) for result in results), results


async def _outcome(ours: Client) -> object:
    try:
        return await ours.command(None, "PING", doing="pinging")
    except SourceError as error:
        return error


class UnreliableWay:
    """Passes on at most some bytes of a connection, in small parts, some of them late."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.cuts = 0

    async def __call__(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        """Pass on until the connection is to be cut."""
        left = self._random.randrange(200, 5_000)
        while data := await source.read(self._random.randrange(1, 300)):
            if self._random.random() < 0.05:
                await asyncio.sleep(self._random.random() * 0.01)  # how late the link is
            to.write(data[:left])
            left -= len(data)
            if left <= 0:
                self.cuts += 1
                return


async def test_a_link_that_delays_and_cuts(server: Server) -> None:
    """Whatever is cut where, an answer is never another call's."""
    way = UnreliableWay(seed=7)
    wrong: list[tuple[str, bytes]] = []
    answered = 0

    async def call_often(ours: Client, name: str) -> None:
        nonlocal answered
        for number in range(100):
            text = f"{name} {number} {'x' * (number % 50)}"
            with contextlib.suppress(SourceError):
                reply = await echo(ours, text)
                answered += 1
                if reply != text.encode():
                    wrong.append((text, reply))

    async with forwarding(server.port, requests=way, replies=way) as address, connected(address) as ours:
        await asyncio.gather(*(call_often(ours, f"caller {number}") for number in range(20)))
    assert wrong == []
    assert way.cuts > 5
    assert answered > 100


@contextlib.asynccontextmanager
async def slow_link(server: Server, *, stops_after: float = math.inf) -> AsyncIterator[str]:
    """Forward to the server over a link that passes few bytes at a time; yields its address."""

    async def pass_slowly(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        passed = 0
        while passed < stops_after and (data := await source.read(200)):
            to.write(data)
            await to.drain()
            passed += len(data)
            await asyncio.sleep(LIMIT_SECONDS / 4)  # how slow the link is
        await asyncio.Event().wait()  # until the client gives up

    async with forwarding(server.port, replies=pass_slowly) as address:
        yield address


async def test_a_reply_that_arrives_slowly(server: Server, client: redis.asyncio.Redis) -> None:
    """A reply takes longer than the limit over a slow link; while its bytes arrive, it is awaited."""
    await client.set("long", b"x" * 3_000)
    async with slow_link(server) as address, connected(address, LIMIT_SECONDS) as ours:
        began = time.monotonic()
        assert await ours.command("long", "GET", "long", doing="reading") == b"x" * 3_000
        assert time.monotonic() - began > LIMIT_SECONDS


async def test_an_array_that_arrives_element_by_element(server: Server, client: redis.asyncio.Redis) -> None:
    """A reply in many reads, each of which ends between two elements, stays one reply."""
    elements = [b"%03d" % number for number in range(60)]
    await client.rpush("list", *elements)

    async def by_element(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        while line := await source.readline():
            to.write(line if line[:1] != b"$" else line + await source.readline())
            await to.drain()
            await asyncio.sleep(0.001)  # so that each element is a read of its own

    async with forwarding(server.port, replies=by_element) as address, connected(address) as ours:
        for _ in range(2):
            calls = [ours.command("list", "LRANGE", "list", 0, -1, doing="reading") for _ in range(3)]
            assert await asyncio.gather(*calls) == [elements] * 3


async def test_a_reply_that_stops_arriving(server: Server, client: redis.asyncio.Redis) -> None:
    """A reply of which nothing more arrives is awaited no longer than the limit."""
    await client.set("long", b"x" * 3_000_000)
    async with slow_link(server, stops_after=2_000) as address, connected(address, LIMIT_SECONDS) as ours:
        with pytest.raises(SourceTimeoutError):
            await ours.command("long", "GET", "long", doing="reading")


async def _none(client: redis.asyncio.Redis) -> bool:
    return not await connections(client)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_lost_right_after_its_handshake(
    server: Server, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """A connection that is lost before it is shared fails its calls as any lost connection, and is released."""

    async def lose_it() -> None:
        async with connected(server.address) as ours, redis.asyncio.Redis(port=server.port, protocol=2) as other:
            connection = ours.watch_connection(None)
            await connection.connect()
            await other.client_kill_filter(_id=(await _client_id(other)))
            await eventually(lambda: connection.has_ended)
            closed: list[Exception] = []
            pipeline = Pipeline(connection, LIMIT_SECONDS, closed.append)
            with pytest.raises(redis.ConnectionError, match="connection"):
                await pipeline.send(hiredis.pack_command(("PING",)), 1)
            await eventually(lambda: bool(closed))
            assert not pipeline.is_open
            assert len(closed) == 1

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(lose_it())


async def _client_id(client: redis.asyncio.Redis) -> str:
    """Return the ID of the connection that speaks RESP3."""
    [found] = [row["id"] for row in await client.client_list() if row["name"] == "shared:tracking"]
    return str(found)
