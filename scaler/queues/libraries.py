"""The table of the libraries: which keys each of them has, and in which state the jobs in a key are.

Dead workers' jobs are in progress until a worker repairs them, and only a running one does. So they count.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from listeners.redis.scripts import ScriptCall, load_script
from scaler.queues.celery import CeleryQueue
from scaler.queues.parts import Command, Count, Flag, Part, State, Tally, Times, Unit, whole_number
from scaler.queues.sidekiq import SidekiqQueue
from scaler.queues.trigger import QUEUE, QueueNames, QueueTrigger

__all__ = ["QUEUE_TYPES"]

SCHEDULED, WAITING, UNFINISHED, IN_PROGRESS, PAUSED = State
GROUPED = load_script("scaler.queues", "grouped")
MAX_GROUPS = 1_000
#: The newest release of BullMQ whose keys are known.
NEWEST_BULLMQ = 6


@dataclass(frozen=True)
class BullWaiting(Part):
    """The list of waiting jobs. BullMQ 4 has a marker at its end while jobs are delayed, which is no job."""

    def commands(self, now: float) -> tuple[Command, ...]:
        """Return the commands that count the elements, and get the last one."""
        return (("LLEN", self.key), ("LINDEX", self.key, -1))

    def read(self, replies: Sequence[Any], tally: Tally) -> None:
        """Add the jobs."""
        elements, last = replies
        is_marker = isinstance(last, bytes) and (last == b"0" or last.startswith(b"0:"))
        tally.waiting += whole_number(elements) - is_marker


@dataclass(frozen=True)
class BullVersion(Part):
    """The name and version of the library. Bull, and BullMQ for Python, write none."""

    def commands(self, now: float) -> tuple[Command, ...]:
        """Return the command that reads it."""
        return (("HGET", self.key, "version"),)

    def read(self, replies: Sequence[Any], tally: Tally) -> None:
        """Raise ValueError if the keys of this version are not known."""
        version = replies[0]
        if version is None:
            return
        known = re.match(rb"bullmq:(\d{1,4})\.", version) if isinstance(version, bytes) else None
        if known is None or int(known[1]) > NEWEST_BULLMQ:
            raise ValueError(
                f"it has the version {version[:40]!r}, whose keys are not known. BullMQ is known up to release "
                f"{NEWEST_BULLMQ}, and BullMQ Pro is not"
            )


@dataclass(frozen=True)
class AsynqGroups(Part):
    """The set of the groups whose tasks wait to be aggregated, each in a sorted set, which a running server does."""

    def commands(self, now: float) -> tuple[Command, ...]:
        """Return the command that counts the groups."""
        return (("SCARD", self.key),)

    def read(self, replies: Sequence[Any], tally: Tally) -> None:
        """Raise ValueError if there are more groups than are counted."""
        if whole_number(replies[0]) > MAX_GROUPS:
            raise ValueError(f"it has more than {MAX_GROUPS} groups, which are too many to count their tasks")

    def apart(self, now: float) -> ScriptCall:
        """Return the script that counts the tasks of all groups."""
        groups = self.key.removesuffix("groups") + "g:"
        return ScriptCall(GROUPED, (self.key,), (groups, MAX_GROUPS), read_only=True)

    def read_apart(self, reply: Any, tally: Tally) -> None:
        """Add the tasks."""
        tally.waiting += whole_number(reply)


class BullMQQueue(QueueTrigger):
    """Queues of BullMQ or Bull."""

    type_name: ClassVar[str] = "BullMQQueue"
    software: ClassVar[str] = "BullMQ"
    kind: ClassVar[str] = "bullmq"
    # Bull's `priority` is no part: it indexes what is in `wait`. Paused jobs are in `paused`, and since 6.0 in `wait`.
    parts: ClassVar[tuple[Part, ...]] = (
        Times(SCHEDULED, "{prefix}:{queue}:delayed", unit=Unit.BULL),
        BullWaiting(WAITING, "{prefix}:{queue}:wait"),
        Count(WAITING, "{prefix}:{queue}:prioritized", command="ZCARD"),
        Count(IN_PROGRESS, "{prefix}:{queue}:active"),
        Flag(PAUSED, "{prefix}:{queue}:meta", field="paused"),
        BullVersion(PAUSED, "{prefix}:{queue}:meta"),
    )

    prefix: str = Field(default="bull", min_length=1, description="the prefix of the keys, as in the options of Queue")


class BeeQueue(QueueTrigger):
    """Queues of Bee-Queue."""

    type_name: ClassVar[str] = "BeeQueue"
    software: ClassVar[str] = "Bee-Queue"
    kind: ClassVar[str] = "bee"
    parts: ClassVar[tuple[Part, ...]] = (
        Times(SCHEDULED, "{prefix}:{queue}:delayed", unit=Unit.MILLISECONDS),
        Count(WAITING, "{prefix}:{queue}:waiting"),
        Count(IN_PROGRESS, "{prefix}:{queue}:active"),
    )

    prefix: str = Field(default="bq", min_length=1, description="the prefix of the keys, as in the settings of Queue")


class RQQueue(QueueTrigger):
    """Queues of RQ."""

    type_name: ClassVar[str] = "RQQueue"
    software: ClassVar[str] = "RQ"
    kind: ClassVar[str] = "rq"
    parts: ClassVar[tuple[Part, ...]] = (
        Times(SCHEDULED, "{key_prefix}:scheduled:{queue}"),
        Count(WAITING, "{key_prefix}:queue:{queue}"),
        Count(IN_PROGRESS, "{key_prefix}:queue:{queue}:intermediate"),
        Count(IN_PROGRESS, "{key_prefix}:wip:{queue}", command="ZCARD"),
        Flag(PAUSED, "{key_prefix}:suspended"),
    )

    queue: QueueNames = Field(default=("default",), description=QUEUE)
    key_prefix: str = Field(default="rq", min_length=1, description="the prefix of the keys (RQ_KEY_PREFIX of RQ 3)")
    with_scheduler: bool = Field(
        default=True,
        description="whether a worker runs with --with-scheduler. Without it, none moves scheduled jobs whose time has "
        "come, so they do not count",
    )

    @property
    def zero_seconds(self) -> float:
        """For how long samples must be 0: a worker with several queues removes a job before it records it."""
        return 1.0

    def parts_of(self, queue: str) -> tuple[Part, ...]:
        """Return the parts of one of its queues."""
        parts = super().parts_of(queue)
        return parts if self.with_scheduler else tuple(part for part in parts if part.state is not SCHEDULED)


class ArqQueue(QueueTrigger):
    """Queues of arq. Each is one sorted set, which a job leaves when it is finished."""

    type_name: ClassVar[str] = "ArqQueue"
    software: ClassVar[str] = "arq"
    kind: ClassVar[str] = "arq"
    parts: ClassVar[tuple[Part, ...]] = (Times(UNFINISHED, "{queue}", unit=Unit.MILLISECONDS),)

    queue: QueueNames = Field(default=("arq:queue",), description=QUEUE)


class SaqQueue(QueueTrigger):
    """Queues of SAQ. All unfinished jobs are in one sorted set, those that wait or run with the score 0."""

    type_name: ClassVar[str] = "SaqQueue"
    software: ClassVar[str] = "SAQ"
    kind: ClassVar[str] = "saq"
    parts: ClassVar[tuple[Part, ...]] = (Times(UNFINISHED, "saq:{queue}:incomplete"),)

    queue: QueueNames = Field(default=("default",), description=QUEUE)


class AsynqQueue(QueueTrigger):
    """Queues of asynq (Go)."""

    type_name: ClassVar[str] = "AsynqQueue"
    software: ClassVar[str] = "asynq"
    kind: ClassVar[str] = "asynq"
    parts: ClassVar[tuple[Part, ...]] = (
        Times(SCHEDULED, "asynq:{{{queue}}}:scheduled"),
        Times(SCHEDULED, "asynq:{{{queue}}}:retry"),
        AsynqGroups(WAITING, "asynq:{{{queue}}}:groups"),
        Count(WAITING, "asynq:{{{queue}}}:pending"),
        Count(IN_PROGRESS, "asynq:{{{queue}}}:active"),
        Flag(PAUSED, "asynq:{{{queue}}}:paused"),
    )

    queue: QueueNames = Field(default=("default",), description=QUEUE)


class DramatiqQueue(QueueTrigger):
    """Queues of dramatiq. A message is in a hash until it is acknowledged, so waiting and running ones count."""

    type_name: ClassVar[str] = "DramatiqQueue"
    software: ClassVar[str] = "dramatiq"
    kind: ClassVar[str] = "dramatiq"
    parts: ClassVar[tuple[Part, ...]] = (
        Count(SCHEDULED, "{namespace}:{queue}.DQ.msgs", command="HLEN"),
        Count(UNFINISHED, "{namespace}:{queue}.msgs", command="HLEN"),
    )

    queue: QueueNames = Field(default=("default",), description=QUEUE)
    namespace: str = Field(default="dramatiq", min_length=1, description="the namespace of RedisBroker")
    delayed: Literal["due", "all", "none"] = Field(
        default="due",
        description="which delayed messages count: those that are due, for which the messages are read (JSONEncoder "
        "only), all of them, or none",
    )

    def parts_of(self, queue: str) -> tuple[Part, ...]:
        """Return the parts of one of its queues."""
        delayed, unfinished = super().parts_of(queue)
        if self.delayed == "all":
            return (replace(delayed, state=UNFINISHED), unfinished)
        return (delayed, unfinished) if self.delayed == "due" else (unfinished,)


class LaravelQueue(QueueTrigger):
    """Queues of Laravel."""

    type_name: ClassVar[str] = "LaravelQueue"
    software: ClassVar[str] = "Laravel"
    kind: ClassVar[str] = "laravel"
    parts: ClassVar[tuple[Part, ...]] = (
        Times(SCHEDULED, "{prefix}queues:{queue}:delayed", payloads=True),
        Count(WAITING, "{prefix}queues:{queue}"),
        Count(IN_PROGRESS, "{prefix}queues:{queue}:reserved", command="ZCARD"),
    )

    queue: QueueNames = Field(default=("default",), description=QUEUE)
    prefix: str = Field(
        description="the prefix of Laravel's Redis client (options.prefix in config/database.php), such as "
        "laravel_database_; empty if it is"
    )
    cluster: bool = Field(default=False, description="whether the names of queues are in braces, as for clusters")

    def spelled(self, queue: str) -> str:
        """Return the name of a queue as it stands in keys."""
        return f"{{{queue}}}" if self.cluster else queue


class SortedSet(QueueTrigger):
    """Plain sorted sets: all members, or with a unit those whose score is a time that has come."""

    type_name: ClassVar[str] = "SortedSet"
    software: ClassVar[str] = "sorted set"
    kind: ClassVar[str] = "zset"

    queue: QueueNames = Field(
        description="the key of the sorted set, or several with spaces between them, whose members are summed"
    )
    unit: Literal["s", "ms"] | None = Field(
        default=None,
        description="the unit of the scores if they are times: s or ms since 1970. Only members whose time has come "
        "count. Without it, all members count",
    )

    @property
    def reads(self) -> str:
        """A short description of what it reads."""
        return f"{self.software} {' '.join(self.queue)}"

    def parts_of(self, queue: str) -> tuple[Part, ...]:
        """Return the parts of one of its queues."""
        if self.unit is None:
            return (Count(WAITING, queue, command="ZCARD"),)
        unit = Unit.SECONDS if self.unit == "s" else Unit.MILLISECONDS
        return (Times(WAITING, queue, unit=unit, payloads=True),)


#: By the type, in lower case.
QUEUE_TYPES: dict[str, type[QueueTrigger]] = {
    cls.type_name.lower(): cls
    for cls in (
        BullMQQueue,
        CeleryQueue,
        RQQueue,
        ArqQueue,
        SaqQueue,
        AsynqQueue,
        DramatiqQueue,
        LaravelQueue,
        SidekiqQueue,
        BeeQueue,
        SortedSet,
    )
}
