"""Measures activation latency: from LPUSH or XADD to `true` on an open StreamIsActive, with many idle triggers."""

import asyncio
import contextlib
import gc
import itertools
import random
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import redis.asyncio

from benchmarks.scaler.keda import CALL_SECONDS, Keda
from benchmarks.scaler.scaled_objects import PAYLOAD, ScaledObject, make_idle, remove

__all__ = ["IdleTriggers", "idle_triggers"]

#: Streams that are opened concurrently; KEDA opens all of its streams at once.
MAX_OPENING = 1_000
#: A `true` that has not arrived after this time counts as missed.
MISSED_SECONDS = 15.0
#: Samples started per second, at random times: they must not be in step with the scaler's polls.
SAMPLES_PER_SECOND = 20.0
#: Shortest and longest time that a stream is open before its trigger's first entry.
SETTLE_SECONDS = (0.1, 0.4)


class IdleTriggers:
    """Idle ScaledObjects, each with an open stream that has sent nothing yet."""

    def __init__(self, client: redis.asyncio.Redis, keda: Keda) -> None:
        self._client = client
        self._keda = keda
        self._ready: asyncio.Queue[tuple[ScaledObject, Any]] = asyncio.Queue()
        self._open: set[Any] = set()
        self._numbers = itertools.count()
        self.latencies: list[float] = []
        self.missed = 0
        self.objects: Sequence[ScaledObject] = ()
        self.opening_seconds = 0.0

    async def open(self, objects: Sequence[ScaledObject]) -> None:
        """Open a stream for each ScaledObject."""
        self.objects = objects
        await make_idle(self._client, objects)
        remaining = iter(objects)

        async def open_some() -> None:
            for one in remaining:
                await self._ready.put((one, await self._stream(one)))

        began = time.monotonic()
        await asyncio.gather(*(open_some() for _ in range(MAX_OPENING)))
        self.opening_seconds = time.monotonic() - began
        # A full collection would stop the client for longer than an activation takes; KEDA is written in Go.
        gc.collect()
        gc.freeze()

    async def wake(self, samples: int, seconds: float) -> None:
        """Activate at least one and at most `samples` triggers, for about `seconds`; latencies are in ms."""
        deadline = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for number in range(samples):
                await asyncio.sleep(random.expovariate(SAMPLES_PER_SECOND))
                one, stream = await self._ready.get()
                if number > 0 and time.monotonic() > deadline:
                    return
                group.create_task(self._wake(one, stream))

    def close(self) -> None:
        """Close all streams."""
        for stream in self._open:
            stream.cancel()

    async def _wake(self, one: ScaledObject, stream: Any) -> None:
        answer = asyncio.create_task(stream.read())
        await asyncio.sleep(0)  # let it start to read before the push
        began = time.monotonic()
        await self._push(one)
        try:
            async with asyncio.timeout(MISSED_SECONDS):
                await answer
            self.latencies.append((time.monotonic() - began) * 1000)
        except TimeoutError:
            self.missed += 1
        await self._replace(one, stream)

    async def _push(self, one: ScaledObject) -> None:
        if one.is_list:
            await self._client.execute_command("LPUSH", one.key, PAYLOAD)
        else:
            await self._client.xadd(one.key, {"payload": PAYLOAD})

    async def _replace(self, one: ScaledObject, stream: Any) -> None:
        """Replace an active ScaledObject with an idle one: a stream sends at most one `true` per second."""
        stream.cancel()
        self._open.discard(stream)
        await remove(self._client, [one])
        fresh = ScaledObject(f"{one.name}-{next(self._numbers)}", one.is_list)
        await make_idle(self._client, [fresh])
        opened = await self._stream(fresh)
        await asyncio.sleep(random.uniform(*SETTLE_SECONDS))
        await self._ready.put((fresh, opened))

    async def _stream(self, one: ScaledObject) -> Any:
        stream = self._keda.open_stream(one)
        self._open.add(stream)
        async with asyncio.timeout(CALL_SECONDS):
            await stream.initial_metadata()
        return stream


@contextlib.asynccontextmanager
async def idle_triggers(client: redis.asyncio.Redis, keda: Keda) -> AsyncIterator[IdleTriggers]:
    """Yield an empty set of idle triggers; close its streams after the block."""
    triggers = IdleTriggers(client, keda)
    try:
        yield triggers
    finally:
        triggers.close()
