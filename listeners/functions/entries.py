"""Entries taken from Redis (`Entry`), what a function receives (`RedisMessage`), and the result (`Settlement`)."""

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
    """A list element, stream entry or pub/sub message as a function receives it (RedisMessageModel in Azure Functions).

    Attributes:
        trigger: Key of the list or stream, or the channel that the message was published on.
        message: The text; for a stream, a JSON object of the entry's fields. Bytes that are not UTF-8 become surrogate
            escapes; annotate the parameter as `bytes` to get the raw bytes.
        id: ID of the stream entry.
        fields: Fields of the stream entry, in order and with duplicates.
        pattern: The pub/sub pattern that matched.
        deliveries: Number of deliveries of this entry, including this one.
        epoch: Fencing token of the pub/sub lease, which increases with every change of holder.
    """

    trigger: str
    message: str
    id: str | None = None
    fields: Fields | None = None
    pattern: str | None = None
    deliveries: int = 1
    epoch: int | None = None

    def to_json(self) -> str:
        """Return the message as JSON: exactly `{"Trigger": ..., "Message": ...}`."""
        return json.dumps({"Trigger": self.trigger, "Message": self.message}, separators=(",", ":"), ensure_ascii=False)


@dataclass(slots=True, eq=False)
class Entry:
    """A list element, stream entry or pub/sub message taken from Redis and not settled yet.

    It has either a `payload` (list, pub/sub) or `flat_fields` (stream: name, value, name, value, ...). `receipt` holds
    whatever its source needs to settle it. `started`: a call with it has started. `lease_ends_at`: the time
    (boot_seconds) after which no call may start, because another instance may have taken the entry.
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
        """The fields as pairs, built on access, as most functions need another form."""
        if self.flat_fields is None:
            return None
        parts = iter(self.flat_fields)
        return tuple(zip(parts, parts, strict=True))

    def body(self) -> bytes:
        """Return the raw payload, or the fields as a JSON object in bytes; of duplicate names the last one wins."""
        if self.payload is not None:
            return self.payload
        return self._fields_json().encode("utf-8", "surrogateescape")

    def field_map(self) -> dict[str, str]:
        """Return the fields as a dict; of duplicate names the last one wins."""
        return {decode(name): decode(value) for name, value in self.fields or ()}

    def message(self) -> RedisMessage:
        """Return the entry as a RedisMessage."""
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
    """The result of an entry's delivery."""

    SUCCEEDED = "succeeded"
    RETRIED = "retried"
    DEAD_LETTERED = "dead_lettered"
    #: The call failed and the entry is lost, as Redis does not keep pub/sub messages.
    DROPPED = "dropped"
    #: No call was made: the lease expired first, and another instance may have taken the entry.
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True)
class Settlement:
    """An entry and the outcome of its delivery.

    `delay_ms` is the delay before the next delivery (retried), `error` the reason (any outcome but succeeded), and
    `where` the line of the user's code that raised it, if any.
    """

    entry: Entry
    outcome: Outcome
    delay_ms: int = 0
    error: str = ""
    where: str = ""


def by_key(entries: Iterable[Entry]) -> list[tuple[str, list[Entry]]]:
    """Group entries by the key of their list or stream, in order."""
    groups: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.key].append(entry)
    return list(groups.items())
