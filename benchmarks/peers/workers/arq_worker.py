"""arq: jobs in a sorted set, at least once."""

import asyncio

import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

from benchmarks.host.contenders.tally import Tally
from benchmarks.host.scenarios import PAYLOAD
from benchmarks.peers.workers.parameters import ENTRIES, URL, perform, scenario

#: With its default of 0.5 s between polls, arq runs at most about 200 jobs per second.
POLL_SECONDS = 0.01
tally = Tally()


async def handle(_context: object, _payload: str) -> None:
    """Run one job."""
    tally.handled()


async def work() -> None:
    """Run jobs with the scenario's concurrency."""
    worker = Worker(
        [handle],
        redis_settings=RedisSettings.from_dsn(URL),
        max_jobs=scenario().batch,
        poll_delay=POLL_SECONDS,
        keep_result=0,
        log_results=False,
    )
    await worker.async_run()


async def fill() -> None:
    """Enqueue jobs."""
    pool = await create_pool(RedisSettings.from_dsn(URL))
    for _ in range(ENTRIES):
        await pool.enqueue_job("handle", PAYLOAD)


if __name__ == "__main__":
    perform(fill=lambda: asyncio.run(fill()), work=lambda: uvloop.run(work()))
