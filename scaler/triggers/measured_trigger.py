"""The part of a trigger that measuring needs."""

from dataclasses import dataclass
from functools import cached_property

from listeners.functions.triggers import ListTrigger, StreamTrigger
from scaler.queues.trigger import QueueTrigger

__all__ = ["MeasuredTrigger"]

#: The lowest count limit of any trigger.
MIN_COUNT_LIMIT = 10_000


@dataclass(frozen=True)
class MeasuredTrigger:
    """A trigger with a backlog, and the number of instances beyond which its backlog need not be exact."""

    trigger: ListTrigger | StreamTrigger | QueueTrigger
    max_instances: int = 100

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # It is looked up several times for each measurement, and the trigger computes its hash from all of its fields.
        return hash((self.trigger, self.max_instances))

    @property
    def count_limit(self) -> int:
        """The number of undelivered entries at which counting stops."""
        return max(MIN_COUNT_LIMIT, self.max_instances * self.trigger.messages_per_worker)
