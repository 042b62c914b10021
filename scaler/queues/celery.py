"""Queues of Celery. No I/O."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from scaler.queues.parts import Count, Part, State
from scaler.queues.trigger import QUEUE, QueueNames, QueueTrigger

__all__ = ["CeleryQueue"]

#: The key of all workers that are not given one of their own.
SHARED_UNACKED = "unacked"
MAX_STEPS = 20


def _steps(value: object) -> object:
    """Read steps as text with commas or spaces between them."""
    steps = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(steps, list | tuple) or not all(str(step).isdecimal() and len(str(step)) < 4 for step in steps):
        raise ValueError("give whole numbers with commas between them")
    if not steps or len(set(map(str, steps))) != len(steps) or len(steps) > MAX_STEPS:
        raise ValueError(f"give from 1 to {MAX_STEPS} different numbers")
    return tuple(map(int, steps))


class CeleryQueue(QueueTrigger):
    """Queues of Celery, with its Redis transport."""

    type_name: ClassVar[str] = "CeleryQueue"
    software: ClassVar[str] = "Celery"
    kind: ClassVar[str] = "celery"

    queue: QueueNames = Field(default=("celery",), description=QUEUE)
    global_keyprefix: str = Field(
        default="", description="global_keyprefix of broker_transport_options, which all keys begin with"
    )
    sep: str = Field(
        default="\x06\x16",
        min_length=1,
        description="sep of broker_transport_options, between the name of a queue and a priority",
    )
    priority_steps: Annotated[tuple[int, ...], BeforeValidator(_steps)] = Field(
        default=(0, 3, 6, 9), description="priority_steps of broker_transport_options, with commas between them"
    )
    unacked_key: str = Field(
        default=SHARED_UNACKED,
        min_length=1,
        description="unacked_key of broker_transport_options: the hash of the messages that workers hold. With a key "
        "of these workers alone, it is exact and costs one command",
    )
    shared_unacked: Literal["all", "queue"] | None = Field(
        default=None,
        description="which messages in unacked_key count: all, or those of these queues, which are searched for. By "
        f"default queue for {SHARED_UNACKED}, and all for another key",
    )
    acks_late: bool = Field(
        default=False,
        description="whether all tasks have acks_late. Without it, a running task is in no key, and workers' "
        "heartbeats tell how many run",
    )

    workers: str = Field(
        default="*",
        min_length=1,
        description="the names of the workers of these queues (worker -n), with * and ?. Their heartbeats tell how "
        "many tasks run, unless acksLate is set",
    )

    @field_validator("workers")
    @classmethod
    def _not_with_acks_late(cls, value: str, info: ValidationInfo) -> str:
        if value != "*" and info.data.get("acks_late"):
            raise ValueError("heartbeats are not needed with acksLate. Remove it")
        return value

    @property
    def zero_seconds(self) -> float:
        """For how long samples must be 0 before 0 is believed: a worker removes a message before it records it, and
        sends a heartbeat every two seconds.
        """
        return 1.0 if self.acks_late else 5.0

    @property
    def slow_fix(self) -> str:
        """What makes it quicker to measure, if it takes too long."""
        if self.acks_late:
            return "Give these workers an unacked_key of their own"
        return "Workers' heartbeats come every 2 s, and with acks_late and acksLate none is waited for"

    @property
    def unacked(self) -> str:
        """The hash of the messages that workers hold: running, prefetched, and waiting for their ETA."""
        return self.global_keyprefix + self.unacked_key

    @property
    def searches_unacked(self) -> bool:
        """Whether the messages of these queues have to be searched for among those of others."""
        if self.shared_unacked is not None:
            return self.shared_unacked == "queue"
        return self.unacked_key == SHARED_UNACKED

    @property
    def related_names(self) -> tuple[str, ...]:
        """The bindings of exchanges, and the channel of heartbeats."""
        bindings = (f"{self.global_keyprefix}_kombu.binding.",) if self.searches_unacked else ()
        return (*bindings, *(() if self.acks_late else (f"{self.global_keyprefix}/",)))

    def parts_of(self, queue: str) -> tuple[Part, ...]:
        """Return the lists of a queue, one for each priority."""
        name = f"{self.global_keyprefix}{queue}"
        keys = (f"{name}{self.sep}{step}" if step else name for step in self.priority_steps)
        return tuple(Count(State.WAITING, key) for key in keys)

    def common_parts(self) -> tuple[Part, ...]:
        """Return the messages that workers hold."""
        return (Count(State.IN_PROGRESS, self.unacked, command="HLEN"),)
