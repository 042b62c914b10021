"""What is known about the streams of one Redis: how costly they are to measure, and results that are kept.

Measuring a stream takes at most a hundredth of the server's time: after a measurement that took the server t, its
result is kept for 100 t. Cheap results are not kept.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass, replace

from listeners.errors import SourceError, SourceTimeoutError
from scaler.measuring.backlog import KeySample
from scaler.measuring.queries import StreamQuery

__all__ = ["KnownStreams"]

#: How long a result is kept, in multiples of what it took the server, and at most.
KEPT_MULTIPLE = 100
MAX_KEPT_SECONDS = 60.0
#: How old a result may be that is returned because the next measurement takes too long.
MAX_AGE_SECONDS = 90.0
#: What takes the server less than this is cheap. A sample is shared for 100 times as long anyway.
CHEAP_SECONDS = 0.0005
#: How long the error is kept after a timeout, and twice as long after each further one. The limit bounds how late it is
#: noticed that a stream can be measured again.
FIRST_PAUSE_SECONDS = 2.0
LAST_PAUSE_SECONDS = 30.0
#: The maximum number of streams. Beyond it, the one measured the longest time ago is forgotten.
MAX_STREAMS = 20_000


@dataclass(frozen=True)
class _Known:
    """The last measurement of a stream. `needs_pages`: the lag was not known without reading entries.

    Samples are without the key, which may be long.
    """

    result: KeySample | SourceError
    last_sample: KeySample | None
    kept_until: float
    cost_seconds: float
    needs_pages: bool = False
    timeouts: int = 0


class KnownStreams:
    """The last measurements of the streams of one Redis."""

    def __init__(self) -> None:
        #: By the hash of a query, whose key may be long.
        self._known: OrderedDict[int, _Known] = OrderedDict()

    def kept(self, query: StreamQuery) -> KeySample | SourceError | None:
        """Return the result of the last measurement if it is too early for another one, else None."""
        known = self._known.get(hash(query))
        if known is None or time.monotonic() >= known.kept_until:
            return None
        return known.result if isinstance(known.result, SourceError) else _with_key(known.result, query.key)

    def last_sample(self, query: StreamQuery) -> KeySample | None:
        """Return the last known backlog, unless it is older than MAX_AGE_SECONDS."""
        known = self._known.get(hash(query))
        sample = known.last_sample if known is not None else None
        if sample is None or time.monotonic() - sample.taken_at >= MAX_AGE_SECONDS:
            return None
        return _with_key(sample, query.key)

    def is_fast(self, query: StreamQuery) -> bool:
        """Return whether the stream can be measured together with others. What is not known may be costly."""
        known = self._known.get(hash(query))
        return known is not None and not known.needs_pages and known.cost_seconds < CHEAP_SECONDS

    def needs_pages(self, query: StreamQuery) -> bool:
        """Return whether the lag was not known without reading entries."""
        known = self._known.get(hash(query))
        return known is not None and known.needs_pages

    def cost_seconds(self, query: StreamQuery) -> float | None:
        """Return how long the last measurement took the server, or None if there was none."""
        known = self._known.get(hash(query))
        return known.cost_seconds if known is not None else None

    def record(self, query: StreamQuery, sample: KeySample, cost_seconds: float, *, needs_pages: bool) -> None:
        """Record a measurement."""
        kept_seconds = min(KEPT_MULTIPLE * cost_seconds, MAX_KEPT_SECONDS) if cost_seconds >= CHEAP_SECONDS else 0.0
        kept = _with_key(sample, "")
        self._set(query, _Known(kept, kept, time.monotonic() + kept_seconds, cost_seconds, needs_pages))

    def record_timeout(self, query: StreamQuery, error: SourceTimeoutError, elapsed_seconds: float) -> None:
        """Record that a measurement had no reply in time. This stream may have taken the server too long."""
        known = self._known.get(hash(query))
        timeouts = known.timeouts + 1 if known is not None else 1
        pause_seconds = min(FIRST_PAUSE_SECONDS * 2 ** min(timeouts - 1, 10), LAST_PAUSE_SECONDS)
        last = known.last_sample if known is not None else None
        needs_pages = known is not None and known.needs_pages
        kept_until = time.monotonic() + pause_seconds
        # Not the error itself, whose traceback keeps the whole step.
        self._set(
            query, _Known(SourceTimeoutError(str(error)), last, kept_until, elapsed_seconds, needs_pages, timeouts)
        )

    def _set(self, query: StreamQuery, known: _Known) -> None:
        self._known[hash(query)] = known
        self._known.move_to_end(hash(query))
        while len(self._known) > MAX_STREAMS:
            self._known.popitem(last=False)


def _with_key(sample: KeySample, key: str) -> KeySample:
    return replace(sample, backlog=replace(sample.backlog, key=key))
