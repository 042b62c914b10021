"""Decides which entries share a call. No I/O."""

from collections.abc import Sequence

from listeners.functions.entries import Entry

__all__ = ["calls_with"]


def calls_with(entries: Sequence[Entry], *, batch: bool) -> list[list[Entry]]:
    """Return the entries of each call. A `batch` function has one call for all that are delivered for the first time.

    Those delivered again are called alone, so that it is known which one fails.
    """
    if not batch:
        return [[entry] for entry in entries]
    new = [entry for entry in entries if entry.deliveries == 1]
    return [*([new] if new else []), *([entry] for entry in entries if entry.deliveries > 1)]
