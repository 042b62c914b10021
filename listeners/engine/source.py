"""The protocol between a listener and the source of its entries."""

from collections.abc import Sequence
from typing import Protocol

from listeners.functions.entries import Entry, Settlement

__all__ = ["Source"]


class Source(Protocol):
    """Reads one trigger's entries from Redis and settles them.

    Every method may raise SourceError; the listener then waits and retries. No method waits longer than documented.
    """

    async def describe(self) -> str:
        """Connect to Redis, change nothing, and return one line that describes how the trigger will be read."""
        ...

    async def open(self) -> None:
        """Connect to Redis and prepare for reading. Called before all methods below."""
        ...

    async def maintain(self) -> None:
        """Run one round of background work (reclaiming, holding a lease), and pause until the next one is due."""
        ...

    async def take(self, count: int) -> list[Entry]:
        """Take about `count` entries. Wait for the first at most one second, or the polling interval if shorter."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Settle entries in Redis according to their outcome. Settling an entry again has no effect."""
        ...

    async def settle_and_take(self, succeeded: Sequence[Entry], count: int) -> list[Entry]:
        """Settle entries whose calls succeeded and take up to `count` available ones, in one step if possible.

        Never waits for entries, and may return none although some are available. If it raises, nothing was taken, and
        it is unknown which entries were settled.
        """
        ...

    async def renew(self, entries: Sequence[Entry]) -> None:
        """Extend the leases of entries that are still in progress."""
        ...

    def may_start(self, entry: Entry) -> bool:
        """Return whether a call with this entry may start now: its lease has not expired."""
        ...

    def stop_waiting(self) -> None:
        """Make a waiting take() return soon, with what it has."""
        ...

    async def stop(self) -> list[Entry]:
        """Take nothing new from now on. Return the entries that were already read and cannot be released."""
        ...

    async def release(self, entries: Sequence[Entry]) -> None:
        """Make unfinished entries available to others at once. Their delivery does not count.

        Entries queued in the source are released as well, without being passed in.
        """
        ...

    async def close(self) -> None:
        """Release everything held in Redis and disconnect. Never raises SourceError."""
        ...
