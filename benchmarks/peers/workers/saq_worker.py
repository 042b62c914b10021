"""saq: BLMOVE moves jobs to a list of active jobs; after a crash, jobs with retries run again from there."""

import asyncio

import uvloop
from saq import Queue, Worker

from benchmarks.host.contenders.tally import Tally
from benchmarks.host.scenarios import PAYLOAD
from benchmarks.peers.workers.parameters import ENTRIES, URL, perform, scenario

tally = Tally()


async def handle(_context: object, *, payload: str) -> None:
    """Run one job."""
    tally.handled()


async def work() -> None:
    """Run jobs with the scenario's concurrency."""
    await Worker(Queue.from_url(URL), [handle], concurrency=scenario().batch).start()


async def fill() -> None:
    """Enqueue jobs; their results are not stored."""
    queue = Queue.from_url(URL)
    for _ in range(ENTRIES):
        await queue.enqueue("handle", payload=PAYLOAD, retries=3, ttl=-1)
    await queue.disconnect()


if __name__ == "__main__":
    perform(fill=lambda: asyncio.run(fill()), work=lambda: uvloop.run(work()))
