"""Dead letters: what is kept of an entry, and how dead letters are listed, requeued and purged."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from listeners.functions.entries import Entry, Settlement
from listeners.functions.triggers import ListTrigger, StreamTrigger
from listeners.keys import dead_letters_key
from listeners.redis.client import Client
from listeners.redis.entry_id import EntryId
from listeners.redis.scripts import Script
from listeners.text import decode

__all__ = ["DEAD_LETTERS_KEPT", "DeadLetter", "DeadLetters", "dead_letter_fields"]

#: About how many dead letters a key keeps; the oldest are dropped (XADD MAXLEN ~).
DEAD_LETTERS_KEPT = 10_000
#: How many dead letters are read in one step.
PAGE = 100
#: Prefix of a stream entry's field names, so that they cannot collide with the fields of the dead letter itself.
FIELD_PREFIX = b"field:"


def dead_letter_fields(settlement: Settlement, function_name: str) -> list[bytes]:
    """Return the fields of a dead letter, alternating names and values: the unchanged entry, and why it failed.

    The description is of bounded length. The entry itself is kept whole, so that it can be requeued.
    """
    entry = settlement.entry
    description = {
        "function": function_name,
        "trigger": entry.key,
        "error": settlement.error,
        "where": settlement.where,
        "deliveries": str(entry.deliveries),
        "time_ms": str(time.time_ns() // 1_000_000),
        "id": entry.id or "",
    }
    flat = [part.encode("utf-8", "surrogateescape") for pair in description.items() for part in pair]
    if entry.payload is not None:
        return [*flat, b"payload", entry.payload]
    for name, value in entry.fields or ():
        flat += (FIELD_PREFIX + name, value)
    return flat


@dataclass(frozen=True)
class DeadLetter:
    """One dead letter. `entry` is the original entry, `id` the dead letter's ID, `time_ms` when it was dead-lettered.

    `where` is the line of user code that raised the error; empty if there is none.
    """

    id: str
    function: str
    error: str
    where: str
    time_ms: int
    entry: Entry

    @classmethod
    def of(cls, raw: Any) -> "DeadLetter":
        """Parse a dead letter from a reply: [ID, [name, value, ...]]."""
        pairs = list(zip(raw[1][::2], raw[1][1::2], strict=True))
        known = {name: value for name, value in pairs if not name.startswith(FIELD_PREFIX)}
        fields = [(n.removeprefix(FIELD_PREFIX), v) for n, v in pairs if n.startswith(FIELD_PREFIX)]
        payload = known.get(b"payload")
        entry = Entry(
            decode(known[b"trigger"]),
            payload=payload,
            flat_fields=[part for pair in fields for part in pair] if payload is None else None,
            id=decode(known[b"id"]) or None,
            deliveries=int(known[b"deliveries"]),
        )
        function, error, where = (decode(known.get(name, b"")) for name in (b"function", b"error", b"where"))
        return cls(decode(raw[0]), function, error, where, int(known[b"time_ms"]), entry)


class DeadLetters:
    """The dead letters of one function."""

    def __init__(self, client: Client, trigger: ListTrigger | StreamTrigger, function_name: str) -> None:
        self._client = client
        self._trigger = trigger
        self._function_name = function_name
        self._requeue = Script("listeners.dead_letters", "requeue")

    async def letters(self) -> AsyncIterator[DeadLetter]:
        """Yield the dead letters, key by key, oldest first. Raises SourceError."""
        for key in self._trigger.keys:
            dead, start = dead_letters_key(key), "-"
            while True:
                page = await self._client.command(
                    dead, "XRANGE", dead, start, "+", "COUNT", PAGE, doing=f"reading dead letters of {key!r}"
                )
                for letter in map(DeadLetter.of, page):
                    if letter.function == self._function_name:
                        yield letter
                if len(page) < PAGE:
                    break
                start = str(EntryId.parse(page[-1][0]).next())

    async def requeue(self, letter: DeadLetter) -> bool:
        """Put the entry back, to be taken last. Return False if the dead letter is gone. Raises SourceError.

        In a stream it becomes a new entry, which every consumer group sees.
        """
        key, entry = letter.entry.key, letter.entry
        arguments: list[Any]
        if isinstance(self._trigger, ListTrigger):
            arguments = ["RPUSH" if self._trigger.list_pop_from_beginning else "LPUSH", entry.payload]
        else:
            arguments = ["XADD", "*", *(entry.flat_fields or ())]
        doing = f"requeuing a dead letter of {key!r}"
        return bool(
            await self._client.run_script(
                self._requeue, [dead_letters_key(key), key], [letter.id, *arguments], doing=doing
            )
        )

    async def purge(self, letter: DeadLetter) -> bool:
        """Delete the dead letter permanently. Return False if it is gone. Raises SourceError."""
        dead = dead_letters_key(letter.entry.key)
        doing = f"purging a dead letter of {letter.entry.key!r}"
        return bool(await self._client.command(dead, "XDEL", dead, letter.id, doing=doing))
