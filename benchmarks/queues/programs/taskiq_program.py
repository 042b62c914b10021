"""taskiq-redis: its stream broker, whose entries are acknowledged when their task has finished."""

import asyncio
import signal

from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from benchmarks.queues.programs.truth import SLOTS, URL, numbers, perform, run_async, sent

broker = RedisStreamBroker(URL, queue_name="jobs", consumer_id="0", xread_count=1)
job = broker.task(task_name="job")(run_async)


async def send() -> None:
    """Send tasks."""
    await broker.startup()
    for number in numbers():
        await job.kiq(number)
        sent(number)
    await broker.shutdown()


async def work() -> None:
    """Run tasks until SIGTERM."""
    await broker.startup()
    receiver = asyncio.create_task(run_receiver_task(broker, max_async_tasks=SLOTS))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, receiver.cancel)
    await asyncio.gather(receiver, return_exceptions=True)
    await broker.shutdown()


if __name__ == "__main__":
    perform(send=lambda: asyncio.run(send()), work=lambda: asyncio.run(work()))
