"""Measures client tracking alone, in a process of its own: one connection that watches many keys, without gRPC.

Prints a ManyKeys as JSON.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import psutil
import redis.asyncio

from benchmarks.host.quantiles import quantiles
from benchmarks.scaler.results import ManyKeys
from listeners.connections.strings import parse_connection_string
from listeners.redis.client import Client
from listeners.tracking.armed import Armed
from listeners.tracking.watch import Watch

__all__ = ["watch_many_keys"]

#: Keys that are armed in one round trip.
CHUNK = 1_000
SAMPLES = 1_000
#: The pause between two samples is random, up to this time.
MAX_PAUSE_SECONDS = 0.01
CONNECT_SECONDS = 15.0


async def watch_many_keys(port: int, count: int) -> ManyKeys:
    """Run the measurement in another process."""
    arguments = ("-m", __name__, str(port), str(count))
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise SystemExit(f"watching {count:,} keys failed with status {process.returncode}")
    found: dict[str, Any] = json.loads(output)
    return ManyKeys(**{**found, "quantiles": tuple(found["quantiles"])})


async def _measure(port: int, count: int) -> ManyKeys:
    spec = parse_connection_string(f"127.0.0.1:{port}")
    watched = Client(spec, "triggerfish:benchmark")
    watch = Watch(watched, spec.address, on_untold=lambda: None)
    keys = [f"key:{number:06}" for number in range(count)]
    async with redis.asyncio.Redis(port=port, protocol=2) as client:
        await watched.server()
        await _connect(watch, keys[0])
        redis_bytes, process = await _used_bytes(client), psutil.Process()
        resident_bytes = process.memory_info().rss
        began = time.monotonic()
        armed: dict[str, Armed] = {}
        for start in range(0, count, CHUNK):
            armed |= await _arm(watch, keys[start : start + CHUNK])
        arming_seconds = time.monotonic() - began
        redis_bytes, resident_bytes = (
            await _used_bytes(client) - redis_bytes, process.memory_info().rss - resident_bytes
        )  # fmt: skip
        latencies = [await _sample(watch, client, armed, key) for key in random.choices(keys, k=SAMPLES)]
    await watch.close()
    await watched.aclose()
    return ManyKeys(count, arming_seconds, resident_bytes, redis_bytes, SAMPLES, quantiles(latencies))


async def _sample(watch: Watch, client: redis.asyncio.Redis, armed: dict[str, Armed], key: str) -> float:
    """Return the time in ms from RPUSH to the report."""
    await asyncio.sleep(random.uniform(0, MAX_PAUSE_SECONDS))
    told = asyncio.Event()
    armed[key].on_end(told.set)
    began = time.monotonic()
    await client.rpush(key, "x")
    await told.wait()
    latency = (time.monotonic() - began) * 1000
    await client.delete(key)
    armed |= await _arm(watch, [key])
    return latency


async def _connect(watch: Watch, key: str) -> None:
    """Wait until the connection is open and the server has reported one change."""
    async with asyncio.timeout(CONNECT_SECONDS):
        while True:
            [armed] = await watch.arm([[key]])
            if armed is not None:
                proved = armed.proved_at is not None
                watch.release(armed)
                if proved:
                    return
            await asyncio.sleep(0.01)


async def _arm(watch: Watch, keys: Sequence[str]) -> dict[str, Armed]:
    """Arm keys, again if the server was late."""
    found: dict[str, Armed] = {}
    while missing := [key for key in keys if key not in found]:
        armed = await watch.arm([[key] for key in missing])
        found |= {key: one for key, one in zip(missing, armed, strict=True) if one is not None}
    return found


async def _used_bytes(client: redis.asyncio.Redis) -> int:
    return int((await client.info("memory"))["used_memory"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.scaler.many_keys", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    arguments = parser.parse_args()
    sys.stdout.write(json.dumps(asdict(asyncio.run(_measure(arguments.port, arguments.count)))))
