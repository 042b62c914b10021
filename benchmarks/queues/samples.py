"""Compares the scaler's answers with the truth."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import redis.asyncio

from benchmarks.queues.libraries import Library

__all__ = ["Answer", "Samples", "Truth", "read_truth"]

#: Asks for the scaler's answer. None if it is not known at the moment.
Answer = Callable[[], Awaitable[int | None]]


@dataclass(frozen=True)
class Truth:
    """What is true of the jobs, and what KEDA's recipe counts, at one moment."""

    sent: int
    finished: int
    keda: int = 0

    @property
    def unfinished(self) -> int:
        """The number of jobs that wait or run."""
        return self.sent - self.finished


async def read_truth(client: redis.asyncio.Redis, library: Library) -> Truth:
    """Read all that is true at one moment."""
    async with client.pipeline(transaction=True) as moment:
        moment.scard("truth:sent")
        moment.scard("truth:finished")
        for command in library.keda:
            moment.execute_command(*command)
        sent, finished, *counted = await moment.execute()
    return Truth(sent, finished, sum(counted))


@dataclass
class Samples:
    """The answers while jobs were unfinished.

    An answer is of an unknown moment between two readings of the truth. It is below the truth only if it is below what
    was certainly unfinished all the time: the jobs sent before, less those finished after. It is above the truth only
    if it is above what was certainly sent after, less those finished before, and less what may run or be recorded.
    """

    slots: int
    answers: int = 0
    unknown: int = 0
    below: int = 0
    worst: int = 0
    above: int = 0
    zeros: int = 0
    keda_zeros: int = 0

    def add(self, before: Truth, answer: int | None, after: Truth) -> None:
        """Add an answer and the truth before and after it."""
        certain = before.sent - after.finished
        if certain <= 0:
            return
        if answer is None:
            self.unknown += 1
            return
        self.answers += 1
        self.keda_zeros += before.keda == 0
        self.zeros += answer == 0
        if answer < certain:
            self.below += 1
            self.worst = max(self.worst, certain - answer)
        # A job is recorded as sent after its library has it, and as finished before its library knows. A worker that
        # is slow to acknowledge may have finished a job and an earlier one in each slot.
        self.above += answer > after.sent + 1 - before.finished + 2 * self.slots
