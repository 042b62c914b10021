"""The protocol of a list's delivery: how elements are taken and settled."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from listeners.engine.settlement import Refusal, Settlement
from listeners.functions.entries import Entry

__all__ = ["Delivery", "Taken", "sooner"]


class Taken(NamedTuple):
    """What take() found in one list.

    Attributes:
        entries: The elements taken.
        due_seconds: The time until one in flight becomes available; None if there is none, or if no fewer were taken
            than asked for.
        suspects: Whether the list has suspects.
    """

    entries: list[Entry]
    due_seconds: float | None = None
    suspects: bool = False


class Delivery(Protocol):
    """Takes elements from lists and settles them. Every method may raise SourceError."""

    def describe(self) -> str:
        """Return a readable description of the commands used."""
        ...

    async def take(self, key: str, count: int, max_bytes: int, succeeded: Sequence[Entry] = ()) -> Taken:
        """Take up to `count` elements, of about `max_bytes` in all but at least one, if the size is known beforehand.

        Elements of this list in `succeeded` are settled first, in the same step.
        """
        ...

    async def take_suspect(self, key: str) -> Entry | None:
        """Lease one suspect without its content."""
        ...

    async def begin(self, entry: Entry, *, counts: bool) -> bool:
        """Record that the call with a suspect begins, and fetch its content. Return False if it is no longer held."""
        ...

    async def settle(self, key: str, settlements: Sequence[Settlement]) -> list[Refusal]:
        """Settle elements of one list. Return what Redis refused. Settling an element again has no effect."""
        ...

    async def release(self, key: str, entries: Sequence[Entry]) -> None:
        """Make unfinished elements available at once; their delivery does not count."""
        ...

    async def correct_clock(self, key: str) -> None:
        """End the leases that last longer than their length, as the server's clock has stepped back."""
        ...


def sooner(seconds: float | None, other: float | None) -> float | None:
    """Return the shorter of two times; None means never."""
    if seconds is None or other is None:
        return other if seconds is None else seconds
    return min(seconds, other)
