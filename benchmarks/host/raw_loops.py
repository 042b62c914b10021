"""The baseline of `benchmarks.host.latency`: hand-written blocking loops with redis-py, run as a process."""

import asyncio
import sys
from typing import Any

import redis.asyncio

from benchmarks.host.latency_app import report

GROUP = "raw"


async def lists(client: redis.asyncio.Redis) -> None:
    """Read with BLPOP: at most once, so less work than Triggerfish does."""
    while True:
        element = await client.execute_command("BLPOP", "latency:list", 0)
        report(element[1].decode())


async def streams(client: redis.asyncio.Redis) -> None:
    """Read with XREADGROUP, XACK and XDEL."""
    await client.xgroup_create("latency:stream", GROUP, mkstream=True)
    while True:
        reply: Any = await client.xreadgroup(GROUP, "raw", {"latency:stream": ">"}, block=0)
        for _, entries in reply:
            for entry_id, fields in entries:
                report(fields[b"sent"].decode())
                await client.xack("latency:stream", GROUP, entry_id)
                await client.xdel("latency:stream", entry_id)


async def pubsub(client: redis.asyncio.Redis) -> None:
    """Read with SUBSCRIBE."""
    subscription = client.pubsub()
    await subscription.subscribe("latency:channel")
    async for message in subscription.listen():
        if message["type"] == "message":
            report(message["data"].decode())


async def main(port: int) -> None:
    """Run all three loops concurrently until the process is killed."""
    async with redis.asyncio.Redis(port=port, protocol=2, socket_timeout=None) as client:
        await asyncio.gather(lists(client), streams(client), pubsub(client))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
