"""What scenarios with several servers do to one of them, and ask it."""

import asyncio
import contextlib
from typing import Any

from redis import RedisError

from tests.chaos.scenario import client
from triggerfish.testing.server import Server

__all__ = ["IN_STEP_SECONDS", "LONGEST_AWAY_SECONDS", "ask", "kill", "kill_clients"]

#: A server that was killed is started again after at most so long, and is in step again within the other time.
LONGEST_AWAY_SECONDS = 1.0
IN_STEP_SECONDS = 30.0
TIMEOUT_SECONDS = 2.0


async def kill(server: Server) -> None:
    """SIGKILL a server and wait for its end."""
    server.process.kill()
    await asyncio.to_thread(server.process.wait)


async def kill_clients(port: int) -> None:
    """CLIENT KILL of all but subscribers, if the server answers."""
    with contextlib.suppress(RedisError, OSError):
        async with client(port, TIMEOUT_SECONDS) as admin:
            await admin.execute_command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "yes")


async def ask(server: Server, *command: str) -> Any:
    """The answer, or None if there is none in time."""
    try:
        async with client(server.port, TIMEOUT_SECONDS) as admin:
            return await admin.execute_command(*command)
    except (RedisError, OSError):
        return None
