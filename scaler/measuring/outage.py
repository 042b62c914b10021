"""A Redis that does not answer: what is told of it meanwhile, and when it is asked again."""

import math
import time
from datetime import UTC, datetime, timedelta

from listeners.errors import SourceError
from listeners.runtime.backoff import Backoff

__all__ = ["Outage"]

#: The last pause is what the end of an outage may be noticed late by: KEDA polls every 30 s, the HPA every 15 s.
FIRST_PAUSE_SECONDS = 0.25
LAST_PAUSE_SECONDS = 5.0


class Outage:
    """Remembers that a Redis does not answer, so that thousands of requests need not find that out one by one."""

    def __init__(self) -> None:
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS)
        self._since: datetime | None = None
        self._until = 0.0
        self._error: SourceError | None = None

    @property
    def error(self) -> SourceError | None:
        """What whoever asks during a pause is told; None if Redis may be asked."""
        return self._error if time.monotonic() < self._until else None

    def failed(self, error: SourceError) -> None:
        """Redis was asked and did not answer: leave it alone for longer than the last time."""
        now, pause_seconds = datetime.now(UTC), self._backoff.pause_seconds()
        self._since = self._since or now
        self._until = time.monotonic() + pause_seconds
        again = now + timedelta(seconds=math.ceil(pause_seconds))
        self._error = type(error)(
            f"{error} (so since {self._since:%Y-%m-%d %H:%M:%S} UTC; asked again by {again:%H:%M:%S})"
        )

    def over(self) -> None:
        """Redis answers."""
        if self._since is not None:
            self._backoff.reset()
            self._since, self._until, self._error = None, 0.0, None
