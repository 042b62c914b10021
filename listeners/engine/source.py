"""What the pump expects of every kind of source."""

from collections.abc import Sequence
from typing import Protocol

from listeners.functions.entries import Entry, Settlement

__all__ = ["Source"]


class Source(Protocol):
    """Reads one trigger's entries from Redis and settles them.

    Every method may raise SourceError; the pump waits and calls again. No method waits longer than it says.
    """

    async def describe(self) -> str:
        """Reach Redis, change nothing, and return one line that says how the trigger will be read."""
        ...

    async def open(self) -> None:
        """Reach Redis and prepare what reading needs. Comes before everything below."""
        ...

    async def maintain(self) -> None:
        """One round of what has to go on beside taking (reclaiming, holding a lease). Returns when a pause is due."""
        ...

    async def take(self, count: int) -> list[Entry]:
        """Take about `count` entries, waiting for the first at most for the polling interval or a second."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Tell Redis what became of these entries. Settling an entry again does nothing."""
        ...

    async def settle_and_take(self, succeeded: Sequence[Entry], count: int) -> list[Entry]:
        """Settle entries whose calls succeeded and take up to `count` that are there now, in one step if possible.

        It never waits for entries, and may return none although there are some. If it raises, nothing was taken, and
        what was settled is not known.
        """
        ...

    async def renew(self, entries: Sequence[Entry]) -> None:
        """Extend the lease on entries that are still being worked on."""
        ...

    def may_start(self, entry: Entry) -> bool:
        """Whether a call with this entry may begin now: its lease has not run out."""
        ...

    def stop_waiting(self) -> None:
        """Let a take() that waits return soon, with what it has."""
        ...

    async def stop(self) -> list[Entry]:
        """Take nothing new from now on. Returns what was read already and cannot be handed back."""
        ...

    async def release(self, entries: Sequence[Entry]) -> None:
        """Make entries that were taken and not finished available to others at once; the delivery does not count.

        What waits in the source for its turn is handed back too, without a call for it.
        """
        ...

    async def close(self) -> None:
        """Let go of everything held in Redis and disconnect. Never raises SourceError."""
        ...
