"""How many calls and entries of a function one instance has at once. No I/O."""

import sys
from dataclasses import dataclass

from listeners.functions.app import Function
from listeners.functions.triggers import PolledTrigger, PubSubTrigger

__all__ = ["MAX_THREADS", "Limits"]

#: How many calls of a function that is not async run concurrently.
MAX_THREADS = 32
#: How many abandoned calls of a pub/sub function may run before it pauses. One that handles one message at a time must
#: not stop at the first.
PUBSUB_ABANDONED = 10
#: How many pub/sub messages are taken at once, and get into one call of a function that takes a list. They are in this
#: process already, so it withholds none from another.
MESSAGES_PER_TAKE = 100
#: How many messages are in progress at most, however many calls there may be.
MAX_MESSAGES = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one function in one instance.

    Attributes:
        calls: Calls that run concurrently.
        abandoned: Abandoned calls that may still run before no other call starts.
        in_progress: Entries from taking to settling.
        per_take: Entries that are taken at once.
        batch_size: Entries of one call.
        window_seconds: How long a call waits for a full batch.
    """

    calls: int
    abandoned: int
    in_progress: int
    per_take: int
    batch_size: int
    window_seconds: float = 0.0

    @classmethod
    def of(cls, function: Function) -> "Limits":
        """Return the limits that follow from a function's trigger and its parameter."""
        trigger, is_batch = function.trigger, function.binding.batch
        most = sys.maxsize if function.binding.is_async else MAX_THREADS
        if isinstance(trigger, PubSubTrigger):
            calls = min(trigger.concurrency, most)
            in_progress = min(calls * MESSAGES_PER_TAKE, MAX_MESSAGES) if is_batch else max(calls, MESSAGES_PER_TAKE)
            size = MESSAGES_PER_TAKE if is_batch else 1
            return cls(calls, max(calls, PUBSUB_ABANDONED), in_progress, size if is_batch else in_progress, size)
        calls = min(trigger.concurrency or trigger.batch_size, most)
        in_progress = _in_progress(trigger, calls) if is_batch else calls
        size = trigger.batch_size if is_batch else 1
        per_take = min(trigger.batch_size, in_progress)
        return cls(calls, calls, in_progress, per_take, size, trigger.batch_window_ms / 1000)


def _in_progress(trigger: PolledTrigger, calls: int) -> int:
    """Return how many entries of a function that takes a list may be in progress.

    Without a concurrency, that is one batch. Its calls are more only if entries of a batch that failed are called
    again, each alone.
    """
    return trigger.batch_size if trigger.concurrency is None else trigger.batch_size * calls
