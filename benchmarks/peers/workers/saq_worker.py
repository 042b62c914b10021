"""saq: jobs moved by BLMOVE to a list of those at work; with retries they are taken from there after a crash."""

import asyncio

import uvloop
from saq import Queue, Worker

from benchmarks.contenders.tally import Tally
from benchmarks.peers.workers.given import ENTRIES, URL, perform, scenario
from benchmarks.scenarios import PAYLOAD

tally = Tally()


async def handle(_context: object, *, payload: str) -> None:
    """One job."""
    tally.handled()


async def work() -> None:
    """Run jobs, as many at one time as the scenario says."""
    await Worker(Queue.from_url(URL), [handle], concurrency=scenario().batch).start()


async def fill() -> None:
    """Enqueue jobs; their results are not stored."""
    queue = Queue.from_url(URL)
    for _ in range(ENTRIES):
        await queue.enqueue("handle", payload=PAYLOAD, retries=3, ttl=-1)
    await queue.disconnect()


if __name__ == "__main__":
    perform(fill=lambda: asyncio.run(fill()), work=lambda: uvloop.run(work()))
