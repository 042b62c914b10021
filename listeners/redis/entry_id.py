"""Stream entry IDs (Redis documentation: Streams, entry IDs)."""

from typing import NamedTuple, Self

from listeners.text import decode

__all__ = ["EntryId"]

MAX_SEQUENCE = 2**64 - 1


class EntryId(NamedTuple):
    """The ID of a stream entry. IDs compare in the order of Redis."""

    milliseconds: int
    sequence: int

    @classmethod
    def parse(cls, raw: bytes | str) -> Self:
        """Parse `milliseconds-sequence`, or `milliseconds` alone."""
        milliseconds, _, sequence = (raw if isinstance(raw, str) else decode(raw)).partition("-")
        return cls(int(milliseconds), int(sequence or 0))

    def next(self) -> "EntryId":
        """Return the next greater ID, to continue after an entry. Before Redis 6.2 a range cannot exclude its start."""
        if self.sequence < MAX_SEQUENCE:
            return EntryId(self.milliseconds, self.sequence + 1)
        return EntryId(self.milliseconds + 1, 0)

    def previous(self) -> "EntryId":
        """Return the next smaller ID, to continue in reverse. The one before 0-0 is smaller than every valid ID."""
        if self.sequence:
            return EntryId(self.milliseconds, self.sequence - 1)
        return EntryId(self.milliseconds - 1, MAX_SEQUENCE)

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.sequence}"
