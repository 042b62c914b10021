"""Entries taken from Redis (`Entry`), and what a function receives (`RedisMessage`)."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from operator import attrgetter
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core.core_schema import CoreSchema, is_instance_schema

from listeners.text import decode

__all__ = ["Entry", "Fields", "RedisMessage", "by_call", "by_key", "fields_json"]


class Fields(Mapping[str, str]):
    """The fields of a stream entry by name, as text: `message.fields["kind"]`. Of duplicate names the last one wins.

    Bytes that are not UTF-8 become surrogate escapes. `pairs()` returns all fields, as bytes.
    """

    __slots__ = ("_by_name", "_pairs")

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._pairs = tuple(pairs)
        self._by_name: dict[str, str] | None = None

    def pairs(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return the names and values as bytes, in order and with duplicates."""
        return self._pairs

    def __getitem__(self, name: str) -> str:
        return self.as_dict()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_dict())

    def __len__(self) -> int:
        return len(self.as_dict())

    def __eq__(self, other: object) -> bool:
        return self._pairs == other._pairs if isinstance(other, Fields) else super().__eq__(other)

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        return f"Fields({self._pairs!r})"

    def as_dict(self) -> dict[str, str]:
        """Return the fields as a dict of text, built on first use, as most functions need another form."""
        if self._by_name is None:
            self._by_name = {decode(name): decode(value) for name, value in self._pairs}
        return self._by_name


@dataclass(frozen=True, slots=True)
class RedisMessage:
    """A list element, stream entry or pub/sub message as a function receives it (RedisMessageModel in Azure Functions).

    Attributes:
        trigger: Key of the list or stream, or the channel that the message was published on.
        message: The text; for a stream, a JSON object of the entry's fields. Bytes that are not UTF-8 become surrogate
            escapes; annotate the parameter as `bytes` to get the raw bytes.
        id: ID of the stream entry.
        fields: Fields of the stream entry: a mapping of text. `fields.pairs()` returns them as bytes, with duplicates.
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

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Have pydantic take messages as they are, as in `RedisMessage | None`."""
        return is_instance_schema(cls)

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
        """The fields, built on access, as most functions need another form."""
        if self.flat_fields is None:
            return None
        parts = iter(self.flat_fields)
        return Fields(zip(parts, parts, strict=True))

    def body(self) -> bytes:
        """Return the raw payload, or the fields as a JSON object in bytes; of duplicate names the last one wins."""
        if self.payload is not None:
            return self.payload
        return fields_json(self.flat_fields or ()).encode("utf-8", "surrogateescape")

    def message(self) -> RedisMessage:
        """Return the entry as a RedisMessage."""
        fields = self.fields
        body = decode(self.payload) if self.payload is not None else fields_json(self.flat_fields or ())
        return RedisMessage(
            trigger=self.key,
            message=body,
            id=self.id,
            fields=fields,
            pattern=self.pattern,
            deliveries=self.deliveries,
            epoch=self.epoch,
        )


def fields_json(flat: Sequence[bytes], errors: str = "surrogateescape") -> str:
    """Return the fields of a stream entry as a JSON object; of duplicate names the last one wins.

    Raises UnicodeDecodeError with `errors="strict"`.
    """
    # Field by field, because json keeps all parts until it joins them.
    pairs = [
        f"{encode_basestring(name.decode('utf-8', errors))}:{encode_basestring(value.decode('utf-8', errors))}"
        for name, value in dict(zip(flat[::2], flat[1::2], strict=True)).items()
    ]
    return f"{{{','.join(pairs)}}}"


_key_of = attrgetter("key")


def by_key(entries: Iterable[Entry]) -> list[tuple[str, list[Entry]]]:
    """Group entries by the key of their list or stream, in order."""
    entries = list(entries)
    if len(keys := set(map(_key_of, entries))) == 1:
        return [(keys.pop(), entries)]
    groups: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.key].append(entry)
    return list(groups.items())


def by_call(entries: Sequence[Entry], *, batch: bool) -> list[list[Entry]]:
    """Group entries that share a call. A `batch` function has one call for all that are delivered for the first time.

    Those delivered again are called alone, so that it is known which one fails.
    """
    if not batch:
        return [[entry] for entry in entries]
    new = [entry for entry in entries if entry.deliveries == 1]
    return [*([new] if new else []), *([entry] for entry in entries if entry.deliveries > 1)]
