"""Activation latency: from LPUSH or XADD to `true` on an open StreamIsActive, while many triggers are idle."""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import redis.asyncio

from benchmarks.scaler.keda import CALL_SECONDS, IN_FLIGHT, Keda
from benchmarks.scaler.scaled_objects import PAYLOAD, ScaledObject, make_idle, remove, scaled_objects

__all__ = ["Idle", "idle"]

#: A `true` that has not come within so long has been missed.
MISSED_SECONDS = 15.0
#: Samples begun in a second, at random times: the scaler's looks must not set their pace.
SAMPLES_PER_SECOND = 20.0
#: How long a stream has been open at least before its trigger's first entry comes, in seconds.
SETTLE_SECONDS = (0.1, 0.4)


class Idle:
    """Idle ScaledObjects, each with an open stream that has said nothing yet."""

    def __init__(self, client: redis.asyncio.Redis, keda: Keda) -> None:
        self._client = client
        self._keda = keda
        self._ready: asyncio.Queue[tuple[ScaledObject, Any]] = asyncio.Queue()
        self._open: set[Any] = set()
        self._numbers = itertools.count()
        self.latencies: list[float] = []
        self.missed = 0

    async def open(self, objects: Sequence[ScaledObject]) -> None:
        """Open a stream for each."""
        await make_idle(self._client, objects)
        left = iter(objects)

        async def open_some() -> None:
            for one in left:
                await self._ready.put((one, await self._stream(one)))

        await asyncio.gather(*(open_some() for _ in range(IN_FLIGHT)))

    async def wake(self, samples: int, seconds: float) -> None:
        """Wake so many of them, in so long at most; the latencies are in ms."""
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as under_way:
            for _ in range(samples):
                await asyncio.sleep(random.expovariate(SAMPLES_PER_SECOND))
                one, stream = await self._ready.get()
                if time.monotonic() > until:
                    return
                under_way.create_task(self._wake(one, stream))

    def close(self) -> None:
        """Close all streams."""
        for stream in self._open:
            stream.cancel()

    async def _wake(self, one: ScaledObject, stream: Any) -> None:
        said = asyncio.create_task(stream.read())
        await asyncio.sleep(0)  # it listens before anything happens
        began = time.monotonic()
        await self._push(one)
        try:
            async with asyncio.timeout(MISSED_SECONDS):
                await said
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
        """Put an idle one in the place of one that is awake: a stream says at most one `true` in a second."""
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
async def idle(client: redis.asyncio.Redis, keda: Keda, count: int) -> AsyncIterator[Idle]:
    """So many idle ScaledObjects, whose streams are closed after the block."""
    ones = Idle(client, keda)
    try:
        await ones.open(scaled_objects(count, "idle"))
        yield ones
    finally:
        ones.close()
