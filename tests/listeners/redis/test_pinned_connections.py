"""Pinned connections, with a real server."""

import asyncio
import contextlib
import functools
import math
import time
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from listeners.connections.strings import parse_connection_string
from listeners.errors import SourceTimeoutError
from listeners.redis.client import Client
from listeners.redis.pinned_connections import PinnedConnections
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

LIMIT_SECONDS = 0.2

pytestmark = pytest.mark.releases("valkey-9.1")


async def test_a_reply_that_arrives_at_the_deadline(server: Server) -> None:
    """When a blocked loop finds both the reply and the deadline, the next command is not affected."""
    pinned, pool = PinnedConnections(LIMIT_SECONDS), redis.asyncio.ConnectionPool(port=server.port, protocol=2)
    assert await pinned.run(pool, [("DEL", "n")]) == [0]
    for number in range(1, 4):
        first = asyncio.create_task(pinned.run(pool, [("PING",)]))
        await asyncio.sleep(0)  # it has been sent
        time.sleep(2 * LIMIT_SECONDS)  # noqa: ASYNC251  (like a function that blocks the loop)
        await asyncio.wait([first], timeout=5)
        assert isinstance(first.exception(), TimeoutError) or first.result() == [b"PONG"]
        assert await pinned.run(pool, [("INCR", "n")]) == [number]
    await pinned.release_all()
    await pool.disconnect()


async def test_a_command_that_times_out(server: Server) -> None:
    """It raises TimeoutError and the connection is closed, so no later command reads the late reply."""
    pinned, pool = PinnedConnections(LIMIT_SECONDS), redis.asyncio.ConnectionPool(port=server.port, protocol=2)
    with pytest.raises(TimeoutError, match=r"no answer within 0\.2 s"):
        await pinned.run(pool, [("BLPOP", "nothing here", 2)])
    assert await pinned.run(pool, [("ECHO", "mine")]) == [b"mine"]
    await pinned.release_all()
    await pool.disconnect()


async def test_a_command_whose_task_is_cancelled(server: Server, client: redis.asyncio.Redis) -> None:
    """The task is cancelled, and the connection is not reused."""
    pinned, pool = PinnedConnections(60), redis.asyncio.ConnectionPool(port=server.port, protocol=2)
    waiting = asyncio.create_task(pinned.run(pool, [("BLPOP", "nothing here", 2)]))
    await eventually(functools.partial(_is_blocked, client))
    waiting.cancel()
    await asyncio.wait([waiting], timeout=5)
    assert waiting.cancelled()
    assert await pinned.run(pool, [("ECHO", "mine")]) == [b"mine"]
    await pinned.release_all()
    await pool.disconnect()


@contextlib.asynccontextmanager
async def slow_link(server: Server, *, stops_after: float = math.inf) -> AsyncIterator[int]:
    """Forward to the server over a link that passes few bytes at a time; yields its port."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", server.port)

        async def pass_requests() -> None:
            while data := await reader.read(65536):
                upstream_writer.write(data)

        requests = asyncio.create_task(pass_requests())
        passed = 0
        with contextlib.suppress(ConnectionError):
            while passed < stops_after and (data := await upstream_reader.read(200)):
                writer.write(data)
                await writer.drain()
                passed += len(data)
                await asyncio.sleep(LIMIT_SECONDS / 4)  # how slow the link is
        await requests  # until the client gives up
        upstream_writer.close()
        writer.close()

    listening = await asyncio.start_server(forward, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def test_a_reply_that_arrives_slowly(server: Server, client: redis.asyncio.Redis) -> None:
    """A reply takes longer than the limit over a slow link; while its bytes arrive, it is awaited."""
    await client.set("long", b"x" * 3_000)
    async with slow_link(server) as port:
        ours = Client(parse_connection_string(f"127.0.0.1:{port}"), "test", timeout_seconds=LIMIT_SECONDS)
        began = time.monotonic()
        assert await ours.command("long", "GET", "long", doing="reading") == b"x" * 3_000
        assert time.monotonic() - began > LIMIT_SECONDS
        await ours.aclose()


async def test_a_reply_that_stops_arriving(server: Server, client: redis.asyncio.Redis) -> None:
    """A reply of which nothing more arrives is awaited no longer than the limit."""
    await client.set("long", b"x" * 3_000_000)
    async with slow_link(server, stops_after=2_000) as port:
        ours = Client(parse_connection_string(f"127.0.0.1:{port}"), "test", timeout_seconds=LIMIT_SECONDS)
        with pytest.raises(SourceTimeoutError):
            await ours.command("long", "GET", "long", doing="reading")
        await ours.aclose()


async def _is_blocked(client: redis.asyncio.Redis) -> bool:
    """Return whether a client waits in a blocking command."""
    return bool((await client.info("clients"))["blocked_clients"])
