"""What the triggers of all libraries have in common."""

from functools import cached_property
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from listeners.functions.triggers import (
    DEFAULT_MESSAGES_PER_WORKER,
    MAX_MESSAGES_PER_WORKER,
    ConnectedTrigger,
    WholeNumber,
)
from listeners.redis.scripts import ScriptCall
from scaler.queues.parts import Part

__all__ = ["QueueNames", "QueueTrigger"]

#: As many as one round trip of the scaler has room for.
MAX_QUEUES = 50


def _split_names(value: object) -> object:
    """Split names given as text separated by spaces; reject blank and repeated names."""
    names = value.split() if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError("give text with spaces between the names")
    if not names or not all(names):
        raise ValueError("it is empty")
    if len(set(names)) != len(names):
        raise ValueError("a name is listed twice")
    if len(names) > MAX_QUEUES:
        raise ValueError(f"it has more than {MAX_QUEUES} names. Use several triggers")
    return tuple(names)


QueueNames = Annotated[tuple[str, ...], BeforeValidator(_split_names)]
QUEUE = "the name of the queue, or several with spaces between them, whose jobs are summed"


class QueueTrigger(ConnectedTrigger):
    """Queues of a library whose jobs other programs run.

    `software` is its name for people, and `kind` its name in metrics. `parts` are the parts of one queue, and
    `shared_parts` those that all its queues have in common.
    """

    software: ClassVar[str]
    kind: ClassVar[str]
    parts: ClassVar[tuple[Part, ...]] = ()
    shared_parts: ClassVar[tuple[Part, ...]] = ()

    queue: QueueNames = Field(description=QUEUE)
    messages_per_worker: WholeNumber = Field(
        default=DEFAULT_MESSAGES_PER_WORKER,
        ge=1,
        le=MAX_MESSAGES_PER_WORKER,
        description="the jobs per instance that the scaler aims for, those in progress included; the number of jobs "
        "that a worker runs at once is a good value",
    )

    @property
    def reads(self) -> str:
        """A short description of what it reads."""
        return f"{self.software} queue {' '.join(self.queue)}"

    @property
    def zero_seconds(self) -> float:
        """For how long samples must be 0 before 0 is believed. More than 0 for a library whose workers take a job and
        record it in two steps, so that it is in no key for a moment.
        """
        return 0.0

    @property
    def slow_fix(self) -> str:
        """What makes it quicker to measure, if it takes too long."""
        return "Let a worker finish or remove jobs"

    @cached_property
    def layout(self) -> tuple[tuple[str, Part], ...]:
        """All parts in the order in which jobs move, each with the name of what it belongs to: a queue, or for a part
        that all queues have in common, its key.
        """
        own = [(queue, part) for queue in self.queue for part in self.parts_of(queue)]
        return (*own, *((part.key, part) for part in self.common_parts()))

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """All keys that are measured."""
        return tuple(dict.fromkeys(part.key for _, part in self.layout))

    @property
    def related_names(self) -> tuple[str, ...]:
        """What the names of further keys and channels begin with that are read in some cases. Those that begin with a
        key of the trigger are not among them.
        """
        return ()

    @property
    def commands_per_reading(self) -> int:
        """How many commands Redis runs for one measurement without a cluster, those inside scripts included."""
        parts = [part for _, part in self.layout]
        together = sum(len(part.commands(0.0)) for part in parts)
        apart = [command for part in parts if (command := part.apart(0.0)) is not None]
        transaction = 2 if together > 1 else 0
        return transaction + together + sum(2 if isinstance(command, ScriptCall) else 1 for command in apart)

    def parts_of(self, queue: str) -> tuple[Part, ...]:
        """Return the parts of one of its queues."""
        return tuple(part.of(queue=self.spelled(queue), **self._names) for part in self.parts)

    def common_parts(self) -> tuple[Part, ...]:
        """Return the parts that all its queues have in common."""
        return tuple(part.of(**self._names) for part in self.shared_parts)

    def spelled(self, queue: str) -> str:
        """Return the name of a queue as it stands in keys."""
        return queue

    @property
    def _names(self) -> dict[str, str]:
        return {name: value for name, value in self if isinstance(value, str)}
