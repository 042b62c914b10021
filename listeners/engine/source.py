"""The protocols between a listener and the source of its entries."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from listeners.engine.settlement import Refusal, Settlement
from listeners.functions.entries import Entry

__all__ = ["Description", "LeaseRenewal", "LeasedSource", "Source"]


@dataclass(frozen=True, slots=True)
class Description:
    """How a trigger is read, in one line.

    `problem` is what is wrong or unknown, with the fix, and `level` how bad it is: ERROR if nothing will arrive,
    WARNING if not everything will, and INFO if that is not known.
    """

    text: str
    problem: str = ""
    level: int = logging.INFO

    def __str__(self) -> str:
        if not self.problem:
            return self.text
        return f"{self.text}; {'WARNING: ' if self.level > logging.INFO else ''}{self.problem}"


class Source(Protocol):
    """Reads one trigger's entries from Redis and settles them.

    Only those of a LeasedSource are settled if their calls succeeded.

    Every method may raise SourceError; the listener then waits and retries.
    """

    async def describe(self) -> Description:
        """Connect to Redis, change nothing, and describe how the trigger will be read."""
        ...

    async def open(self) -> None:
        """Connect to Redis and prepare for reading. Called before all methods below."""
        ...

    async def maintain(self) -> None:
        """Run one round of background work (reclaiming, holding a lease), and pause until the next one is due."""
        ...

    async def take(self, count: int, max_bytes: int) -> list[Entry]:
        """Take about `count` entries, of about `max_bytes` in all but at least one, if the size is known beforehand.

        Wait for the first, but after a failure look at least once before. May return none. No suspect is among them.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[Refusal]:
        """Settle entries in Redis according to their outcome, and return what Redis refused for reasons of the entry,
        or of one key: in a cluster, its node may be down.

        A refusal does not keep the others from being settled. If Redis cannot be reached, it raises SourceError, and
        the settlements are passed again: settling an entry again has no effect.
        """
        ...

    def may_start(self, entry: Entry) -> bool:
        """Return whether a call with this entry may start now: its lease has not expired."""
        ...

    def stop_waiting(self) -> None:
        """Make a waiting take() return soon, with what it has."""
        ...

    async def stop(self, seconds: float) -> list[Entry]:
        """Take nothing new from now on. Return the entries that were already read and cannot be released.

        Takes less than `seconds`.
        """
        ...

    async def release(self, entries: Sequence[Entry]) -> None:
        """Make unfinished entries available to others at once. Their delivery does not count.

        Entries queued in the source are released as well, without being passed in.
        """
        ...

    async def close(self) -> None:
        """Release everything held in Redis. Never raises SourceError."""
        ...


class LeaseRenewal(Protocol):
    """Renews leases, on the event loop of another thread."""

    async def renew(self, entries: Collection[Entry]) -> None:
        """Extend the leases of entries in progress, and of those that the source keeps, queued or for a retry.

        `entries` may change on another thread. They are read last, as those that the source keeps only move on to them.
        Sets `lease_ends_at`: 0 for an entry that is no longer held.
        """
        ...


@runtime_checkable
class LeasedSource(Source, Protocol):
    """A source whose entries are leased: an entry whose lease ran out without an outcome comes back as a suspect.

    `suspects` is set while Redis may have a suspect, and cleared by take_suspect() once there is none.
    """

    suspects: asyncio.Event

    def end_wait(self) -> None:
        """Make a take() that waits for entries return without any. One that is reading them returns what it finds."""
        ...

    async def settle_and_take(self, succeeded: Sequence[Entry], count: int, max_bytes: int) -> list[Entry]:
        """Settle entries whose calls succeeded and take up to `count` available ones, in one step if possible.

        Never waits for entries, and may return none although some are available. If it raises, nothing was taken, and
        it is unknown which entries were settled.
        """
        ...

    async def take_suspect(self) -> Entry | None:
        """Lease one suspect, without its content and without counting anything; None if there is none."""
        ...

    async def begin(self, entry: Entry, *, counts: bool) -> bool:
        """Tell Redis that the call with a suspect begins, renew its lease, and fetch its content.

        With `counts`, the death of the process counts as a call from now on. Return False if the entry is no longer
        held or no longer exists; it must not be called then, nor settled.
        """
        ...

    def renewal(self) -> LeaseRenewal:
        """Return what renews the leases of this source's entries, to be used on any one event loop."""
        ...
