"""Entries taken from Redis (`Entry`), and what a function receives (`RedisMessage`)."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any

from listeners.text import decode

__all__ = ["Entry", "RedisMessage", "by_key"]

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
        deliveries: Which call with this entry this is, counted from 1. Calls that succeeded but could not be settled
            are not counted.
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

    It has either a `payload` (list, pub/sub) or `flat_fields` (stream: name, value, name, value, ...).

    Attributes:
        deliveries: One more than the calls with this entry that are known to have begun and did not succeed.
        suspect: It came back without an outcome: the process died, or its lease ran out. It is called alone, and has
            no content before its source has been told that the call begins.
        died_alone: The last call that is known to have begun ended with its process.
        receipt: Whatever its source needs to settle it.
        started_at: When its call started (time.perf_counter); None before.
        lease_ends_at: The time (boot_seconds) after which no call may start, as another instance may have taken it.
    """

    key: str
    payload: bytes | None = None
    flat_fields: Sequence[bytes] | None = None
    id: str | None = None
    pattern: str | None = None
    deliveries: int = 1
    epoch: int | None = None
    suspect: bool = False
    died_alone: bool = False
    receipt: Any = None
    started_at: float | None = None
    lease_ends_at: float = math.inf

    @property
    def is_uncalled_suspect(self) -> bool:
        """Whether it is a suspect whose call has not started, so that it remains one if it is released."""
        return self.suspect and self.started_at is None

    @property
    def name(self) -> str:
        """How logs and errors refer to the entry: its key or channel, and its ID if it has one."""
        return f"{self.key!r} {self.id}" if self.id else repr(self.key)

    @property
    def size(self) -> int:
        """Size of the content in bytes."""
        if self.payload is not None:
            return len(self.payload)
        return sum(map(len, self.flat_fields or ()))

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
        # Field by field, because json keeps all parts until it joins them.
        fields = {decode(name): value for name, value in self.fields or ()}
        pairs = (f"{encode_basestring(name)}:{encode_basestring(decode(value))}" for name, value in fields.items())
        return f"{{{','.join(pairs)}}}"


def by_key(entries: Iterable[Entry]) -> list[tuple[str, list[Entry]]]:
    """Group entries by the key of their list or stream, in order."""
    groups: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.key].append(entry)
    return list(groups.items())
