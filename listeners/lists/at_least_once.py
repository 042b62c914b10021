"""At least once: an element stays recorded until it is settled."""

import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any

from listeners.dead_letters.letters import description_fields
from listeners.engine.metrics import FunctionMetrics
from listeners.engine.settlement import Failure, Outcome, Refusal, Settlement
from listeners.engine.source import LeaseRenewal
from listeners.errors import SourceError, SourceTimeoutError, SourceUnavailableError
from listeners.functions.entries import Entry, by_key
from listeners.functions.triggers import ListTrigger
from listeners.keys import dead_letters_key
from listeners.lists.adoption import Adoption
from listeners.lists.delivery import Delivery, Taken, sooner
from listeners.lists.scripts import record_keys, record_script
from listeners.redis.client import Client
from listeners.redis.outages.lost_answers import ANSWER_LOST
from listeners.runtime.clock import boot_seconds, lease_end
from listeners.runtime.logs import steady_logger
from listeners.text import decode

__all__ = ["AtLeastOnce", "ListLeases"]

Settle = Callable[[str, Sequence[Settlement]], Awaitable[None]]

log = steady_logger("triggerfish.host")

UNREADABLE = "Triggerfish's record of the element cannot be read. It is damaged, or of another version of Triggerfish."


class AtLeastOnce(Delivery):
    """At least once: an element stays recorded until it is settled. If its lease expires first, it is a suspect.

    Runs one script per key and step. Needs EVALSHA, and no command newer than Redis 5.0. `common.lua` describes the
    records. An entry's receipt is the member of its element.
    """

    def __init__(
        self,
        trigger: ListTrigger,
        function_name: str,
        client: Client,
        lease_seconds: float,
        metrics: FunctionMetrics,
    ) -> None:
        self._function_name = function_name
        self._from_beginning = int(trigger.list_pop_from_beginning)
        self._lease_ms = int(lease_seconds * 1000)
        self._client = client
        self._metrics = metrics
        #: Element IDs are the token and a number, so they differ from those of other instances and of earlier data.
        self._token = secrets.token_hex(6)
        self._next_number = 1
        self._adoption = Adoption(client, self._token, self._lease_ms, trigger.max_deliveries)
        self._take = record_script("take")
        self._take_suspect = record_script("take_suspect")
        self._begin = record_script("begin")
        self._settle = record_script("settle")
        self._dead_letter = record_script("dead_letter", uses=(("listeners.dead_letters", "add"),))
        self._correct_clock = record_script("correct_clock")

    def describe(self) -> str:
        return f"EVALSHA (at least once, lease {self._lease_ms // 1000} s)"

    async def take(self, key: str, count: int, max_bytes: int, succeeded: Sequence[Entry] = ()) -> Taken:
        if self._adoption.is_due(key):
            if succeeded:
                await self._run_settle(key, [entry.receipt for entry in succeeded], [])
                succeeded = ()
            if adopted := await self._take_adopted(key, count, max_bytes):
                return Taken(adopted)
        sent_at, first = boot_seconds(), self._reserve_numbers(count)
        done = b" ".join([entry.receipt for entry in succeeded])
        try:
            due_ms, suspects, unreadable, taken = await self._client.run_script(
                self._take,
                record_keys(key),
                [self._token, first, self._lease_ms, count, max_bytes, self._from_beginning, done],
                doing=f"taking from list {key!r}",
            )
            for member in unreadable:
                await self._set_aside(key, member)
        except ANSWER_LOST:
            self._adoption.note_loss(key, range(first, first + count), sent_at)
            raise
        elements = zip(taken[::3], taken[1::3], taken[2::3], strict=True)
        due_seconds = sooner(None if due_ms < 0 else due_ms / 1000, self._adoption.seconds_to_next(key))
        return Taken(self._entries(key, elements, sent_at), due_seconds, bool(suspects))

    async def take_suspect(self, key: str) -> Entry | None:
        while True:
            sent_at = boot_seconds()
            new_id = f"{self._token}-{self._reserve_numbers(1)}"
            found = await self._client.run_script(
                self._take_suspect,
                record_keys(key),
                [new_id, self._lease_ms],
                doing=f"taking a suspect from list {key!r}",
            )
            if not found:
                return None
            member, *rest = found
            if member:
                state, calls = rest
                return Entry(
                    key,
                    deliveries=calls + 1,
                    suspect=True,
                    died_alone=state == b"a",
                    receipt=member,
                    lease_ends_at=self._lease_end(sent_at),
                )
            await self._set_aside(key, rest[0])

    async def begin(self, entry: Entry, *, counts: bool) -> bool:
        sent_at = boot_seconds()
        state, calls = ("a", entry.deliveries) if counts else ("t", entry.deliveries - 1)
        found = await self._client.run_script(
            self._begin,
            record_keys(entry.key),
            [entry.receipt, _member(_begun_id(entry, state), state, calls, self._lease_ms), self._lease_ms],
            doing=f"beginning a call with a suspect of list {entry.key!r}",
        )
        if len(found) == 2:
            entry.receipt, entry.payload = found
            entry.lease_ends_at = self._lease_end(sent_at)
            return True
        if found:
            await self._set_aside(entry.key, found[0])
        return False

    async def settle(self, key: str, settlements: Sequence[Settlement]) -> list[Refusal]:
        done = [each for each in settlements if each.outcome in (Outcome.SUCCEEDED, Outcome.DROPPED)]
        retried = [each for each in settlements if each.outcome is Outcome.RETRIED]
        refusals = await self._attempt(self._forget, key, done) + await self._attempt(self._delay, key, retried)
        for settlement in settlements:
            if settlement.outcome is Outcome.DEAD_LETTERED:
                refusals += await self._attempt(self._move_to_dead_letters, key, [settlement])
        return refusals

    async def release(self, key: str, entries: Sequence[Entry]) -> None:
        steps: list[Any] = []
        for entry in entries:
            if entry.is_uncalled_suspect:
                # It is what it was before. begin() may have given it another member, even if the reply was lost.
                own, before, calls = _element_id(entry), "a" if entry.died_alone else "t", entry.deliveries - 1
                counted = _member(_begun_id(entry, "a"), "a", entry.deliveries, self._lease_ms)
                uncounted = _member(_begun_id(entry, "t"), "t", calls, self._lease_ms)
                for element_id, member in (
                    (own, entry.receipt),
                    (_begun_id(entry, "a"), counted),
                    (_begun_id(entry, "t"), uncounted),
                ):
                    steps += (member, _member(element_id, before, calls, self._lease_ms), "")
            else:
                steps += (entry.receipt, _member(_element_id(entry), "w", entry.deliveries - 1, 0), 0)
        await self._run_settle(key, [], steps)

    async def correct_clock(self, key: str) -> None:
        cursor: Any = b"0"
        while True:
            cursor = await self._client.run_script(
                self._correct_clock, record_keys(key), [cursor], doing=f"checking the leases of list {key!r}"
            )
            if cursor == b"0":
                return

    async def _take_adopted(self, key: str, count: int, max_bytes: int) -> list[Entry]:
        """Take elements that were taken before without an answer."""
        sent_at = boot_seconds()
        adopted = await self._adoption.adopt(key, count, max_bytes)
        for member in adopted.unreadable:
            await self._set_aside(key, member)
        return self._entries(key, adopted.elements, sent_at)

    def _entries(self, key: str, elements: Iterable[tuple[bytes, int, bytes]], sent_at: float) -> list[Entry]:
        """Return the entries of elements that a script has leased: member, calls and payload of each."""
        ends_at = self._lease_end(sent_at)
        return [
            Entry(key, payload=payload, deliveries=calls + 1, receipt=member, lease_ends_at=ends_at)
            for member, calls, payload in elements
        ]

    def _lease_end(self, sent_at: float) -> float:
        return lease_end(sent_at, self._lease_ms / 1000)

    def _reserve_numbers(self, count: int) -> int:
        """Return the first of `count` numbers that are given to no other element, even if the reply is lost."""
        first = self._next_number
        self._next_number += count
        return first

    async def _attempt(
        self,
        settle: Callable[[str, Sequence[Settlement]], Awaitable[None]],
        key: str,
        settlements: Sequence[Settlement],
    ) -> list[Refusal]:
        """Settle elements in one step. Raises SourceError only if Redis is unavailable."""
        if not settlements:
            return []
        try:
            await settle(key, settlements)
        except (SourceUnavailableError, SourceTimeoutError):
            raise
        except SourceError as error:
            return [Refusal(settlement, error) for settlement in settlements]
        return []

    async def _forget(self, key: str, settlements: Sequence[Settlement]) -> None:
        await self._run_settle(key, [settlement.entry.receipt for settlement in settlements], [])

    async def _delay(self, key: str, settlements: Sequence[Settlement]) -> None:
        steps: list[Any] = []
        for settlement in settlements:
            entry, delay_ms = settlement.entry, settlement.delay_ms
            steps += (entry.receipt, _member(_element_id(entry), "w", entry.deliveries, delay_ms), delay_ms)
        await self._run_settle(key, [], steps)

    async def _move_to_dead_letters(self, key: str, settlements: Sequence[Settlement]) -> None:
        """Dead-letter elements. The server copies the payload, which the entry of a suspect does not have."""
        for settlement in settlements:
            dropped = await self._client.run_script(
                self._dead_letter,
                [*record_keys(key), dead_letters_key(key)],
                [settlement.entry.receipt, *description_fields(settlement, self._function_name)],
                doing=f"dead-lettering from list {key!r}",
            )
            self._metrics.dead_letters_dropped.inc(dropped)

    async def _run_settle(self, key: str, done: Sequence[bytes], steps: Sequence[Any]) -> None:
        await self._client.run_script(
            self._settle, record_keys(key), [len(done), *done, *steps], doing=f"settling elements of list {key!r}"
        )

    async def _set_aside(self, key: str, member: bytes) -> None:
        """Dead-letter an element whose record cannot be read. If Redis refuses, it is tried again after the lease."""
        log.error("%s: dead-lettering %r of list %r: %s", self._function_name, decode(member), key, UNREADABLE)
        entry = Entry(key, receipt=member)
        settlement = Settlement(entry, Outcome.DEAD_LETTERED, failure=Failure(f"{UNREADABLE} Member: {decode(member)}"))
        try:
            await self._move_to_dead_letters(key, [settlement])
        except SourceError as error:
            log.warning("%s: %s", self._function_name, error)
        else:
            self._metrics.settled(Outcome.DEAD_LETTERED)


class ListLeases(LeaseRenewal):
    """Renews the leases of elements."""

    def __init__(self, client: Client, lease_seconds: float) -> None:
        self.client = client
        self._lease_ms = int(lease_seconds * 1000)
        self._renew = record_script("renew")

    async def renew(self, entries: Collection[Entry]) -> None:
        groups = dict(by_key(list(entries)))
        await self.client.for_each_key(groups, lambda key: self._renew_list(key, groups[key]))

    async def _renew_list(self, key: str, entries: Sequence[Entry]) -> None:
        sent_at = boot_seconds()
        known = [(entry.receipt, entry.lease_ends_at) for entry in entries]
        members = [member for member, _ in known]
        lost = set(
            await self.client.run_script(
                self._renew, record_keys(key), [self._lease_ms, *members], doing=f"renewing leases of list {key!r}"
            )
        )
        ends_at = lease_end(sent_at, self._lease_ms / 1000)
        for entry, (member, lease_ends_at) in zip(entries, known, strict=True):
            if member not in lost:
                entry.lease_ends_at = ends_at
            elif (entry.receipt, entry.lease_ends_at) == (member, lease_ends_at):  # begin() may have replaced them
                entry.lease_ends_at = 0.0


def _element_id(entry: Entry) -> str:
    return decode(entry.receipt).partition(":")[0]


def _begun_id(entry: Entry, state: str) -> str:
    """Return the ID that a suspect has from the beginning of its call on, which is the same if begin() is repeated."""
    return _element_id(entry) + state


def _member(element_id: str, state: str, calls: int, ms: int) -> str:
    """Return the member of an element with this ID."""
    return f"{element_id}:{state}{calls}:{ms}"
