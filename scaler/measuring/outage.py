"""The back-off for a Redis that does not respond, and the errors of requests without a result in time."""

import math
import time
from datetime import UTC, datetime, timedelta

from listeners.errors import SourceError, SourceTimeoutError
from listeners.functions.triggers import ListTrigger, StreamTrigger
from listeners.runtime.backoff import Backoff
from scaler.queues.trigger import QueueTrigger

__all__ = ["OUTAGE_SUFFIX", "Outage", "not_answered", "not_begun", "not_settled", "too_slow"]

#: The longest pause bounds how late the end of an outage is noticed. KEDA polls every 30 s, the HPA every 15 s.
FIRST_PAUSE_SECONDS = 0.25
LAST_PAUSE_SECONDS = 5.0
#: What follows the cause in the text of an error: since when it has lasted, and until when Redis is not tried.
OUTAGE_SUFFIX = " (failing since "


class Outage:
    """Remembers that a Redis does not respond, so that thousands of requests need not each find out."""

    def __init__(self) -> None:
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS)
        self._since: datetime | None = None
        self._until = 0.0
        self._error: SourceError | None = None

    @property
    def error(self) -> SourceError | None:
        """The error for requests during a pause; None if Redis may be tried."""
        return self._error if time.monotonic() < self._until else None

    def failed(self, error: SourceError) -> None:
        """Record a failed attempt, and start a pause that is longer than the last one, up to LAST_PAUSE_SECONDS."""
        now, pause_seconds = datetime.now(UTC), self._backoff.pause_seconds()
        self._since = self._since or now
        self._until = time.monotonic() + pause_seconds
        next_attempt = now + timedelta(seconds=math.ceil(pause_seconds))
        self._error = type(error)(
            f"{error}{OUTAGE_SUFFIX}{self._since:%Y-%m-%d %H:%M:%S} UTC; next attempt by {next_attempt:%H:%M:%S})"
        )

    def over(self) -> None:
        """Record that Redis responded."""
        if self._since is not None:
            self._backoff.reset()
            self._since, self._until, self._error = None, 0.0, None


def not_answered(address: str, seconds: float) -> SourceTimeoutError:
    """Return the error for a Redis that has not answered."""
    return SourceTimeoutError(f"Redis at {address} did not answer within {seconds:g} s")


def not_begun(requested: int, address: str, seconds: float) -> SourceTimeoutError:
    """Return the error for a trigger whose turn to be measured has not come."""
    return SourceTimeoutError(
        f"{requested} triggers of Redis at {address} were requested and not yet measured within {seconds:g} s. Poll "
        "less often, or use a connection for each half of them"
    )


def not_settled(trigger: ListTrigger | StreamTrigger | QueueTrigger, seconds: float) -> SourceTimeoutError:
    """Return the error for a queue that has not been empty for long enough."""
    return SourceTimeoutError(
        f"measuring {trigger.reads}: it seems to be empty, but a job may be on its way from one key to another, and "
        f"{seconds:g} s are too short to know. A later request will get the number"
    )


def too_slow(trigger: ListTrigger | StreamTrigger | QueueTrigger, seconds: float) -> SourceTimeoutError:
    """Return the error for a trigger that takes long to measure."""
    fix = "Delete or trim what is in the stream, or split it"
    if isinstance(trigger, QueueTrigger):
        fix = trigger.slow_fix
    return SourceTimeoutError(
        f"measuring {trigger.reads} takes longer than {seconds:g} s. It continues, and its result will be used for "
        f"later requests. {fix}"
    )
