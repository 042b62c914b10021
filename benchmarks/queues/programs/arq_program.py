"""arq: one sorted set with every job that has not finished."""

import asyncio

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

from benchmarks.queues.programs.truth import SLOTS, URL, numbers, perform, run_async, sent

SETTINGS = RedisSettings.from_dsn(URL)


async def job(_context: object, number: int) -> None:
    """Run one job."""
    await run_async(number)


async def send() -> None:
    """Enqueue jobs."""
    pool = await create_pool(SETTINGS)
    for number in numbers():
        await pool.enqueue_job("job", number)
        sent(number)


async def work() -> None:
    """Run jobs."""
    worker = Worker([job], redis_settings=SETTINGS, max_jobs=SLOTS, poll_delay=0.05, keep_result=0, log_results=False)
    await worker.async_run()


if __name__ == "__main__":
    perform(send=lambda: asyncio.run(send()), work=lambda: asyncio.run(work()))
