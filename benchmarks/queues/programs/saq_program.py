"""SAQ: a sorted set with every job that has not finished, beside lists of queued and of active jobs."""

import asyncio

from saq import Queue, Worker

from benchmarks.queues.programs.truth import SLOTS, URL, numbers, perform, run_async, sent


async def job(_context: object, *, number: int) -> None:
    """Run one job."""
    await run_async(number)


async def send() -> None:
    """Enqueue jobs; their results are not stored."""
    queue = Queue.from_url(URL, name="jobs")
    for number in numbers():
        await queue.enqueue("job", number=number, ttl=-1)
        sent(number)
    await queue.disconnect()


async def work() -> None:
    """Run jobs."""
    await Worker(Queue.from_url(URL, name="jobs"), [job], concurrency=SLOTS).start()


if __name__ == "__main__":
    perform(send=lambda: asyncio.run(send()), work=lambda: asyncio.run(work()))
