"""Triggers with open streams of KEDA, and what each stream was sent."""

import asyncio
import time
from collections.abc import Callable

from scaler.measuring.queries import commands_per_sample
from scaler.triggers.metadata import ScaledTrigger
from scaler.triggers.owner import Owner

__all__ = ["PushedTrigger", "Subscriber"]

#: KEDA drops a `true` that arrives before it has written the ScaledObject's status, so the first one is repeated.
REPEAT_AFTER_SECONDS = (2.0, 10.0)
#: The minimum time between two `true` messages on one stream.
MIN_GAP_SECONDS = 1.0


class Subscriber:
    """One open stream: when it was last sent a `true`, and when the next ones are due."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self._active = False
        self._sent_at = 0.0
        self._due: list[float] = []

    def update(self, now: float, *, active: bool) -> None:
        """Record whether the trigger is active, and wake the stream if a `true` is due."""
        if active and not self._active:
            self._due = [max(now, self._sent_at + MIN_GAP_SECONDS)]
            if self._sent_at == 0.0:
                self._due += [now + seconds for seconds in REPEAT_AFTER_SECONDS]
        elif not active:
            self._due = []
        self._active = active
        if self._due and self._due[0] <= now:
            self.wake.set()

    def next_due(self, now: float) -> float | None:
        """Return when the next `true` after this time is due."""
        return next((due for due in self._due if due > now), None)

    def mark_notified(self, now: float) -> None:
        """Record that the stream is being sent a `true`."""
        self.wake.clear()
        self._sent_at = now
        self._due = [due for due in self._due if due > now]


class PushedTrigger:
    """A trigger, its open streams, and the number of commands that one check costs Redis. Compared by identity."""

    def __init__(self, owner: Owner, scaled: ScaledTrigger) -> None:
        self.owner = owner
        self.scaled = scaled
        self.subscribers: set[Subscriber] = set()
        #: When a reported change led to a check.
        self.changed_at = float("-inf")
        #: What its armed keys call when they change, and the timer of the next check.
        self.on_change: Callable[[], object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        measured = scaled.measured
        self.commands = commands_per_sample(measured) if measured is not None else 0

    @property
    def connection(self) -> str:
        """The name of its connection; empty for the default connection and for a connection string."""
        return (self.scaled.trigger.connection or "").lower()

    def update(self, now: float, *, active: bool) -> None:
        """Update each of its streams."""
        for subscriber in self.subscribers:
            subscriber.update(now, active=active)

    def next_due(self, now: float) -> float | None:
        """Return when the next `true` after this time is due on any of its streams."""
        return min((due for one in self.subscribers if (due := one.next_due(now)) is not None), default=None)

    def check_at(self, when: float, check: Callable[[], object]) -> None:
        """Call this at the given time (time.monotonic), unless an earlier check is due."""
        loop = asyncio.get_running_loop()
        at = loop.time() + max(0.0, when - time.monotonic())
        if self._timer is None or self._timer.cancelled() or not loop.time() < self._timer.when() <= at:
            self.forget_check()
            self._timer = loop.call_at(at, check)

    def forget_check(self) -> None:
        """Cancel the check that is due."""
        if self._timer is not None:
            self._timer.cancel()
