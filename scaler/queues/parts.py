"""The parts of a queue: which commands read them, and what their replies mean. No I/O."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import Any, Self

from listeners.redis.scripts import Script, ScriptCall, load_script

__all__ = ["Command", "Count", "Flag", "Part", "State", "Tally", "Times", "Unit", "whole_number"]

Command = tuple[str | int, ...]

NEXT_SCORE: Script = load_script("scaler.queues", "next_score")
MAX_JOBS = 2**63 - 1


class State(StrEnum):
    """What the jobs of a part are doing. Jobs move through these states in this order."""

    SCHEDULED = "scheduled, and due once their time has come"
    WAITING = "waiting"
    UNFINISHED = "waiting or in progress"
    IN_PROGRESS = "in progress"
    PAUSED = "paused"


class Unit(IntEnum):
    """The units of the scores of a sorted set, as the number of them in a second."""

    SECONDS = 1
    MILLISECONDS = 1_000
    #: Bull and BullMQ keep the milliseconds in the upper bits, and a counter in the 12 lower ones.
    BULL = 1_000 * 4096

    def bound(self, now: float) -> str:
        """Return the highest score that is due now (Unix time)."""
        if self is Unit.BULL:
            return str((math.floor(now * 1_000) + 1) * 4096 - 1)
        if self is Unit.MILLISECONDS:
            return str(math.floor(now * 1_000))
        return f"{now:.6f}"


@dataclass
class Tally:
    """The jobs of a queue, as its parts are read. `next_due_at`: when the next scheduled job is due (Unix time).

    `reported`: each change changes one of the keys that are read. `capped`: there may be more jobs.
    """

    waiting: int = 0
    due: int = 0
    in_progress: int = 0
    scheduled: int = 0
    next_due_at: float | None = None
    paused: bool = False
    reported: bool = True
    capped: bool = False

    def add(self, state: State, jobs: int) -> None:
        """Add jobs in a state."""
        if state is State.IN_PROGRESS:
            self.in_progress += jobs
        elif state is State.SCHEDULED:
            self.scheduled += jobs
        else:
            self.waiting += jobs

    def add_time(self, due_at: float) -> None:
        """Add the time at which a scheduled job is due."""
        self.next_due_at = due_at if self.next_due_at is None else min(self.next_due_at, due_at)


@dataclass(frozen=True)
class Part(ABC):
    """A key of a queue, and the state of the jobs in it. `key` may be a template with the names of options in it."""

    state: State
    key: str

    def of(self, **names: str) -> Self:
        """Return the part with the key of a queue."""
        return replace(self, key=self.key.format(**names))

    @abstractmethod
    def commands(self, now: float) -> tuple[Command, ...]:
        """Return the commands that read it, which run together with those of the other parts."""

    @abstractmethod
    def read(self, replies: Sequence[Any], tally: Tally) -> None:
        """Add the replies to these commands to a tally. Raises ValueError for what no Redis replies."""

    def apart(self, now: float) -> Command | ScriptCall | None:
        """Return a command that runs before the others, and not together with them; None if there is none."""
        return None

    def read_apart(self, reply: Any, tally: Tally) -> None:
        """Add the reply to this command to a tally. Raises ValueError for what no Redis replies."""
        raise ValueError("no reply was expected")


@dataclass(frozen=True)
class Count(Part):
    """A key all of whose elements are jobs. `command` is the one that counts them."""

    command: str = "LLEN"

    def commands(self, now: float) -> tuple[Command, ...]:
        """Return the command that counts the jobs."""
        return ((self.command, self.key),)

    def read(self, replies: Sequence[Any], tally: Tally) -> None:
        """Add the jobs."""
        tally.add(self.state, whole_number(replies[0]))


@dataclass(frozen=True)
class Times(Part):
    """A sorted set whose scores are times. Jobs whose time has come are due, or in the state of the part if that is
    not SCHEDULED. Members with payloads never cross the wire.
    """

    unit: Unit = Unit.SECONDS
    payloads: bool = False

    def commands(self, now: float) -> tuple[Command, ...]:
        """Return the commands that count the jobs that are due, and all."""
        return (("ZCOUNT", self.key, "-inf", self.unit.bound(now)), ("ZCARD", self.key))

    def read(self, replies: Sequence[Any], tally: Tally) -> None:
        """Add the jobs."""
        due, jobs = map(whole_number, replies)
        if self.state is State.SCHEDULED:
            tally.due += due
        else:
            tally.add(self.state, due)
        tally.scheduled += max(jobs - due, 0)

    def apart(self, now: float) -> Command | ScriptCall:
        """Return the command that finds the lowest score that is not due."""
        above = f"({self.unit.bound(now)}"
        if self.payloads:
            return ScriptCall(NEXT_SCORE, (self.key,), (above,), read_only=True)
        return ("ZRANGEBYSCORE", self.key, above, "+inf", "WITHSCORES", "LIMIT", 0, 1)

    def read_apart(self, reply: Any, tally: Tally) -> None:
        """Add when the next job is due. Raises ValueError for what no Redis replies."""
        match reply:
            case [] | None:
                return
            case bytes(score) | [bytes(), bytes(score)]:
                due_at = float(score) / self.unit
                if math.isfinite(due_at):
                    tally.add_time(due_at)
            case _:
                raise ValueError("not a score")


@dataclass(frozen=True)
class Flag(Part):
    """A key, or a field of a hash, whose existence means that the queue is paused."""

    field: str | None = None

    def commands(self, now: float) -> tuple[Command, ...]:
        """Return the command that finds out whether it exists."""
        return (("EXISTS", self.key) if self.field is None else ("HEXISTS", self.key, self.field),)

    def read(self, replies: Sequence[Any], tally: Tally) -> None:
        """Note whether the queue is paused."""
        tally.paused |= whole_number(replies[0]) > 0


def whole_number(reply: Any) -> int:
    """Return a number of jobs. Raises ValueError for what no Redis replies."""
    if type(reply) is not int or not 0 <= reply <= MAX_JOBS:
        raise ValueError("not a number of jobs")
    return reply
