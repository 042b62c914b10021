"""Moves pending entries between consumers. Which consumer holds an entry tells its state; see `listeners.keys`."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from prometheus_client import Counter

from listeners.errors import GroupMissingError
from listeners.keys import consumer_names, is_alone_consumer
from listeners.redis.client import Client
from listeners.redis.scripts import Script, load_script
from listeners.runtime.logs import steady_logger
from listeners.text import decode

__all__ = ["Claims", "LostEntries", "Moved", "Overdue"]

log = steady_logger("triggerfish.host")

#: How many entries one run of a script covers, so that it blocks the server for a few milliseconds only.
PAGE = 150
#: How long a burst of lost entries may last before it is logged.
BURST_SECONDS = 10.0


class Moved(NamedTuple):
    """The IDs of entries that were moved, and of those that turned out to be gone from the stream."""

    ids: set[str]
    deleted: set[str]


class Overdue(NamedTuple):
    """A pending entry whose lease is over, as it was read.

    `stopped`: its idle time stood still for a whole lease. `tried`: this instance may have claimed it already.
    """

    key: str
    id: str
    consumer: str
    deliveries: int
    stopped: bool = False
    tried: bool = False


class LostEntries:
    """Entries that were deleted or trimmed before a call with them succeeded: counted, and logged once per burst."""

    def __init__(self, function_name: str, counter: Counter) -> None:
        self._function_name = function_name
        self._counter = counter
        self._burst = 0
        self._burst_ends_at = math.inf
        self._grew = False

    def add(self, number: int) -> None:
        """Count entries that are gone."""
        if not number:
            return
        self._counter.inc(number)
        if not self._burst:
            self._burst_ends_at = time.monotonic() + BURST_SECONDS
        self._burst += number
        self._grew = True

    def report(self, *, closing: bool = False) -> None:
        """Log the burst if no entry was lost since the last call, or if it lasts too long."""
        over = closing or not self._grew or time.monotonic() >= self._burst_ends_at
        self._grew = False
        if self._burst and over:
            log.warning(
                "%s: %d entries were deleted or trimmed from their stream before a call with them succeeded. "
                "Trim less, or only entries that the group has acknowledged.",
                self._function_name,
                self._burst,
            )
            self._burst = 0


class Claims:
    """Moves pending entries of one group, each checked and moved atomically. Every method may raise SourceError.

    `instance` is unique to the process. `lease_ms`: how long a consumer holds an entry without a renewal. Entries that
    turn out to be gone from their stream are added to `lost`, if it is given.
    """

    def __init__(
        self, client: Client, group: str, instance: str, lease_ms: int, lost: LostEntries | None = None
    ) -> None:
        self.lost = lost
        self.names = consumer_names(instance)
        self._client = client
        self._group = group
        self._lease_ms = lease_ms
        self._move = load_script("listeners.streams.scripts", "pending", "move")
        self._claim = load_script("listeners.streams.scripts", "pending", "claim")

    async def move(
        self, key: str, entries: Mapping[str, int | None], *, held_by: Sequence[str], to: str | None, idle_ms: int = 0
    ) -> Moved:
        """Move entries, given the new delivery count by ID (None keeps it), that are still held by these consumers.

        `to`: the consumer that gets them; None leaves each with its own, and only sets its idle time.
        """
        held = [*held_by, "", "", ""][: len(self.names)]
        steps = [(entry_id, "" if count is None else count) for entry_id, count in entries.items()]
        return await self._run(self._move, key, [*held, to or "", idle_ms], steps)

    async def claim(self, key: str, overdue: Mapping[Overdue, int]) -> Moved:
        """Claim entries of one stream that have not changed since they were read, given their new delivery counts.

        A suspect whose call had begun goes to the consumer of such entries, so that this is known if it lapses again.
        """
        steps = [
            (
                entry.id,
                entry.consumer,
                entry.deliveries,
                int(entry.stopped),
                int(entry.tried),
                self.names.alone if is_alone_consumer(entry.consumer) else self.names.taken,
                deliveries,
            )
            for entry, deliveries in overdue.items()
        ]
        return await self._run(self._claim, key, [self._lease_ms], steps)

    async def _run(self, script: Script, key: str, options: Sequence[Any], steps: Sequence[tuple[Any, ...]]) -> Moved:
        moved = Moved(set(), set())
        for at in range(0, len(steps), PAGE):
            page = [argument for step in steps[at : at + PAGE] for argument in step]
            try:
                ids, deleted = await self._client.run_script(
                    script, [key], [self._group, *options, *page], doing=f"claiming entries of stream {key!r}"
                )
            except GroupMissingError:  # without the group, nothing is pending
                continue
            moved.ids.update(map(decode, ids))
            moved.deleted.update(map(decode, deleted))
            if self.lost is not None:
                self.lost.add(len(deleted))
        return moved
