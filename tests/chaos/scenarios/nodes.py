"""Faults and queries of single servers, for scenarios with several servers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis import RedisError

from tests.chaos.scenarios.scenario import client
from triggerfish.testing.server import Server

__all__ = ["LAG_SECONDS", "MAX_DOWN_SECONDS", "SYNC_SECONDS", "cut_off", "kill", "kill_clients", "query"]

#: Longest time before a killed server is restarted.
MAX_DOWN_SECONDS = 1.0
#: Longest time until all servers are in sync again.
SYNC_SECONDS = 30.0
#: How long a replica lags before it takes over. Less than a lease, so that it misses one call of a suspect at most.
LAG_SECONDS = (0.5, 2.0)
TIMEOUT_SECONDS = 2.0


async def kill(server: Server) -> None:
    """Send SIGKILL to a server and wait until it has ended."""
    server.process.kill()
    await asyncio.to_thread(server.process.wait)


async def kill_clients(port: int) -> None:
    """Disconnect all clients but subscribers (CLIENT KILL), if the server responds."""
    with contextlib.suppress(RedisError, OSError):
        async with client(port, TIMEOUT_SECONDS) as admin:
            await admin.execute_command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "yes")


@asynccontextmanager
async def cut_off(replica: Server) -> AsyncIterator[None]:
    """Let a replica receive nothing from its primary during the block: it has a password, which no primary has."""
    await query(replica, "CONFIG", "SET", "masterauth", "wrong")
    try:
        await query(replica, "CLIENT", "KILL", "TYPE", "MASTER")
        yield
    finally:
        await query(replica, "CONFIG", "SET", "masterauth", "")


async def query(server: Server, *command: str) -> Any:
    """Return the server's reply, or None if there is none within TIMEOUT_SECONDS."""
    try:
        async with client(server.port, TIMEOUT_SECONDS) as admin:
            return await admin.execute_command(*command)
    except (RedisError, OSError):
        return None
