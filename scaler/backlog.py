"""Measures backlogs: every trigger of one Redis in one round trip, and counting where Redis's numbers do not do."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from listeners.client import Client
from listeners.errors import SourceError
from listeners.messages import text
from listeners.server import Server
from listeners.taking import inflight_key, keys_read
from listeners.translation import translate
from listeners.triggers import ListTrigger, StreamTrigger
from scaler.lag import EntryId, GroupState, Lag, StreamState, known_lag

__all__ = ["Backlog", "CountMemory", "KeyBacklog", "Subject", "commands_per_sample", "measure"]

#: Entries read in one counting step (XRANGE COUNT): few at first, as one end is often near, and then up to STEP.
FIRST_STEP = 10
STEP = 1000
#: XRANGE brings the payloads along: of big ones fewer are read, so that the steps of all streams bring about so much.
STEP_BYTES = 2_000_000
#: What counting may keep the other triggers of a round waiting for; then what was counted is told, as capped.
COUNT_SECONDS = 0.5
#: Counting never ends before so many entries.
LEAST_COUNT_LIMIT = 10_000
#: A count that read more than STEP entries, or so many bytes, is made at most so often for one stream.
LONG_BYTES = 100_000
COUNT_EVERY_SECONDS = 5.0


@dataclass(frozen=True)
class Subject:
    """What is measured: a trigger, and the instances that are enough to know of (they bound counting)."""

    trigger: ListTrigger | StreamTrigger
    max_instances: int = 100

    @property
    def count_limit(self) -> int:
        """How far undelivered entries are counted."""
        return max(LEAST_COUNT_LIMIT, self.max_instances * self.trigger.messages_per_worker)


@dataclass(frozen=True)
class KeyBacklog:
    """The backlog of one key: a list's `length` and `in_flight`, or a stream's `length`, `pending` and `lag`."""

    key: str
    length: int
    in_flight: int = 0
    pending: int = 0
    lag: Lag | None = None

    @property
    def entries(self) -> int:
        """Entries not finished yet."""
        return self.length + self.in_flight if self.lag is None else self.pending + self.lag.entries


@dataclass(frozen=True)
class Backlog:
    """The backlog of a trigger, key by key."""

    keys: tuple[KeyBacklog, ...]

    @property
    def entries(self) -> int:
        """Entries not finished yet, over all keys."""
        return sum(key.entries for key in self.keys)

    @property
    def capped(self) -> bool:
        """Whether counting stopped at its limit somewhere: there are at least so many entries."""
        return any(key.lag is not None and key.lag.capped for key in self.keys)


class CountMemory:
    """Remembers long counts for a moment, so that one stream is not counted again at once."""

    def __init__(self) -> None:
        self._counted: OrderedDict[tuple[str, str, int], tuple[float, Lag, int]] = OrderedDict()

    def recall(self, count: "_Count") -> Lag | None:
        """A count that is young enough to be used again, without what became pending since: it is not waiting twice."""
        at, lag, pending = self._counted.get(count.identity, (0.0, None, 0))
        if lag is None or time.monotonic() - at >= COUNT_EVERY_SECONDS:
            return None
        return replace(lag, entries=max(lag.entries - max(count.state.pending - pending, 0), 1))

    def keep(self, count: "_Count", lag: Lag) -> None:
        """Remember a long count; those that are too old to be used are forgotten."""
        now = time.monotonic()
        while self._counted and now - next(iter(self._counted.values()))[0] >= COUNT_EVERY_SECONDS:
            self._counted.popitem(last=False)
        self._counted[count.identity] = (now, lag, count.state.pending)
        self._counted.move_to_end(count.identity)


async def measure(
    client: Client, server: Server, subjects: Iterable[Subject], memory: CountMemory
) -> dict[Subject, Backlog | SourceError]:
    """Measure all subjects of one Redis in one pipelined round trip; more only where entries must be counted.

    A subject that cannot be measured has its error as its result: it says nothing about the others. Raises
    SourceError if Redis could not be asked at all.
    """
    wanted = [(subject, key) for subject in dict.fromkeys(subjects) for key in _keys(subject.trigger, server)]
    asked = [(key, _commands(subject.trigger, key)) for subject, key in wanted]
    replies = await client.grouped(asked, doing="measuring")
    found: dict[tuple[Subject, str], KeyBacklog | SourceError] = {}
    to_count: list[_Count] = []
    for (subject, key), reply in zip(wanted, replies, strict=True):
        try:
            result = _read(subject, key, reply, server)
        except SourceError as error:
            found[subject, key] = error
            continue
        if isinstance(result, _Count):
            result.lag = memory.recall(result)
            to_count.append(result)
        else:
            found[subject, key] = result
    await _count_all(client, [count for count in to_count if count.lag is None], memory)
    found.update({(count.subject, count.key): count.result() for count in to_count})
    return {subject: _joined(subject, server, found) for subject in dict.fromkeys(subjects)}


def commands_per_sample(subject: Subject) -> int:
    """The commands that Redis runs for one sample, those that hold each key's together (MULTI, EXEC) included.

    Without those of counting, which few streams need, and those seldom.
    """
    return sum(2 + len(_commands(subject.trigger, key)) for key in subject.trigger.keys)


def _joined(
    subject: Subject, server: Server, found: dict[tuple[Subject, str], KeyBacklog | SourceError]
) -> Backlog | SourceError:
    results = [found[subject, key] for key in _keys(subject.trigger, server)]
    error = next((result for result in results if isinstance(result, SourceError)), None)
    return error or Backlog(tuple(result for result in results if isinstance(result, KeyBacklog)))


def _keys(trigger: ListTrigger | StreamTrigger, server: Server) -> tuple[str, ...]:
    return keys_read(trigger, server) if isinstance(trigger, ListTrigger) else trigger.keys


def _commands(trigger: ListTrigger | StreamTrigger, key: str) -> list[tuple[str, ...]]:
    """What is asked of one key, as one MULTI: between two single commands an entry could move unseen."""
    if isinstance(trigger, StreamTrigger):
        return [("XINFO", "GROUPS", key), ("XINFO", "STREAM", key)]
    return [("LLEN", key), ("ZCARD", inflight_key(key))]


@dataclass
class _Count:
    """A stream whose undelivered entries have to be counted: from both ends, and the shorter side decides."""

    subject: Subject
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
    _after_from: EntryId = (0, 0)
    _until_from: EntryId = (0, 0)

    def __post_init__(self) -> None:
        self._after_from = _next(self.state.last_delivered)

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
            ("XRANGE", self.key, _shown(self._after_from), "+", "COUNT", count),
            ("XRANGE", self.key, _shown(self._until_from), _shown(self.state.last_delivered), "COUNT", count),
        ]

    def _page_entries(self, step_bytes: int) -> int:
        if self._page == 0:
            return min(FIRST_STEP, STEP)
        entry_bytes = max(1, self._bytes // (self._after + self._until))
        return max(1, min(STEP, self._page * 10, step_bytes // (2 * entry_bytes)))

    def take(self, pages: list[Any]) -> None:
        """Add a step's entries; the lag is known when one side has come to its end."""
        refused = _refusal(pages)
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
            self._after_from = _next(_last(after))
            self._until_from = _next(_last(until))

    def give_up(self) -> None:
        """There is no more time: at least so many were found."""
        self.lag = Lag(self._after, "counted", capped=True)

    def result(self) -> KeyBacklog | SourceError:
        return self.error or KeyBacklog(self.key, self.stream.length, pending=self.state.pending, lag=self.lag)


def _read(subject: Subject, key: str, reply: list[Any], server: Server) -> KeyBacklog | _Count:
    """Read one key's reply. Raises SourceError for what Redis refused: a wrong type, a denied command."""
    refused = _refusal(reply)
    if isinstance(subject.trigger, ListTrigger):
        if refused is not None:
            raise translate(refused, f"measuring list {key!r}")
        return KeyBacklog(key, length=reply[0], in_flight=reply[1])
    if refused is not None:
        if "no such key" in str(refused):
            return KeyBacklog(key, 0, lag=known_lag(None, None, server))
        raise translate(refused, f"measuring stream {key!r}")
    groups = {text(group[b"name"]): GroupState.of(group) for group in map(_pairs, reply[0])}
    stream = StreamState.of(_pairs(reply[1]))
    group = groups.get(subject.trigger.consumer_group)
    lag = known_lag(stream, group, server)
    if lag is not None or group is None:
        return KeyBacklog(key, stream.length, pending=group.pending if group else 0, lag=lag)
    limit = subject.count_limit if group.lag is None else min(subject.count_limit, group.lag)
    return _Count(subject, key, subject.trigger.consumer_group, stream, group, limit)


async def _count_all(client: Client, counts: list[_Count], memory: CountMemory) -> None:
    """Count step by step, the steps of all streams in one round trip each, for COUNT_SECONDS at most."""
    until = time.monotonic() + COUNT_SECONDS
    left = counts
    while left:
        asked = [(count.key, count.commands(STEP_BYTES // len(left))) for count in left]
        for count, pages in zip(left, await client.grouped(asked, doing="counting undelivered entries"), strict=True):
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


def _refusal(reply: list[Any]) -> Exception | None:
    """The first error among the answers."""
    return next((answer for answer in reply if isinstance(answer, Exception)), None)


def _pairs(flat: list[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _next(entry: EntryId) -> EntryId:
    """The smallest ID after this one: before Redis 6.2 a range cannot exclude its start."""
    milliseconds, sequence = entry
    return (milliseconds, sequence + 1) if sequence < 2**64 - 1 else (milliseconds + 1, 0)


def _last(page: list[Any]) -> EntryId:
    milliseconds, _, sequence = text(page[-1][0]).partition("-")
    return int(milliseconds), int(sequence)


def _shown(entry: EntryId) -> str:
    return f"{entry[0]}-{entry[1]}"
