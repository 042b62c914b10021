"""How the dead letters of a function are listed, requeued and purged."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from listeners.dead_letters.letters import LISTED_FIELDS, DeadLetter, UnreadableLetter, parse_letter
from listeners.functions.triggers import ListTrigger, StreamTrigger
from listeners.keys import dead_letters_key
from listeners.redis.client import Client
from listeners.redis.entry_id import MAX_SEQUENCE, EntryId
from listeners.redis.scripts import load_script

__all__ = ["DeadLetters", "Summary"]

#: A page has at most this many dead letters, and about this many bytes, which the server reads without a pause.
MAX_PAGE = 100
PAGE_BYTES = 1024 * 1024
#: How much of one field a list shows.
MAX_VALUE_BYTES = 4 * 1024
#: An entry with more arguments is requeued without a script, whose arguments are limited.
MAX_SCRIPT_ARGUMENTS = 2_002
FIRST_ID = EntryId(0, 1)
LAST_ID = EntryId(MAX_SEQUENCE, MAX_SEQUENCE)


@dataclass(frozen=True)
class Summary:
    """The dead letters of a function in one key.

    `error` is the newest of the most frequent errors, which are those of one class, and `error_letters` their number.
    Times are Unix times in ms. Without dead letters, they and `error` are None.
    """

    key: str
    letters: int
    unreadable: int
    oldest_ms: int | None
    newest_ms: int | None
    error: str | None
    error_letters: int


class DeadLetters:
    """The dead letters of one function. Its methods raise SourceError.

    A key's dead letters may be those of several functions; only the given function's are found. An unreadable one that
    names no function is found for all functions.
    """

    def __init__(self, client: Client, trigger: ListTrigger | StreamTrigger, function_name: str) -> None:
        self._client = client
        self._trigger = trigger
        self._function_name = function_name
        self._page = load_script("listeners.dead_letters", "page")
        self._requeue = load_script("listeners.dead_letters", "requeue")

    async def total(self, key: str) -> int:
        """Return how many dead letters a key has, those of other functions included."""
        dead = dead_letters_key(key)
        total: int = await self._client.command(dead, "XLEN", dead, doing=f"counting dead letters of {key!r}")
        return total

    async def newest_first(
        self, key: str, before: EntryId | None = None
    ) -> AsyncIterator[DeadLetter | UnreadableLetter]:
        """Yield a key's dead letters before an ID, without tracebacks and the entries' contents."""
        dead, doing = dead_letters_key(key), f"reading dead letters of {key!r}"
        newest, count = before.previous() if before else LAST_ID, 1
        while newest >= FIRST_ID:
            arguments = (str(newest), count, MAX_VALUE_BYTES, *LISTED_FIELDS)
            page: list[Any] = await self._client.run_script(self._page, [dead], arguments, doing=doing)
            for letter_id, _, description in page:
                letter = parse_letter(key, letter_id, description)
                if self._is_own(letter):
                    yield letter
            if len(page) < count:
                return
            newest = EntryId.parse(page[-1][0]).previous()
            size = sum(size for _, size, _ in page)
            count = min(MAX_PAGE, 4 * count, max(1, count * PAGE_BYTES // max(1, size)))

    async def newest(
        self, keys: Iterable[str], limit: int, before: EntryId | None = None
    ) -> tuple[list[DeadLetter | UnreadableLetter], bool]:
        """Return the newest of all keys' letters before an ID, as newest_first(), and whether there are older ones.

        There are at most `limit`, or a few more if several keys have the last one's ID, so that its ID marks the end.
        """
        found: list[DeadLetter | UnreadableLetter] = []
        for key in keys:
            number = 0
            async for letter in self.newest_first(key, before):
                found.append(letter)
                number += 1
                if number > limit:
                    break
        found.sort(key=lambda letter: EntryId.parse(letter.id), reverse=True)
        end = limit
        while end < len(found) and found[end].id == found[limit - 1].id:
            end += 1
        return found[:end], end < len(found)

    async def find(self, key: str, letter_id: EntryId) -> DeadLetter | UnreadableLetter | None:
        """Return one dead letter of a key in full, or None if the function has none with this ID there."""
        dead, doing = dead_letters_key(key), f"reading a dead letter of {key!r}"
        for found_id, flat in await self._client.command(
            dead, "XRANGE", dead, str(letter_id), str(letter_id), doing=doing
        ):
            letter = parse_letter(key, found_id, flat)
            if self._is_own(letter):
                return letter
        return None

    async def summary(self, key: str) -> Summary:
        """Summarize a key's dead letters. Reads all of them."""
        times: list[int] = []
        classes: Counter[str] = Counter()
        newest_error: dict[str, str] = {}
        unreadable = 0
        async for letter in self.newest_first(key):
            if isinstance(letter, UnreadableLetter):
                unreadable += 1
                continue
            error_class = letter.error.partition(":")[0]
            classes[error_class] += 1
            newest_error.setdefault(error_class, letter.error)
            times.append(letter.time_ms)
        [(most_frequent, number)] = classes.most_common(1) or [("", 0)]
        return Summary(
            key, len(times), unreadable, min(times, default=None), max(times, default=None),
            newest_error.get(most_frequent), number,
        )  # fmt: skip

    def can_requeue(self, letter: DeadLetter) -> bool:
        """Return whether a letter from find() has an entry that the trigger can read."""
        return letter.entry.payload is not None if isinstance(self._trigger, ListTrigger) else bool(letter.entry.fields)

    async def requeue(self, letter: DeadLetter) -> bool:
        """Put the entry of a letter from find() back, to be taken last. Return False if the letter is gone.

        In a stream it becomes a new entry, which every consumer group sees. If two callers requeue one letter with more
        than 1,000 fields concurrently, both may add its entry.
        """
        key, entry = letter.key, letter.entry
        dead, doing = dead_letters_key(key), f"requeuing a dead letter of {key!r}"
        command: tuple[Any, ...]
        if isinstance(self._trigger, ListTrigger):
            command = ("RPUSH" if self._trigger.list_pop_from_beginning else "LPUSH", entry.payload)
        else:
            command = ("XADD", "*", *(entry.flat_fields or ()))
        if len(command) <= MAX_SCRIPT_ARGUMENTS:
            return bool(await self._client.run_script(self._requeue, [dead, key], [letter.id, *command], doing=doing))
        name, *arguments = command
        steps = [(name, key, *arguments), ("XDEL", dead, letter.id)]
        return bool((await self._client.transaction(key, steps, doing=doing))[1])

    async def purge(self, letter: DeadLetter | UnreadableLetter) -> bool:
        """Delete a dead letter permanently. Return False if it is gone."""
        dead, doing = dead_letters_key(letter.key), f"purging a dead letter of {letter.key!r}"
        return bool(await self._client.command(dead, "XDEL", dead, letter.id, doing=doing))

    def _is_own(self, letter: DeadLetter | UnreadableLetter) -> bool:
        return letter.function in (self._function_name, None)
