"""Keys that are armed together. No I/O."""

from collections.abc import Callable, Sequence
from typing import Protocol

__all__ = ["Armed", "Prover"]


class Prover(Protocol):
    """A server that reports changes. `proved_at`: every change before this time was reported (time.monotonic); None if
    the server cannot be relied on yet.
    """

    @property
    def proved_at(self) -> float | None: ...


class Armed:
    """Keys of which Redis will report the next change. Ends with that report, or when reports may get lost.

    What was read after `since`, and before the end, is still true. `verified_at`: when their reader has last found that
    it is, including what Redis does not report. `missing`: none of the keys existed when they were armed.
    """

    __slots__ = ("_on_end", "ended", "keys", "missing", "provers", "since", "verified_at")

    def __init__(self, keys: Sequence[str], provers: Sequence[Prover], since: float) -> None:
        self.keys = tuple(keys)
        self.since = self.verified_at = since
        self.ended = False
        self.missing = False
        self.provers = tuple(provers)
        self._on_end: dict[Callable[[], object], None] = {}

    @property
    def proved_at(self) -> float | None:
        """Until when no change is missing; None after the end, and while a server cannot be relied on."""
        if self.ended or not self.provers:
            return None
        proved_at = self.provers[0].proved_at
        for prover in self.provers[1:]:
            other = prover.proved_at
            proved_at = None if proved_at is None or other is None else min(proved_at, other)
        return proved_at

    def on_end(self, call: Callable[[], object]) -> None:
        """Call this at the end, or now if it has ended."""
        if self.ended:
            call()
        else:
            self._on_end[call] = None

    def forget(self, call: Callable[[], object]) -> None:
        """Do not call this at the end."""
        self._on_end.pop(call, None)

    def end(self) -> None:
        """End, once."""
        if not self.ended:
            self.ended = True
            calls, self._on_end = self._on_end, {}
            for call in calls:
                call()
