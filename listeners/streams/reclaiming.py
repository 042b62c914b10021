"""Finds pending entries whose lease is over, and claims them: those of dead instances, and those of other programs."""

import asyncio
import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from listeners.functions.entries import Entry
from listeners.keys import is_alone_consumer, is_consumer_name, is_waiting_consumer
from listeners.redis.entry_id import EntryId
from listeners.redis.server_info import ServerInfo
from listeners.runtime.clock import boot_seconds, lease_end
from listeners.streams.claims import Overdue
from listeners.streams.consumer import Consumer
from listeners.text import decode
from listeners.tracking.armed import Armed
from listeners.tracking.lookout import Lookout

__all__ = ["QUIET_SECONDS", "Reclaiming"]

#: How many pending entries are read in one step.
SCAN_PAGE = 100
#: For how long a stream in which nothing is pending is not read again, unless an entry is added.
QUIET_SECONDS = 50.0
#: How many overdue entries are remembered until they are claimed, and how many whose idle time may stand still.
MAX_REMEMBERED = 1000
#: How often all pending entries are read for idle times that stand still, per lease, and how many readings establish
#: that: a renewal may coincide with one of them.
READINGS_PER_LEASE = 10
MIN_READINGS = 3


class IdleReading(NamedTuple):
    """An entry whose idle time has been 0 since `since` (boot_seconds), in this many readings."""

    consumer: str
    deliveries: int
    since: float
    readings: int


class Reclaiming:
    """Finds entries of one trigger whose lease is over.

    One that has lapsed without an outcome is a suspect. Others are claimed together: an entry that waited for a retry
    or was released, with its delivery count, and an entry of another program, whose count starts again.

    `suspects` is set while there may be a suspect. `lookout` tells whether anything can have been added to the streams.
    """

    def __init__(self, consumer: Consumer, lookout: Lookout) -> None:
        self.suspects = asyncio.Event()
        self._consumer = consumer
        self._lookout = lookout
        #: The streams in which nothing was pending: the keys that were armed then, and until when this is relied on.
        self._quiet: dict[str, tuple[Armed, float]] = {}
        self._ordinary: dict[tuple[str, str], Overdue] = {}
        self._suspects: dict[tuple[str, str], Overdue] = {}
        #: Where the scan of each stream continues, and the one for idle times.
        self._cursors: dict[str, str] = {}
        self._idle_cursors: dict[str, str] = {}
        #: Idle times of 0, by stream and ID: of the current scan, and of the previous complete one.
        self._current: dict[str, dict[str, IdleReading]] = {}
        self._previous: dict[str, dict[str, IdleReading]] = {}
        self._read_idle_at: dict[str, float] = {}

    def ids(self, key: str) -> set[str]:
        """Return the IDs of the entries found in one stream."""
        return {entry_id for found in (self._ordinary, self._suspects) for of_key, entry_id in found if of_key == key}

    def has_ordinary(self) -> bool:
        """Return whether an entry that is no suspect may be claimed."""
        return self._first(self._ordinary) is not None

    def is_quiet(self, key: str) -> bool:
        """Return whether nothing was pending in a stream, and nothing can have become pending since."""
        armed, until = self._quiet.get(key, (None, 0.0))
        return armed is not None and armed is self._lookout.resting and time.monotonic() < until

    async def scan(self, key: str, server: ServerInfo, held: Collection[str]) -> None:
        """Read a page of a stream's overdue entries, except those that this process holds."""
        armed = self._lookout.resting
        if armed is not None and not await self._consumer.count_pending(key):
            self._quiet[key] = armed, time.monotonic() + QUIET_SECONDS
            return
        idle = ("IDLE", self._consumer.lease_ms) if server.supports(6, 2) else ()
        for row in await self._page(key, self._cursors, idle):
            if row[2] >= self._consumer.lease_ms:
                self._remember(_overdue(key, row), held)
        # XPENDING IDLE does not return entries whose time lies in the future, because the server's clock stepped back.
        if boot_seconds() >= self._read_idle_at.get(key, 0.0):
            await self._read_idle_times(key, held)

    async def take_ordinary(self, count: int) -> list[Entry]:
        """Claim up to `count` entries of one stream. May return none although there are some."""
        first = self._first(self._ordinary)
        if first is None:
            return []
        key = first.key
        overdue = [entry for entry in self._ordinary.values() if entry.key == key][:count]
        deliveries = {entry: entry.deliveries if is_consumer_name(entry.consumer) else 1 for entry in overdue}
        sent_at = boot_seconds()
        with self._consumer.unreachable.passing_over(key):
            claimed = await self._claim(self._ordinary, key, deliveries)
            ids = {entry.id: number for entry, number in deliveries.items() if entry.id in claimed}
            entries = await self._consumer.with_content(key, ids, sent_at)
            for entry in overdue:
                self._ordinary.pop((key, entry.id), None)
            return entries
        return []

    async def take_suspect(self) -> Entry | None:
        """Claim one suspect without its content; None if there is none."""
        while (overdue := self._first(self._suspects)) is not None:
            sent_at = boot_seconds()
            with self._consumer.unreachable.passing_over(overdue.key):
                claimed = await self._claim(self._suspects, overdue.key, {overdue: overdue.deliveries})
                self._suspects.pop((overdue.key, overdue.id), None)
                if claimed:
                    return Entry(
                        overdue.key,
                        id=overdue.id,
                        deliveries=overdue.deliveries,
                        suspect=True,
                        died_alone=is_alone_consumer(overdue.consumer),
                        lease_ends_at=lease_end(sent_at, self._consumer.lease_ms / 1000),
                    )
        self.suspects.clear()  # the next scan sets it for those in streams that are left out now
        return None

    def forget(self, key: str) -> None:
        """Forget what was found in one stream, which Redis refuses. A later scan finds it again."""
        for remembered in (self._ordinary, self._suspects):
            for found in [found for found in remembered if found[0] == key]:
                del remembered[found]

    def _first(self, remembered: Mapping[tuple[str, str], Overdue]) -> Overdue | None:
        """Return the first of those in streams that are not left out."""
        leaves_out = self._consumer.unreachable.leaves_out
        return next((overdue for overdue in remembered.values() if not leaves_out(overdue.key)), None)

    async def _claim(
        self, remembered: dict[tuple[str, str], Overdue], key: str, deliveries: Mapping[Overdue, int]
    ) -> set[str]:
        """Claim entries, given their new delivery counts. Return the IDs of those that this instance has now.

        They stay remembered, so that this can be repeated after an error.
        """
        for entry in deliveries:
            remembered[key, entry.id] = entry._replace(tried=True)
        return (await self._consumer.claim(key, deliveries)).ids

    def _remember(self, overdue: Overdue, held: Collection[str]) -> None:
        if overdue.id in held:
            return
        is_suspect = is_consumer_name(overdue.consumer) and not is_waiting_consumer(overdue.consumer)
        remembered = self._suspects if is_suspect else self._ordinary
        if len(remembered) < MAX_REMEMBERED:
            remembered[overdue.key, overdue.id] = overdue
        if is_suspect:
            self.suspects.set()

    async def _read_idle_times(self, key: str, held: Collection[str]) -> None:
        """Find entries whose idle time has stood still for a lease.

        After the server's clock stepped back, Redis reports 0 until the clock has caught up. An instance that is alive
        renews its entries, which sets their time by the new clock.
        """
        current, previous = self._current.setdefault(key, {}), self._previous.get(key, {})
        now = boot_seconds()
        for row in await self._page(key, self._idle_cursors, ()):
            overdue = _overdue(key, row)
            if row[2] > 0 or overdue.id in held or len(current) >= MAX_REMEMBERED:
                continue
            before = previous.get(overdue.id)
            if before is None or (before.consumer, before.deliveries) != (overdue.consumer, overdue.deliveries):
                before = IdleReading(overdue.consumer, overdue.deliveries, now, 0)
            reading = before._replace(readings=before.readings + 1)
            current[overdue.id] = reading
            if reading.readings >= MIN_READINGS and now - reading.since >= self._consumer.lease_ms / 1000:
                self._remember(overdue._replace(stopped=True), held)
        if self._idle_cursors[key] == "-":
            self._previous[key] = self._current.pop(key)
            self._read_idle_at[key] = now + self._consumer.lease_ms / 1000 / READINGS_PER_LEASE

    async def _page(self, key: str, cursors: dict[str, str], options: tuple[Any, ...]) -> list[Any]:
        """Read the next page of pending entries: ID, consumer, idle time in ms and delivery count of each."""
        rows = await self._consumer.pending(key, *options, cursors.get(key, "-"), "+", SCAN_PAGE)
        full = len(rows) == SCAN_PAGE
        cursors[key] = str(EntryId.parse(rows[-1][0]).next()) if full else "-"
        return rows


def _overdue(key: str, row: Any) -> Overdue:
    entry_id, consumer, _, deliveries = row
    return Overdue(key, decode(entry_id), decode(consumer), deliveries)
