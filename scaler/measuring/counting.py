"""Counting: moved out of another file; say what belongs here."""

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

__all__ = ["CountMemory", "StreamCount", "count_all", "first_error"]

#: Entries read in one counting step (XRANGE COUNT): few at first, as one end is often near, and then up to STEP.
FIRST_STEP = 10
STEP = 1000
#: XRANGE brings the payloads along: of big ones fewer are read, so that the steps of all streams bring about so much.
STEP_BYTES = 2_000_000
#: What counting may keep the other triggers of a round waiting for; then what was counted is told, as capped.
COUNT_SECONDS = 0.5
#: A count that read more than STEP entries, or so many bytes, is made at most so often for one stream.
LONG_BYTES = 100_000
COUNT_EVERY_SECONDS = 5.0


class CountMemory:
    """Remembers long counts for a moment, so that one stream is not counted again at once."""

    def __init__(self) -> None:
        self._counted: OrderedDict[tuple[str, str, int], tuple[float, Lag, int]] = OrderedDict()

    def recall(self, count: "StreamCount") -> Lag | None:
        """A count that is young enough to be used again, without what became pending since: it is not waiting twice."""
        at, lag, pending = self._counted.get(count.identity, (0.0, None, 0))
        if lag is None or time.monotonic() - at >= COUNT_EVERY_SECONDS:
            return None
        return replace(lag, entries=max(lag.entries - max(count.state.pending - pending, 0), 1))

    def keep(self, count: "StreamCount", lag: Lag) -> None:
        """Remember a long count; those that are too old to be used are forgotten."""
        now = time.monotonic()
        while self._counted and now - next(iter(self._counted.values()))[0] >= COUNT_EVERY_SECONDS:
            self._counted.popitem(last=False)
        self._counted[count.identity] = (now, lag, count.state.pending)
        self._counted.move_to_end(count.identity)


@dataclass
class StreamCount:
    """A stream whose undelivered entries have to be counted: from both ends, and the shorter side decides."""

    measured: MeasuredTrigger
    key: str
    group: str
    stream: StreamState
    state: GroupState
    limit: int
    lag: Lag | None = None
    error: SourceError | None = None
    _bytes: int = 0
    _after: int = 0
    _until: int = 0
    _page: int = 0
    _after_from: EntryId = field(init=False)
    _until_from: EntryId = field(init=False)

    def __post_init__(self) -> None:
        self._after_from = self.state.last_delivered.next()
        self._until_from = EntryId(0, 0)

    @property
    def identity(self) -> tuple[str, str, int]:
        return self.key, self.group, self.limit

    @property
    def done(self) -> bool:
        return self.lag is not None or self.error is not None

    @property
    def long(self) -> bool:
        """Whether it cost so much that it should not be made again at once."""
        return max(self._after, self._until) > STEP or self._bytes > LONG_BYTES

    def commands(self, step_bytes: int) -> list[tuple[str, ...]]:
        """The next step on the side after the last delivered entry, and on the side up to it: of some `step_bytes`."""
        self._page = self._page_entries(step_bytes)
        count = str(self._page)
        return [
            ("XRANGE", self.key, str(self._after_from), "+", "COUNT", count),
            ("XRANGE", self.key, str(self._until_from), str(self.state.last_delivered), "COUNT", count),
        ]

    def _page_entries(self, step_bytes: int) -> int:
        if self._page == 0:
            return min(FIRST_STEP, STEP)
        entry_bytes = max(1, self._bytes // (self._after + self._until))
        return max(1, min(STEP, self._page * 10, step_bytes // (2 * entry_bytes)))

    def take(self, pages: list[Any]) -> None:
        """Add a step's entries; the lag is known when one side has come to its end."""
        refused = first_error(pages)
        if refused is not None:
            self.error = translate(refused, f"counting entries of stream {self.key!r}")
            return
        after, until = pages
        self._bytes += sum(len(part) for page in pages for _, fields in page for part in fields or ())
        self._after += len(after)
        self._until += len(until)
        if len(after) < self._page:
            self.lag = Lag(self._after, "counted")
        elif len(until) < self._page:
            self.lag = Lag(max(self.stream.length - self._until, 0), "counted")
        elif self._after >= self.limit:
            self.lag = Lag(self.limit, "counted", capped=self.limit != self.state.lag)
        else:
            self._after_from = EntryId.parse(after[-1][0]).next()
            self._until_from = EntryId.parse(until[-1][0]).next()

    def give_up(self) -> None:
        """There is no more time: at least so many were found."""
        self.lag = Lag(self._after, "counted", capped=True)

    def result(self) -> KeyBacklog | SourceError:
        return self.error or KeyBacklog(self.key, self.stream.length, pending=self.state.pending, lag=self.lag)


async def count_all(client: Client, counts: list[StreamCount], memory: CountMemory) -> None:
    """Count step by step, the steps of all streams in one round trip each, for COUNT_SECONDS at most."""
    until = time.monotonic() + COUNT_SECONDS
    left = counts
    while left:
        asked = [(count.key, count.commands(STEP_BYTES // len(left))) for count in left]
        for count, pages in zip(
            left, await client.transactions(asked, doing="counting undelivered entries"), strict=True
        ):
            count.take(pages)
        left = [count for count in left if not count.done]
        if time.monotonic() > until:
            for count in left:
                count.give_up()
            break
        await asyncio.sleep(0)  # parsing pages is work: let others run between them
    for count in counts:
        if count.long and count.lag is not None:
            memory.keep(count, count.lag)


def first_error(reply: list[Any]) -> Exception | None:
    """The first error among the answers."""
    return next((answer for answer in reply if isinstance(answer, Exception)), None)
