"""taskiq-redis: its list broker (BRPOP, at most once) and its stream broker (a group and XACK, at least once)."""

import asyncio
import logging

import uvloop
from taskiq.api import run_receiver_task
from taskiq_redis import ListQueueBroker, RedisStreamBroker

from benchmarks.host.contenders.tally import Tally
from benchmarks.host.scenarios import PAYLOAD
from benchmarks.peers.workers.parameters import ENTRIES, URL, perform, scenario

tally = Tally()
stream = scenario().kind == "stream"
broker = RedisStreamBroker(URL, consumer_id="0", xread_count=scenario().batch) if stream else ListQueueBroker(URL)


async def handle(_payload: str) -> None:
    """Run one task."""
    tally.handled()


task = broker.task(task_name="handle")(handle)


async def work() -> None:
    """Run tasks with the scenario's concurrency."""
    await broker.startup()
    await run_receiver_task(broker, max_async_tasks=scenario().batch, max_prefetch=scenario().batch)


async def fill() -> None:
    """Send tasks."""
    await broker.startup()
    for _ in range(ENTRIES):
        await task.kiq(PAYLOAD)
    await broker.shutdown()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    perform(fill=lambda: asyncio.run(fill()), work=lambda: uvloop.run(work()))
