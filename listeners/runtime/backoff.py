"""Exponential back-off with jitter."""

import random

__all__ = ["Backoff", "backoff_seconds"]

#: No more than this many doublings: the pause is capped long before.
MAX_DOUBLINGS = 30


def backoff_seconds(failures: int, first_seconds: float, last_seconds: float) -> float:
    """The pause after this many failures in a row: it doubles from `first_seconds` up to `last_seconds`.

    Jitter takes away up to a quarter: callers that failed together must not all try again together.
    """
    longest = min(first_seconds * 2.0 ** min(failures - 1, MAX_DOUBLINGS), last_seconds)
    return longest * random.uniform(0.75, 1.0)


class Backoff:
    """Counts failures in a row, and gives the pause after each; see backoff_seconds."""

    def __init__(self, first_seconds: float, last_seconds: float) -> None:
        self._first_seconds = first_seconds
        self._last_seconds = last_seconds
        self._failures = 0

    def pause_seconds(self) -> float:
        """The pause after one more failure."""
        self._failures += 1
        return backoff_seconds(self._failures, self._first_seconds, self._last_seconds)

    def reset(self) -> None:
        """Start again from the first pause, after a success."""
        self._failures = 0
