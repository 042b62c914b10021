"""Runs one library on one server."""

import asyncio
import contextlib
import time
from dataclasses import dataclass

import redis.asyncio

from benchmarks.queues.libraries import Library
from benchmarks.queues.processes import JOB_SECONDS, Failed, Program, running
from benchmarks.queues.samples import Answer, Samples, read_truth

__all__ = ["Result", "run"]

#: The longest time without a finished job, and from the last finished job to an answer of 0.
STALL_SECONDS = 60.0
#: The number of answers over which the commands are averaged.
COUNTED_ANSWERS = 20


@dataclass(frozen=True)
class Result:
    """The samples of one run, how many jobs ran more than once, how soon after the last job the answer was 0, and how
    many commands an answer costs.
    """

    samples: Samples
    repeated: int
    seconds_to_zero: float
    commands: float


async def run(library: Library, client: redis.asyncio.Redis, url: str, ask: Answer, jobs: int) -> Result:
    """Send and run jobs on an empty server, and compare all the time.

    The first half of the jobs is sent at once, so that there is a backlog. The others are sent one after another once
    the first half has finished, at the rate at which the worker can run them. Raises Failed.
    """
    async with running(library, "send", url) as producer, running(library, "work", url) as worker:
        feeding = asyncio.create_task(_feed(producer, client, library, jobs))
        try:
            samples, seconds_to_zero = await _compare(library, client, ask, jobs, (producer, worker))
        finally:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeding
    repeated = await client.llen("truth:started") - jobs
    return Result(samples, repeated, seconds_to_zero, await _commands(client, ask))


async def _feed(producer: Program, client: redis.asyncio.Redis, library: Library, jobs: int) -> None:
    half = jobs // 2
    producer.send(range(half))
    while await client.scard("truth:finished") < half:  # noqa: ASYNC110  (another process finishes them)
        await asyncio.sleep(JOB_SECONDS / 10)
    for number in range(half, jobs):
        producer.send([number])
        await asyncio.sleep(JOB_SECONDS / library.slots)


async def _compare(
    library: Library, client: redis.asyncio.Redis, ask: Answer, jobs: int, programs: tuple[Program, ...]
) -> tuple[Samples, float]:
    samples = Samples(library.slots)
    before = await read_truth(client, library)
    progress_at = time.monotonic()
    while True:
        answer = await ask()
        after = await read_truth(client, library)
        samples.add(before, answer, after)
        now = time.monotonic()
        if before.finished == jobs and answer == 0:
            return samples, now - progress_at
        if after.finished > before.finished:
            progress_at = now
        elif now - progress_at > STALL_SECONDS:
            raise Failed(f"{after.finished} of {jobs} jobs have finished, and the scaler's answer is {answer}")
        for program in programs:
            program.check()
        before = after


async def _commands(client: redis.asyncio.Redis, ask: Answer) -> float:
    """Return how many commands an answer costs after a change, when no program runs."""
    await client.config_resetstat()
    for _ in range(COUNTED_ANSWERS):
        await client.flushall()  # or the scaler answers from what it knows, as Redis has reported no change
        await ask()
    counted = await client.info("commandstats")
    ours = ("cmdstat_config", "cmdstat_flushall")
    calls = sum(command["calls"] for name, command in counted.items() if not name.startswith(ours))
    return float(calls / COUNTED_ANSWERS)
