"""What a function receives (`RedisMessage`), what a source takes (`Entry`), and what became of it (`Settlement`)."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from listeners.text import decode

__all__ = ["Entry", "Outcome", "RedisMessage", "Settlement", "by_key"]

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class RedisMessage:
    """One list element, stream entry or pub/sub message, as a function sees it (the seed's RedisMessageModel).

    `trigger`: the list key, the stream key, or the channel that the message was published on.
    `message`: the text; for a stream, a JSON object of the entry's fields. Bytes that are not UTF-8 are kept as
    surrogate escapes; annotate the parameter with `bytes` to get them as they are.
    `id`: the stream entry ID. `fields`: the stream entry's fields, in order, duplicates included.
    `pattern`: the pub/sub pattern that matched. `deliveries`: how often this entry has been delivered, now included.
    `epoch`: for pub/sub, the lease's fencing token: it grows with every change of holder.
    """

    trigger: str
    message: str
    id: str | None = None
    fields: Fields | None = None
    pattern: str | None = None
    deliveries: int = 1
    epoch: int | None = None

    def to_json(self) -> str:
        """The message as JSON: exactly `{"Trigger": ..., "Message": ...}`."""
        return json.dumps({"Trigger": self.trigger, "Message": self.message}, separators=(",", ":"), ensure_ascii=False)


@dataclass(slots=True, eq=False)
class Entry:
    """One thing taken from Redis and not settled yet.

    `receipt` belongs to the source: what it needs to settle the entry. It has a `payload` (list, pub/sub) or
    `flat_fields` (stream: name, value, name, value, ...). `started`: a call with it was begun. `lease_ends_at`: no call
    may begin after that time (boot_seconds), as the entry may be another instance's by then.
    """

    key: str
    payload: bytes | None = None
    flat_fields: Sequence[bytes] | None = None
    id: str | None = None
    pattern: str | None = None
    deliveries: int = 1
    epoch: int | None = None
    receipt: Any = None
    started: bool = False
    lease_ends_at: float = math.inf

    @property
    def fields(self) -> Fields | None:
        """The fields as pairs, made only for those who ask: most functions want something else."""
        if self.flat_fields is None:
            return None
        parts = iter(self.flat_fields)
        return tuple(zip(parts, parts, strict=True))

    def body(self) -> bytes:
        """The entry as bytes: the payload as it is, or the fields as a JSON object (the last of duplicates wins)."""
        if self.payload is not None:
            return self.payload
        return self._fields_json().encode("utf-8", "surrogateescape")

    def field_map(self) -> dict[str, str]:
        """The fields as a dict; of duplicate names the last one wins."""
        return {decode(name): decode(value) for name, value in self.fields or ()}

    def message(self) -> RedisMessage:
        """The entry as the function's RedisMessage."""
        body = decode(self.payload) if self.payload is not None else self._fields_json()
        return RedisMessage(
            trigger=self.key,
            message=body,
            id=self.id,
            fields=self.fields,
            pattern=self.pattern,
            deliveries=self.deliveries,
            epoch=self.epoch,
        )

    def _fields_json(self) -> str:
        return json.dumps(self.field_map(), separators=(",", ":"), ensure_ascii=False)


class Outcome(Enum):
    """What became of an entry."""

    SUCCEEDED = "succeeded"
    RETRIED = "retried"
    DEAD_LETTERED = "dead_lettered"
    #: Failed, and nothing keeps it: a pub/sub message.
    DROPPED = "dropped"
    #: No call was made: its lease ran out before, and another instance may have it.
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True)
class Settlement:
    """An entry and what became of it.

    `delay_ms` is the time until the next delivery (retried); `error` says why (retried, dead-lettered), and `where` in
    which line of the user's code it was raised, if it was in one.
    """

    entry: Entry
    outcome: Outcome
    delay_ms: int = 0
    error: str = ""
    where: str = ""


def by_key(entries: Iterable[Entry]) -> list[tuple[str, list[Entry]]]:
    """The entries of each list or stream, in their order."""
    groups: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.key].append(entry)
    return list(groups.items())
