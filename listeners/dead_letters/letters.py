"""What a dead letter contains: a description of the failure, and the unchanged entry.

A dead letter is a stream entry. Its fields are those of description_fields(), followed by those of entry_fields().
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

from listeners.engine.settlement import Failure, Settlement
from listeners.functions.entries import Entry
from listeners.text import decode

__all__ = ["LISTED_FIELDS", "DeadLetter", "UnreadableLetter", "description_fields", "entry_fields", "parse_letter"]

#: Prefix of a stream entry's field names, so that they cannot collide with the fields of the description.
FIELD_PREFIX = b"field:"
#: An entry with more fields is kept as one field, because a script's arguments are limited to a few thousand.
MAX_SEPARATE_FIELDS = 1_000
#: The year 9999, beyond which no time can be displayed.
MAX_TIME_MS = 253_370_764_800_000
#: The fields of a description that a list of dead letters needs.
LISTED_FIELDS = ("function", "error", "where", "deliveries", "time_ms", "id")
#: How much of a traceback is kept: its start names the function, and its end the error.
TRACEBACK_START_BYTES = 2 * 1024
TRACEBACK_END_BYTES = 6 * 1024


def description_fields(settlement: Settlement, function_name: str) -> list[bytes]:
    """Return the fields that describe why an entry is dead-lettered, alternating names and values.

    They are of bounded length, and contain nothing of the entry but its key and ID.
    """
    entry, failure = settlement.entry, (settlement.failure or Failure("")).in_full()
    description = {
        "function": function_name,
        "trigger": entry.key,
        "error": failure.error,
        "where": failure.where,
        "traceback": _shortened(failure.traceback),
        "deliveries": str(settlement.calls),
        "time_ms": str(time.time_ns() // 1_000_000),
        "id": entry.id or "",
    }
    return [_encode(part) for pair in description.items() for part in pair]


def entry_fields(entry: Entry) -> list[bytes]:
    """Return the fields that keep an entry byte for byte, alternating names and values: at most 1,000 fields.

    A list element is `payload`. Each field of a stream entry has its name with a prefix; if there are more than 1,000,
    all are one field, `fields`, with a JSON array of alternating names and values. Its bytes that are not UTF-8 are
    kept as they are. An entry without content has no fields.
    """
    if entry.payload is not None:
        return [b"payload", entry.payload]
    flat = entry.flat_fields or ()
    if len(flat) > 2 * MAX_SEPARATE_FIELDS:
        return [b"fields", _encode(json.dumps([decode(part) for part in flat], ensure_ascii=False))]
    return [part if at % 2 else FIELD_PREFIX + part for at, part in enumerate(flat)]


@dataclass(frozen=True)
class DeadLetter:
    """One dead letter.

    Attributes:
        id: The dead letter's own ID.
        function: The function whose call failed.
        error: Class and text of the exception, or another reason.
        where: The line of user code that raised the error; empty if none did.
        traceback: The traceback with its chain; empty if there is none, or in a list of dead letters.
        time_ms: When the entry was dead-lettered (Unix time).
        entry: The original entry; in a list of dead letters, it has no content.
    """

    id: str
    function: str
    error: str
    where: str
    traceback: str
    time_ms: int
    entry: Entry

    @property
    def key(self) -> str:
        """The key of the entry's list or stream."""
        return self.entry.key

    @classmethod
    def of(cls, key: str, letter_id: str, flat: Sequence[bytes]) -> Self:
        """Parse a dead letter of a key. Raises KeyError or ValueError if it is none, or damaged."""
        known = {name: value for name, value in _pairs(flat) if not name.startswith(FIELD_PREFIX)}
        time_ms = int(known[b"time_ms"])
        if not 0 <= time_ms <= MAX_TIME_MS:
            raise ValueError("not a time")
        entry = Entry(
            key,
            payload=known.get(b"payload"),
            flat_fields=None if b"payload" in known else _entry_fields(known, flat),
            id=decode(known[b"id"]) or None,
            deliveries=int(known[b"deliveries"]),
        )
        function, error, where = (decode(known[name]) for name in (b"function", b"error", b"where"))
        return cls(letter_id, function, error, where, decode(known.get(b"traceback", b"")), time_ms, entry)


@dataclass(frozen=True)
class UnreadableLetter:
    """An entry among the dead letters of a key that is none, or is damaged. It can only be purged.

    `function` is None if it names no function.
    """

    id: str
    key: str
    function: str | None


def parse_letter(key: str, letter_id: bytes, flat: Sequence[bytes]) -> DeadLetter | UnreadableLetter:
    """Parse an entry of the stream with a key's dead letters."""
    try:
        return DeadLetter.of(key, decode(letter_id), flat)
    except (KeyError, ValueError, RecursionError):  # JSON may be nested too deeply
        function = dict(_pairs(flat)).get(b"function")
        return UnreadableLetter(decode(letter_id), key, None if function is None else decode(function))


def _entry_fields(known: dict[bytes, bytes], flat: Sequence[bytes]) -> list[bytes]:
    if b"fields" not in known:
        prefixed = (pair for pair in _pairs(flat) if pair[0].startswith(FIELD_PREFIX))
        return list(chain.from_iterable((name.removeprefix(FIELD_PREFIX), value) for name, value in prefixed))
    parts = json.loads(decode(known[b"fields"]))
    if not isinstance(parts, list) or len(parts) % 2 or not all(isinstance(part, str) for part in parts):
        raise ValueError("not an array of names and values")
    return [_encode(part) for part in parts]


def _pairs(flat: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _shortened(traceback: str) -> str:
    """Return the start and the end of a traceback."""
    raw = _encode(traceback)
    omitted = len(raw) - TRACEBACK_START_BYTES - TRACEBACK_END_BYTES
    if omitted <= 0:
        return traceback
    start = raw[:TRACEBACK_START_BYTES].decode(errors="ignore")
    end = raw[-TRACEBACK_END_BYTES:].decode(errors="ignore")
    return f"{start}\n... {omitted} bytes omitted ...\n{end}"


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # an exception's text may have surrogates that no decoding made
        return text.encode("utf-8", "backslashreplace")
