"""Decides when an empty queue is believed to be empty, where a job can be in no key for a moment."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from scaler.measuring.backlog import Backlog
from scaler.queues.trigger import QueueTrigger
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["Settling", "share"]

#: The longest time between two samples of a queue that seems to be empty, and of which nothing else is known.
PAUSE_SECONDS = 0.5
#: The maximum number of triggers. Beyond it, the one measured the longest time ago is forgotten.
MAX_TRIGGERS = 20_000

Result = TypeVar("Result")


@dataclass
class _Found:
    """Since when a trigger's samples have been 0 (None: the last one was not), and whether it had work before that."""

    zero_since: float | None = None
    had_work: bool = False


class Settling(Generic[Result]):
    """For how long the samples of triggers have been 0, for libraries that take a job and record it in two steps.

    A trigger that has just had work has at least one entry until 0 is believed. Of one that has not been measured
    before, nothing is known until then: its requests wait, and `request` is called to have it measured again.
    """

    def __init__(self, request: "Callable[[MeasuredTrigger, asyncio.Future[Result]], None]") -> None:
        self._request = request
        self._found: OrderedDict[MeasuredTrigger, _Found] = OrderedDict()
        self._waiting: dict[MeasuredTrigger, tuple[asyncio.Future[Result], asyncio.TimerHandle]] = {}

    def judge(
        self, trigger: MeasuredTrigger, backlog: Backlog, taken_at: float, future: "asyncio.Future[Result]"
    ) -> Backlog | None:
        """Record a sample, and return what is known by it; None if `future` has to wait for more samples."""
        missing_seconds = self._missing_seconds(trigger, backlog, taken_at)
        if missing_seconds <= 0 or self._found[trigger].had_work:
            return replace(backlog, unsettled=missing_seconds > 0)
        if (waiting := self.waiting(trigger)) is not None:
            share(waiting, future)
        else:
            pause_seconds = min(missing_seconds, PAUSE_SECONDS)
            again = asyncio.get_running_loop().call_later(pause_seconds, self._measure_again, trigger)
            self._waiting[trigger] = future, again
        return None

    def interrupt(self, trigger: MeasuredTrigger) -> None:
        """Record that a trigger could not be measured: 0 before and after does not tell what was between."""
        if (found := self._found.get(trigger)) is not None:
            found.zero_since = None

    def waiting(self, trigger: MeasuredTrigger) -> "asyncio.Future[Result] | None":
        """Return what the requests of a trigger wait for while nothing is known of it."""
        return self._waiting[trigger][0] if trigger in self._waiting else None

    def close(self) -> None:
        """Measure nothing again."""
        for _, again in self._waiting.values():
            again.cancel()

    def _missing_seconds(self, trigger: MeasuredTrigger, backlog: Backlog, taken_at: float) -> float:
        """Return how long a trigger has to stay at 0 until 0 is believed; 0 if it is, or if there is work."""
        queue = trigger.trigger
        if not isinstance(queue, QueueTrigger) or not queue.zero_seconds:
            return 0.0
        found = self._found.setdefault(trigger, _Found())
        self._found.move_to_end(trigger)
        while len(self._found) > MAX_TRIGGERS:
            self._found.popitem(last=False)
        if backlog.entries > 0:
            found.zero_since, found.had_work = None, True
            return 0.0
        if found.zero_since is None:
            found.zero_since = taken_at
        missing_seconds = found.zero_since + queue.zero_seconds - taken_at
        found.had_work = found.had_work and missing_seconds > 0
        return max(missing_seconds, 0.0)

    def _measure_again(self, trigger: MeasuredTrigger) -> None:
        future, _ = self._waiting.pop(trigger)
        self._request(trigger, future)


def share(source: "asyncio.Future[Result]", target: "asyncio.Future[Result]") -> None:
    """Give the result of a future to another one, too."""

    def copy(done: "asyncio.Future[Result]") -> None:
        if target.done() or done.cancelled():
            return
        if (error := done.exception()) is not None:
            target.set_exception(error)
            target.exception()  # or asyncio logs it if nobody waits any more
        else:
            target.set_result(done.result())

    if source is not target:
        source.add_done_callback(copy)
