"""Subject: moved out of another file; say what belongs here."""

from dataclasses import dataclass

from listeners.functions.triggers import ListTrigger, StreamTrigger

__all__ = ["MeasuredTrigger"]

#: Counting never ends before so many entries.
LEAST_COUNT_LIMIT = 10_000


@dataclass(frozen=True)
class MeasuredTrigger:
    """What is measured: a trigger, and the instances that are enough to know of (they bound counting)."""

    trigger: ListTrigger | StreamTrigger
    max_instances: int = 100

    @property
    def count_limit(self) -> int:
        """How far undelivered entries are counted."""
        return max(LEAST_COUNT_LIMIT, self.max_instances * self.trigger.messages_per_worker)
