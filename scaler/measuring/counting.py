"""Counts the undelivered entries of streams whose lag Redis does not report reliably."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any

from listeners.errors import SourceError
from listeners.redis.client import Client
from listeners.redis.entry_id import EntryId
from listeners.redis.error_translation import translate
from scaler.measuring.backlog import KeyBacklog
from scaler.measuring.lag import GroupState, Lag, StreamState
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["CountCache", "StreamCount", "count_all", "first_error"]

#: Entries read in one counting step (XRANGE COUNT). Few at first, as one end is often near, then up to STEP.
FIRST_STEP = 10
STEP = 1000
#: XRANGE returns payloads too, so fewer big entries are read. The steps of all streams return about this many bytes.
STEP_BYTES = 2_000_000
#: How long counting may delay the other triggers of a round. Unfinished counts are then reported as capped.
COUNT_SECONDS = 0.5
#: A count that read more than STEP entries or LONG_BYTES is repeated for a stream only after COUNT_EVERY_SECONDS.
LONG_BYTES = 100_000
COUNT_EVERY_SECONDS = 5.0


class CountCache:
    """Caches long counts for COUNT_EVERY_SECONDS, so that a stream is not counted again at once."""

    def __init__(self) -> None:
        self._counted: OrderedDict[tuple[str, str, int], tuple[float, Lag, int]] = OrderedDict()

    def recall(self, count: "StreamCount") -> Lag | None:
        """Return a cached count, or None. Entries that became pending since are subtracted, so none counts twice."""
        counted_at, lag, pending = self._counted.get(count.identity, (0.0, None, 0))
        if lag is None or time.monotonic() - counted_at >= COUNT_EVERY_SECONDS:
            return None
        return replace(lag, entries=max(lag.entries - max(count.state.pending - pending, 0), 1))

    def keep(self, count: "StreamCount", lag: Lag) -> None:
        """Cache a long count, and drop expired ones."""
        now = time.monotonic()
        while self._counted and now - next(iter(self._counted.values()))[0] >= COUNT_EVERY_SECONDS:
            self._counted.popitem(last=False)
        self._counted[count.identity] = (now, lag, count.state.pending)
        self._counted.move_to_end(count.identity)


@dataclass
class StreamCount:
    """A stream whose undelivered entries have to be counted.

    Delivered and undelivered entries are read in step, and the side that ends first decides.
    """

    measured: MeasuredTrigger
    key: str
    group: str
    stream: StreamState
    state: GroupState
    limit: int
    lag: Lag | None = None
    error: SourceError | None = None
    _bytes: int = 0
    _undelivered: int = 0
    _delivered: int = 0
    _page_size: int = 0
    _undelivered_from: EntryId = field(init=False)
    _delivered_from: EntryId = field(init=False)

    def __post_init__(self) -> None:
        self._undelivered_from = self.state.last_delivered.next()
        self._delivered_from = EntryId(0, 0)

    @property
    def identity(self) -> tuple[str, str, int]:
        return self.key, self.group, self.limit

    @property
    def done(self) -> bool:
        return self.lag is not None or self.error is not None

    @property
    def long(self) -> bool:
        """Whether the count was too expensive to repeat at once."""
        return max(self._undelivered, self._delivered) > STEP or self._bytes > LONG_BYTES

    def commands(self, step_bytes: int) -> list[tuple[str, ...]]:
        """Return the next step: a page of undelivered and one of delivered entries, with about `step_bytes` in all."""
        self._page_size = self._next_page_size(step_bytes)
        count = str(self._page_size)
        return [
            ("XRANGE", self.key, str(self._undelivered_from), "+", "COUNT", count),
            ("XRANGE", self.key, str(self._delivered_from), str(self.state.last_delivered), "COUNT", count),
        ]

    def _next_page_size(self, step_bytes: int) -> int:
        if self._page_size == 0:
            return min(FIRST_STEP, STEP)
        entry_bytes = max(1, self._bytes // (self._undelivered + self._delivered))
        return max(1, min(STEP, self._page_size * 10, step_bytes // (2 * entry_bytes)))

    def take(self, pages: list[Any]) -> None:
        """Add the entries of a step. The lag is known when one side has ended, or at the limit."""
        error = first_error(pages)
        if error is not None:
            self.error = translate(error, f"counting entries of stream {self.key!r}")
            return
        undelivered, delivered = pages
        self._bytes += sum(len(part) for page in pages for _, fields in page for part in fields or ())
        self._undelivered += len(undelivered)
        self._delivered += len(delivered)
        if len(undelivered) < self._page_size:
            self.lag = Lag(self._undelivered, "counted")
        elif len(delivered) < self._page_size:
            self.lag = Lag(max(self.stream.length - self._delivered, 0), "counted")
        elif self._undelivered >= self.limit:
            self.lag = Lag(self.limit, "counted", capped=self.limit != self.state.lag)
        else:
            self._undelivered_from = EntryId.parse(undelivered[-1][0]).next()
            self._delivered_from = EntryId.parse(delivered[-1][0]).next()

    def give_up(self) -> None:
        """Stop for lack of time. What was counted is a lower bound."""
        self.lag = Lag(self._undelivered, "counted", capped=True)

    def result(self) -> KeyBacklog | SourceError:
        """Return the backlog. Entries added or trimmed since the length was read make no lag that exceeds it."""
        lag = self.lag
        if lag is not None and lag.entries > self.stream.length:
            lag = replace(lag, entries=self.stream.length)
        return self.error or KeyBacklog(self.key, self.stream.length, pending=self.state.pending, lag=lag)


async def count_all(client: Client, counts: list[StreamCount], cache: CountCache) -> None:
    """Count in steps, each one round trip for all streams. No step starts after COUNT_SECONDS."""
    until = time.monotonic() + COUNT_SECONDS
    left = counts
    while left:
        commands = [(count.key, count.commands(STEP_BYTES // len(left))) for count in left]
        for count, pages in zip(
            left, await client.transactions(commands, doing="counting undelivered entries"), strict=True
        ):
            count.take(pages)
        left = [count for count in left if not count.done]
        if time.monotonic() > until:
            for count in left:
                count.give_up()
            break
        await asyncio.sleep(0)  # parsing pages takes CPU time: other tasks run in between
    for count in counts:
        if count.long and count.lag is not None:
            cache.keep(count, count.lag)


def first_error(reply: list[Any]) -> Exception | None:
    """Return the first error in a reply, or None."""
    return next((part for part in reply if isinstance(part, Exception)), None)
