"""The back-off for a Redis that does not respond, and the error that requests get meanwhile."""

import math
import time
from datetime import UTC, datetime, timedelta

from listeners.errors import SourceError
from listeners.runtime.backoff import Backoff

__all__ = ["OUTAGE_SUFFIX", "Outage"]

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
