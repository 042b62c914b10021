"""Try whether Redis reports changes of a trigger's keys, so that the scaler need not poll it."""

import asyncio

from listeners.errors import AccessDeniedError, CommandRefusedError, SourceError
from listeners.functions.triggers import ListTrigger, StreamTrigger
from listeners.keys import probe_key
from listeners.redis.client import Client
from listeners.redis.error_translation import translate
from listeners.redis.server_info import ServerInfo
from listeners.tracking.connection import WatchConnection
from listeners.tracking.node import HELLO

__all__ = ["how_watched"]

ANSWER_SECONDS = 5.0
REPORTED = "changes are reported (client tracking)"


async def how_watched(client: Client, server: ServerInfo, trigger: ListTrigger | StreamTrigger, *, write: bool) -> str:
    """Return how the scaler will notice changes of a trigger's first key: REPORTED, or that it polls, and why.

    With `write`, the server has to report a change of a key made for it.
    """
    if not server.supports(6):
        return f"the scaler polls it: {server} has no client tracking"
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await _try(client, trigger.keys[0], write=write)
    except SourceError as error:
        return f"the scaler polls it: {error}"
    except TimeoutError:
        return f"the scaler polls it: no reply within {ANSWER_SECONDS:g} s"


async def _try(client: Client, key: str, *, write: bool) -> str:
    told: list[str | None] = []
    redis = client.watch_connection(client.primary_of(key))
    connection = WatchConnection(redis, ANSWER_SECONDS, told.append, on_end=lambda _: None)
    try:
        await connection.open()
        probe = probe_key(key)
        for reply in await connection.ask([("EXISTS", key), ("EXISTS", probe)]):
            if isinstance(reply, Exception):
                raise translate(reply, "EXISTS")
        if write and await _make_and_remove(client, probe):
            await connection.ask([HELLO])  # what the server reports comes before this reply
            if probe not in told:
                return "the scaler polls it: Redis accepted client tracking, and did not report a change"
        return REPORTED
    finally:
        await connection.close()


async def _make_and_remove(client: Client, key: str) -> bool:
    """Change a key, and leave nothing. Return whether the user may."""
    try:
        await client.transaction(key, [("SET", key, "1"), ("PEXPIRE", key, "0")], doing="SET")
    except (AccessDeniedError, CommandRefusedError):
        return False
    return True
