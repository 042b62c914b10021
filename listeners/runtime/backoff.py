"""Exponential back-off with jitter."""

import random

__all__ = ["Backoff", "backoff_seconds"]

#: Bounds the exponent, so that it cannot overflow; the pause is capped long before.
MAX_DOUBLINGS = 30


def backoff_seconds(failures: int, first_seconds: float, last_seconds: float) -> float:
    """Return the pause after this many consecutive failures, which doubles from `first_seconds` up to `last_seconds`.

    Jitter shortens it by up to a quarter, so that callers that failed together do not all retry together.
    """
    max_seconds = min(first_seconds * 2.0 ** min(failures - 1, MAX_DOUBLINGS), last_seconds)
    return max_seconds * random.uniform(0.75, 1.0)


class Backoff:
    """Counts consecutive failures and computes the pause after each; see backoff_seconds."""

    def __init__(self, first_seconds: float, last_seconds: float) -> None:
        self._first_seconds = first_seconds
        self.last_seconds = last_seconds
        self._failures = 0

    def pause_seconds(self) -> float:
        """Count a failure and return the pause after it."""
        self._failures += 1
        return backoff_seconds(self._failures, self._first_seconds, self.last_seconds)

    def reset(self) -> None:
        """Start from the first pause again, after a success."""
        self._failures = 0
