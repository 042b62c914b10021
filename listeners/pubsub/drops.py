"""Counts messages that are dropped without a call, and logs them."""

import asyncio
from collections import Counter
from collections.abc import Callable
from enum import Enum

from listeners.runtime.logs import steady_logger

__all__ = ["DropReason", "Drops"]

log = steady_logger("triggerfish.host")

#: A burst is over when nothing has been dropped for this long, and is cut after LONGEST_BURST_SECONDS.
QUIET_SECONDS = 1.0
LONGEST_BURST_SECONDS = 60.0


class DropReason(Enum):
    """Why messages were dropped, and what helps."""

    QUEUE_FULL = "the queue was full. Make the function faster, raise concurrency, or use a stream"
    LEASE_ENDED = "the lease ended before their calls started, so another instance may have handled them"
    SHUT_DOWN = "the instance stopped before their calls finished. Raise host.grace_period_seconds"


class Drops:
    """Reports every drop to `on_drop` at once, and logs a burst once, with the number of messages for each reason."""

    def __init__(self, function_name: str, on_drop: Callable[[int], object]) -> None:
        self._function_name = function_name
        self._on_drop = on_drop
        self._burst: Counter[DropReason] = Counter()
        self._dropped_at = self._burst_began_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, number: int, reason: DropReason) -> None:
        """Count `number` messages as dropped."""
        if not number:
            return
        self._on_drop(number)
        self._burst[reason] += number
        loop = asyncio.get_running_loop()
        self._dropped_at = loop.time()
        if self._timer is None:
            self._burst_began_at = self._dropped_at
            self._timer = loop.call_later(min(QUIET_SECONDS, LONGEST_BURST_SECONDS), self._end_burst_if_over)

    def close(self) -> None:
        """Log the last burst."""
        if self._timer is not None:
            self._timer.cancel()
            self._log_burst()

    def _end_burst_if_over(self) -> None:
        loop = asyncio.get_running_loop()
        ends_at = min(self._dropped_at + QUIET_SECONDS, self._burst_began_at + LONGEST_BURST_SECONDS)
        if loop.time() < ends_at:
            self._timer = loop.call_at(ends_at, self._end_burst_if_over)
        else:
            self._log_burst()

    def _log_burst(self) -> None:
        self._timer = None
        for reason, number in self._burst.items():
            log.warning("%s: %d messages dropped: %s", self._function_name, number, reason.value)
        self._burst.clear()
