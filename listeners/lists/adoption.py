"""Adopts elements that this instance has taken without learning of them, because the answer of Redis was lost."""

import contextlib
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import NamedTuple

from listeners.lists.scripts import record_keys, record_script
from listeners.redis.client import Client
from listeners.redis.outages.lost_answers import LostAnswers
from listeners.runtime.clock import boot_seconds

__all__ = ["Adopted", "Adoption"]

#: How many numbers one run of adopt.lua examines, and how many calls an element can have, each of which it looks for:
#: so that it blocks the server for a few milliseconds only.
PAGE = 500
MAX_CALLS = 20
#: How many lost answers are remembered for one list.
MAX_TAKINGS = 100


class Adopted(NamedTuple):
    """Member, calls and payload of each element, as take.lua returns them, and members that cannot be read."""

    elements: list[tuple[bytes, int, bytes]]
    unreadable: list[bytes]


@dataclass(slots=True, eq=False)
class _Taking:
    """The numbers under which elements may have been taken, and when their leases end (boot_seconds)."""

    numbers: range
    ends_at: float


class Adoption:
    """Adopts elements of lists whose taking was not answered. Their IDs consist of `token` and a number.

    Nobody has called them, so nothing counts. Once their leases have ended, they are left to become suspects.
    """

    def __init__(self, client: Client, token: str, lease_ms: int, max_deliveries: int) -> None:
        self._client = client
        self._token = token
        self._lease_ms = lease_ms
        self._max_calls = min(max_deliveries - 1, MAX_CALLS)
        self._adopt = record_script("adopt")
        self._lost = LostAnswers()
        self._takings: defaultdict[str, deque[_Taking]] = defaultdict(lambda: deque(maxlen=MAX_TAKINGS))

    def is_due(self, key: str) -> bool:
        """Return whether to adopt elements now."""
        return self._lost.is_due(key)

    def seconds_to_next(self, key: str) -> float | None:
        """Return in how many seconds to look for elements again; None if none can have been lost."""
        return self._lost.seconds_to_next(key)

    def note_loss(self, key: str, numbers: range, sent_at: float) -> None:
        """Note that a list's elements may have been taken under these numbers, so that they are adopted later.

        `sent_at`: when Redis was asked for them (boot_seconds).
        """
        self._lost.note(key)
        self._takings[key].append(_Taking(numbers, sent_at + self._lease_ms / 1000))

    async def adopt(self, key: str, count: int, max_bytes: int) -> Adopted:
        """Lease up to `count` elements, of `max_bytes` in all or one larger element. Raises SourceError."""
        found = Adopted([], [])
        with self._lost.asking(key):
            for taking in list(self._takings[key]):
                if found.elements:
                    self._lost.note(key)  # this one has not been asked for yet
                    break
                if taking.ends_at <= boot_seconds():
                    self._forget(key, taking)
                    continue
                found = await self._adopt_from(key, taking, count, max_bytes, found.unreadable)
        if not self._lost.is_open(key):
            self._takings.pop(key, None)
        return found

    async def _adopt_from(
        self, key: str, taking: _Taking, count: int, max_bytes: int, unreadable: list[bytes]
    ) -> Adopted:
        """Adopt elements of one taking. `unreadable`: members found so far."""
        numbers = taking.numbers
        page = numbers[:PAGE]
        arguments = [self._token, page.start, page.stop, self._lease_ms, self._max_calls, count, max_bytes]
        next_number, bad, flat = await self._client.run_script(
            self._adopt, record_keys(key), arguments, doing=f"adopting elements of list {key!r}"
        )
        if next_number in numbers:
            taking.numbers = range(next_number, numbers.stop)
            self._lost.note(key)
        elif next_number == numbers.stop or bad or flat:
            self._forget(key, taking)
        return Adopted(list(zip(flat[::3], flat[1::3], flat[2::3], strict=True)), [*unreadable, *bad])

    def _forget(self, key: str, taking: _Taking) -> None:
        with contextlib.suppress(ValueError):  # the newest ones have displaced it
            self._takings[key].remove(taking)
