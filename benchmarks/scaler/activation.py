"""Activation latency: from LPUSH or XADD to `true` on an open StreamIsActive, while many triggers are idle."""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import redis.asyncio

from benchmarks.scaler.keda import CALL_SECONDS, Keda
from benchmarks.scaler.scaled_objects import PAYLOAD, ScaledObject, make_idle, remove

__all__ = ["Idle", "idle"]

#: Streams that are opened at one time; KEDA opens all that it has.
OPENING = 1_000
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
        self.objects: Sequence[ScaledObject] = ()
        self.opening_seconds = 0.0

    async def open(self, objects: Sequence[ScaledObject]) -> None:
        """Open a stream for each."""
        self.objects = objects
        await make_idle(self._client, objects)
        left = iter(objects)

        async def open_some() -> None:
            for one in left:
                await self._ready.put((one, await self._stream(one)))

        began = time.monotonic()
        await asyncio.gather(*(open_some() for _ in range(OPENING)))
        self.opening_seconds = time.monotonic() - began

    async def wake(self, samples: int, seconds: float) -> None:
        """Wake one of them, and up to so many in so long; the latencies are in ms."""
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as under_way:
            for number in range(samples):
                await asyncio.sleep(random.expovariate(SAMPLES_PER_SECOND))
                one, stream = await self._ready.get()
                if number > 0 and time.monotonic() > until:
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
async def idle(client: redis.asyncio.Redis, keda: Keda) -> AsyncIterator[Idle]:
    """None yet; their streams are closed after the block."""
    ones = Idle(client, keda)
    try:
        yield ones
    finally:
        ones.close()
