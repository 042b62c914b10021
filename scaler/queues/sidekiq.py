"""Queues of Sidekiq. No I/O.

A running job is in no key by itself: each process writes every 10 s what it works on. With super_fetch of Sidekiq Pro,
it is in a list of the process instead. Scheduled jobs and retries of all queues are in two sorted sets.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from listeners.redis.scripts import ScriptCall, load_script
from scaler.queues.parts import Command, Count, Part, State, Tally, Unit, whole_number
from scaler.queues.trigger import QUEUE, QueueNames, QueueTrigger

__all__ = ["SidekiqQueue"]

TIMES = load_script("scaler.queues", "sidekiq_times")
WORK = load_script("scaler.queues", "sidekiq_work")
#: How many jobs are looked at for those of a queue, and how many processes.
MAX_JOBS = 100
MAX_PROCESSES = 500


@dataclass(frozen=True)
class SidekiqTimes(Part):
    """The scheduled jobs, or the retries, of all queues."""

    queue: str = ""

    def commands(self, now: float) -> tuple[Command, ...]:
        """Return the command that counts them."""
        return (("ZCARD", self.key),)

    def read(self, replies: Sequence[Any], tally: Tally) -> None:
        """Check the reply: of which queue they are is not known."""
        whole_number(replies[0])

    def apart(self, now: float) -> ScriptCall:
        """Return the script that finds those of a queue which are due, and when the next one is."""
        return ScriptCall(TIMES, (self.key,), (self.queue, Unit.SECONDS.bound(now), MAX_JOBS), read_only=True)

    def read_apart(self, reply: Any, tally: Tally) -> None:
        """Add them."""
        match reply:
            case [int(due), bytes(next_score), int(complete)]:
                tally.due += whole_number(due)
                tally.capped |= not complete
                if next_score and math.isfinite(due_at := float(next_score)):
                    tally.add_time(due_at)
            case _:
                raise ValueError("not a number of jobs")


@dataclass(frozen=True)
class SidekiqWork(Part):
    """What live processes work on."""

    queue: str = ""
    prefix: str = ""
    super_fetch: bool = False

    def commands(self, now: float) -> tuple[Command, ...]:
        """Return the command that counts the processes."""
        return (("SCARD", self.key),)

    def read(self, replies: Sequence[Any], tally: Tally) -> None:
        """Note that processes change keys of their own."""
        processes = whole_number(replies[0])
        tally.reported &= processes == 0
        tally.capped |= processes > MAX_PROCESSES

    def apart(self, now: float) -> ScriptCall:
        """Return the script that counts the jobs."""
        arguments = (self.queue, self.prefix, int(self.super_fetch), MAX_PROCESSES)
        return ScriptCall(WORK, (self.key,), arguments, read_only=True)

    def read_apart(self, reply: Any, tally: Tally) -> None:
        """Add the jobs."""
        tally.add(self.state, whole_number(reply))


class SidekiqQueue(QueueTrigger):
    """Queues of Sidekiq. What runs is known within 10 s, and a killed process counts for a minute."""

    type_name: ClassVar[str] = "SidekiqQueue"
    software: ClassVar[str] = "Sidekiq"
    kind: ClassVar[str] = "sidekiq"

    queue: QueueNames = Field(default=("default",), description=QUEUE)
    namespace: str = Field(
        default="", description="the namespace of redis-namespace (Sidekiq 6 and older), without the colon"
    )
    super_fetch: bool = Field(
        default=False, description="whether processes use super_fetch of Sidekiq Pro, with which running jobs are exact"
    )

    @property
    def zero_seconds(self) -> float:
        """For how long samples must be 0: a process writes every 10 s what it works on."""
        return 1.0 if self.super_fetch else 15.0

    @property
    def prefix(self) -> str:
        """What all keys begin with."""
        return f"{self.namespace}:" if self.namespace else ""

    def parts_of(self, queue: str) -> tuple[Part, ...]:
        """Return the parts of one of its queues."""
        prefix = self.prefix
        return (
            SidekiqTimes(State.SCHEDULED, f"{prefix}schedule", queue),
            SidekiqTimes(State.SCHEDULED, f"{prefix}retry", queue),
            Count(State.WAITING, f"{prefix}queue:{queue}"),
            SidekiqWork(State.IN_PROGRESS, f"{prefix}processes", queue, prefix, self.super_fetch),
        )
