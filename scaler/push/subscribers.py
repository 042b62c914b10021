"""The triggers that have open streams of KEDA, and what each stream was told."""

import asyncio

from scaler.measuring.queries import commands_per_sample
from scaler.triggers.metadata import ScaledTrigger
from scaler.triggers.owner import Owner

__all__ = ["PushedTrigger", "Subscriber"]

#: KEDA drops a `true` that comes before it has written the ScaledObject's status: the first one is said again.
REPEAT_AFTER_SECONDS = (2.0, 10.0)
#: At most one `true` per stream in so long.
LEAST_GAP_SECONDS = 1.0


class Subscriber:
    """One open stream: what it was told, and when it has to be told again."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self._active = False
        self._sent_at = 0.0
        self._due: list[float] = []

    def update(self, now: float, *, active: bool) -> None:
        """Take note of the state; wake the stream if it must be told."""
        if active and not self._active:
            self._due = [max(now, self._sent_at + LEAST_GAP_SECONDS)]
            if self._sent_at == 0.0:
                self._due += [now + seconds for seconds in REPEAT_AFTER_SECONDS]
        elif not active:
            self._due = []
        self._active = active
        if self._due and self._due[0] <= now:
            self.wake.set()

    def mark_notified(self, now: float) -> None:
        """The stream is being told."""
        self.wake.clear()
        self._sent_at = now
        self._due = [due for due in self._due if due > now]


class PushedTrigger:
    """A trigger, the streams that are open for it, and what looking at it costs Redis. Equal to none but itself."""

    def __init__(self, owner: Owner, scaled: ScaledTrigger) -> None:
        self.owner = owner
        self.scaled = scaled
        self.subscribers: set[Subscriber] = set()
        measured = scaled.measured
        self.keys = measured.trigger.keys if measured is not None else ()
        self.commands = commands_per_sample(measured) if measured is not None else 0

    @property
    def connection(self) -> str:
        """The name of its connection; empty for the default one, and for one that a string names."""
        return (self.scaled.trigger.connection or "").lower()

    def update(self, now: float, *, active: bool) -> None:
        """Let its streams take note of its state."""
        for subscriber in self.subscribers:
            subscriber.update(now, active=active)
