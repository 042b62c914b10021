"""Measures the latency of a bare client with client tracking: from LPUSH to the report that it reads."""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

import hiredis
import redis.asyncio

__all__ = ["bare_latencies"]

#: Keys that are armed in one round trip.
CHUNK = 500
#: The pause between two samples is random, up to this time.
MAX_PAUSE_SECONDS = 0.05
ANSWER_SECONDS = 15.0
READ_BYTES = 65_536


async def bare_latencies(port: int, client: redis.asyncio.Redis, keys: Sequence[str], samples: int) -> list[float]:
    """Return the latencies in ms of `samples` changes of keys, while all `keys` are armed and do not exist."""
    stream, writer = await asyncio.open_connection("127.0.0.1", port)
    parser = hiredis.Reader()

    async def read() -> object:
        async with asyncio.timeout(ANSWER_SECONDS):
            while (reply := parser.gets()) is False:
                parser.feed(await stream.read(READ_BYTES))
        return reply

    async def ask(commands: Sequence[tuple[Any, ...]]) -> None:
        writer.write(b"".join([hiredis.pack_command(command) for command in commands]))
        for _ in commands:
            await read()

    try:
        await ask([("HELLO", "3"), ("CLIENT", "TRACKING", "ON")])
        for start in range(0, len(keys), CHUNK):
            await ask([("EXISTS", key) for key in keys[start : start + CHUNK]])
        latencies = []
        for key in random.choices(keys, k=samples):
            await asyncio.sleep(random.uniform(0, MAX_PAUSE_SECONDS))
            reading = asyncio.create_task(read())
            await asyncio.sleep(0)
            began = time.monotonic()
            await client.execute_command("LPUSH", key, "x")
            await reading
            latencies.append((time.monotonic() - began) * 1000)
            await client.delete(key)  # not reported: the key was forgotten with its report
            await ask([("EXISTS", key)])
        return latencies
    finally:
        writer.close()
