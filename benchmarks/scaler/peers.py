"""Simulates KEDA's own redis scalers, which need no external scaler.

Sends the same commands as `pkg/scalers/redis_scaler.go`, and as `redis_streams_scaler.go` with `lagCount`: for a list,
a script that checks the key's type and returns its length; for a stream, INFO for the version, and XINFO GROUPS. Each
command is a separate round trip. One poll serves both metric and activity. KEDA has a client for each ScaledObject, so
it has more connections than this.
"""

import asyncio
from collections.abc import Iterable, Iterator

import redis.asyncio

from benchmarks.scaler.scaled_objects import ScaledObject

__all__ = ["poll_as_keda_does"]

LENGTH = """
local kind = redis.call('type', KEYS[1]).ok
local commands = {list = 'llen', none = 'llen', set = 'scard', zset = 'zcard', hash = 'hlen'}
return redis.call(commands[kind], KEYS[1])
"""


async def poll_as_keda_does(client: redis.asyncio.Redis, objects: Iterable[ScaledObject], in_flight: int) -> None:
    """Poll each ScaledObject once, `in_flight` concurrently."""
    remaining = iter(objects)
    await asyncio.gather(*(_poll_some(client, remaining) for _ in range(in_flight)))


async def _poll_some(client: redis.asyncio.Redis, remaining: Iterator[ScaledObject]) -> None:
    for one in remaining:
        if one.is_list:
            await client.execute_command("EVAL", LENGTH, 1, one.key)
        else:
            await client.execute_command("INFO")
            await client.execute_command("XINFO GROUPS", one.key)
