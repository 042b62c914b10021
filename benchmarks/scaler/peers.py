"""What KEDA itself does for as many ScaledObjects without an external scaler.

The same commands as KEDA's redis scalers send (`pkg/scalers/redis_scaler.go`, and `redis_streams_scaler.go` with
`lagCount`), written by hand: for a list a script that looks at the key's type and takes its length; for a stream INFO,
to learn the version, and XINFO GROUPS. Each command is a round trip of its own; one poll serves metric and activity.
KEDA has a client for each ScaledObject, and so more connections than this.
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
    """Poll each of them once, so many at a time."""
    left = iter(objects)
    await asyncio.gather(*(_poll_some(client, left) for _ in range(in_flight)))


async def _poll_some(client: redis.asyncio.Redis, left: Iterator[ScaledObject]) -> None:
    for one in left:
        if one.is_list:
            await client.execute_command("EVAL", LENGTH, 1, one.key)
        else:
            await client.execute_command("INFO")
            await client.execute_command("XINFO GROUPS", one.key)
