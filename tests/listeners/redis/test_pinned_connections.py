"""Pinned connections, with a real server."""

import asyncio
import functools
import time

import pytest
import redis.asyncio

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


async def _is_blocked(client: redis.asyncio.Redis) -> bool:
    """Return whether a client waits in a blocking command."""
    return bool((await client.info("clients"))["blocked_clients"])
