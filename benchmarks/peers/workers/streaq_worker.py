"""streaq: a stream with a group and XACK, at least once."""

import asyncio
import logging

from streaq import Worker

from benchmarks.host.contenders.tally import Tally
from benchmarks.host.scenarios import PAYLOAD
from benchmarks.peers.workers.parameters import ENTRIES, URL, perform, scenario

PAGE = 1000
tally = Tally()
worker = Worker(redis_url=URL, concurrency=scenario().batch, anyio_backend="asyncio", anyio_kwargs={"use_uvloop": True})


async def handle(_payload: str) -> None:
    """Run one task."""
    tally.handled()


task = worker.task(handle, ttl=0, silent=True)


async def fill() -> None:
    """Enqueue tasks."""
    async with worker:
        for at in range(0, ENTRIES, PAGE):
            await worker.enqueue_many([task.enqueue(PAYLOAD) for _ in range(min(PAGE, ENTRIES - at))])


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    perform(fill=lambda: asyncio.run(fill()), work=worker.run_sync)
