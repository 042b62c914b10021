"""What is kept of an entry that was given up on."""

import time

from listeners.companions import companion_key
from listeners.messages import Entry

__all__ = ["DEAD_LETTERS_KEPT", "dead_letter_fields", "dead_letters_key"]

#: The oldest are dropped beyond this (XADD MAXLEN ~).
DEAD_LETTERS_KEPT = 10_000
MAX_ERROR_CHARACTERS = 1_000


def dead_letters_key(key: str) -> str:
    """The stream that keeps the dead letters of a list or stream."""
    return companion_key(key, "dead")


def dead_letter_fields(entry: Entry, function: str, error: str) -> list[bytes]:
    """The fields of a dead letter, names and values in turn: the entry unharmed, and why it was given up on."""
    described = {
        "function": function,
        "trigger": entry.key,
        "error": error[:MAX_ERROR_CHARACTERS],
        "deliveries": str(entry.deliveries),
        "time_ms": str(time.time_ns() // 1_000_000),
        "id": entry.id or "",
    }
    flat = [part.encode("utf-8", "surrogateescape") for pair in described.items() for part in pair]
    if entry.payload is not None:
        return [*flat, b"payload", entry.payload]
    for name, value in entry.fields or ():
        flat += (b"field:" + name, value)
    return flat
