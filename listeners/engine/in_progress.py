"""Tracks the entries in progress: taken from Redis and not settled there yet."""

import asyncio
import time
from collections.abc import Collection, Iterable, Sequence

from listeners.engine.failures import FailureLog
from listeners.engine.metrics import FunctionMetrics
from listeners.engine.settlement import Outcome, Refusal, Settlement
from listeners.functions.entries import Entry
from listeners.runtime.tasks import wait_for_event

__all__ = ["InProgress"]


class InProgress:
    """Holds at most `capacity` entries, of at most `max_bytes` in all; a single entry may be larger. As many again may
    wait to be settled on nodes of a cluster that are down, so that these do not keep the function from the others.

    More are taken once there is room for a call's: `batch_size`.

    `settles_successes`: whether entries stay until Redis knows that their calls succeeded, or leave at once.
    An entry passes through it in one direction:

        add -> (call) -> succeed or finish -> pop_succeeded or pop_finished -> (Redis) -> remove or settled
                                                                            -> refused -> pop_refused -> (Redis) ...
    """

    def __init__(
        self,
        capacity: int,
        max_bytes: int,
        *,
        batch_size: int = 1,
        settles_successes: bool,
        metrics: FunctionMetrics,
        failures: FailureLog,
    ) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        #: How many may be in progress when more are taken.
        self._most_beside = capacity - batch_size
        self._settles_successes = settles_successes
        self._metrics = metrics
        self._failures = failures
        #: All entries in progress and their sizes.
        self._sizes: dict[Entry, int] = {}
        self._bytes = 0
        metrics.in_progress.set_function(self._sizes.__len__)
        #: How many entries a running exchange may return.
        self._reserved = 0
        self.nothing_reserved = asyncio.Event()
        self.nothing_reserved.set()
        #: Outcomes that are not settled in Redis yet: entries whose calls succeeded, all others, and those refused.
        self._succeeded: list[Entry] = []
        self._finished: list[Settlement] = []
        self._refused: dict[Entry, Refusal] = {}
        self.something_finished = asyncio.Event()
        self.something_refused = asyncio.Event()
        #: Events to set when an entry leaves or is refused.
        self._awaited: dict[Entry, asyncio.Event] = {}

    @property
    def entries(self) -> Collection[Entry]:
        """All entries in progress, including those that have finished and are not settled."""
        return self._sizes.keys()

    def unfinished(self) -> Collection[Entry]:
        """Return the entries whose outcome is not known."""
        finished = {settlement.entry for settlement in self._finished}.union(self._succeeded, self._refused)
        return [entry for entry in self._sizes if entry not in finished]

    def size_of(self, entry: Entry) -> int:
        """Return how many bytes of content an entry in progress has."""
        size = self._sizes.get(entry)
        return entry.size if size is None else size

    def free_slots(self, room: int = 0) -> int:
        """Return how many entries may be taken: none during an exchange, which may return as many bytes as are free.

        `room`: how many may join a batch that is in progress already.
        """
        if self._reserved or self.free_bytes() == 0:
            return 0
        if room:
            return min(room, self._slots_beside(len(self._sizes)))
        if len(self._sizes) - len(self._refused) > self._most_beside:
            return 0
        return self._slots_beside(len(self._sizes))

    def free_slots_after_settling(self) -> int:
        """Return how many entries may be taken in the step that settles the succeeded ones; 0 if none succeeded.

        While a node of a cluster is down, others are settled without it, so not in such a step.
        """
        left = len(self._sizes) - len(self._succeeded)
        if not self._succeeded or left > self._most_beside or self.free_bytes() == 0:
            return 0
        if self._refused and self._unreachable():
            return 0
        return self._slots_beside(left)

    def _slots_beside(self, number: int) -> int:
        """Return how many slots are free if `number` entries are in progress."""
        return max(0, self._capacity - number + (min(self._unreachable(), self._capacity) if self._refused else 0))

    def _unreachable(self) -> int:
        """Return how many entries wait to be settled on a node that is down."""
        return sum([refusal.is_unreachable for refusal in self._refused.values()])

    def free_bytes(self) -> int:
        """Return how many bytes of content may be taken. What Redis refuses to settle must not stop the function."""
        free = self._max_bytes - self._bytes
        if self._refused:
            free += sum([self._sizes.get(entry, 0) for entry in self._refused])
        return max(0, free)

    def reserve(self, count: int) -> None:
        """Reserve slots for what an exchange may return; 0 once it is over."""
        self._reserved = count
        (self.nothing_reserved.clear if count else self.nothing_reserved.set)()

    def add(self, entries: Iterable[Entry]) -> int:
        """Add entries that were taken, or entries that have got their content. Return the size of their content."""
        sizes = {entry: entry.size if entry.payload is None else len(entry.payload) for entry in entries}
        added = sum(sizes.values())
        if not self._sizes.keys().isdisjoint(sizes):
            self._bytes -= sum(self._sizes.get(entry, 0) for entry in sizes)
        self._bytes += added
        self._sizes.update(sizes)
        return added

    def succeed(self, entries: Sequence[Entry]) -> None:
        """Record entries whose calls succeeded."""
        if not self._settles_successes:
            self.remove(entries, Outcome.SUCCEEDED)
            return
        if not self._succeeded:
            self.something_finished.set()
        self._succeeded += entries

    def finish(self, settlements: Sequence[Settlement]) -> None:
        """Record entries with any other outcome."""
        self._finished += settlements
        self.something_finished.set()

    def refuse(self, refusals: Iterable[Refusal]) -> None:
        """Record settlements that Redis refused; they are tried again apart from the others."""
        for refusal in refusals:
            self._refused[refusal.settlement.entry] = refusal
            self._notify(refusal.settlement.entry)
            self.something_refused.set()

    @property
    def has_finished(self) -> bool:
        """Whether there is something to settle now."""
        return bool(self._succeeded or self._finished)

    def pop_succeeded(self) -> list[Entry]:
        """Return the succeeded entries to settle now. If settling fails, pass them to succeed() again."""
        succeeded, self._succeeded = self._succeeded, []
        return succeeded

    def pop_finished(self) -> list[Settlement]:
        """Return everything to settle now, successes first. If settling fails, pass it to finish() again."""
        finished = [Settlement(entry, Outcome.SUCCEEDED) for entry in self.pop_succeeded()] + self._finished
        self._finished = []
        return finished

    def pop_refused(self) -> list[Refusal]:
        """Return what was refused, to settle it again."""
        refused = list(self._refused.values())
        self._refused = {}
        return refused

    def settled(self, settlements: Iterable[Settlement]) -> None:
        """Remove entries that are settled in Redis, and log those that failed."""
        failed = []
        for settlement in settlements:
            self.remove([settlement.entry], settlement.outcome)
            if settlement.failure is not None:
                failed.append(settlement)
        if failed:
            self._failures.log(failed)

    def remove(self, entries: Collection[Entry], outcome: Outcome | None) -> None:
        """Remove entries that share an outcome; None means that they were released."""
        self._bytes -= sum([self._sizes.pop(entry, 0) for entry in entries])
        for entry in entries if self._awaited else ():
            self._notify(entry)
        if outcome is not None:
            self._metrics.settled(outcome, len(entries))

    async def wait_until_settled(self, entry: Entry, seconds: float) -> None:
        """Wait until an entry is settled or released, or Redis has refused to settle it, for at most `seconds`."""
        if entry in self._sizes and entry not in self._refused:
            await wait_for_event(self._awaited.setdefault(entry, asyncio.Event()), seconds)
            self._awaited.pop(entry, None)

    def _notify(self, entry: Entry) -> None:
        if (event := self._awaited.get(entry)) is not None:
            event.set()

    def count_taken(self, entries: Sequence[Entry], redelivered: int) -> None:
        """Count entries that were taken, and measure how long stream entries waited."""
        self._metrics.received.inc(len(entries))
        if redelivered:
            self._metrics.redelivered.inc(redelivered)
        if entries and entries[0].id is not None:
            now = time.time()
            self._metrics.wait.observe_all(
                [max(0.0, now - int((entry.id or "0").partition("-")[0]) / 1000) for entry in entries]
            )
