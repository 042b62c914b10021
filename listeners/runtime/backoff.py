"""Pauses between tries."""

import random

__all__ = ["Backoff"]


class Backoff:
    """Pauses that double from `first_seconds` up to `last_seconds`, each jittered: many who failed at one time must not
    all try again at one time.
    """

    def __init__(self, first_seconds: float, last_seconds: float) -> None:
        self._first_seconds = first_seconds
        self._last_seconds = last_seconds
        self._next_seconds = first_seconds

    def pause_seconds(self) -> float:
        """How long to wait now, after one more failure."""
        pause_seconds = self._next_seconds * random.uniform(0.5, 1.0)
        self._next_seconds = min(self._next_seconds * 2, self._last_seconds)
        return pause_seconds

    def reset(self) -> None:
        """It worked: begin anew."""
        self._next_seconds = self._first_seconds
