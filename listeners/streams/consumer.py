"""The consumers of one instance in a group: the commands that read entries of streams and settle them."""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from listeners.dead_letters.letters import description_fields, entry_fields
from listeners.engine.metrics import FunctionMetrics
from listeners.engine.settlement import Settlement
from listeners.errors import CommandRefusedError, GroupMissingError
from listeners.functions.entries import Entry, by_key
from listeners.functions.triggers import StreamTrigger
from listeners.keys import dead_letters_key, is_consumer_name
from listeners.redis.client import Client
from listeners.redis.entry_id import EntryId
from listeners.redis.outages.unreachable_keys import UnreachableKeys
from listeners.redis.scripts import load_script
from listeners.runtime.clock import boot_seconds, lease_end
from listeners.streams.claims import Claims, LostEntries, Moved, Overdue
from listeners.streams.unanswered import UnansweredReads
from listeners.text import decode

__all__ = ["Consumer", "id_of"]

#: How many entries one run of acknowledge.lua covers.
ACKNOWLEDGE_PAGE = 500
#: After how many lease periods without a command a consumer counts as dead, and at the earliest: a living one that has
#: nothing to do reads once within a minute.
DEAD_LEASES = 10
MIN_DEAD_SECONDS = 300.0


class Consumer:
    """The consumers of one process in a trigger's group. Every method may raise SourceError.

    `instance` is unique to the process. `lease_ms`: how long a consumer holds an entry without a renewal.
    `on_return` is called when a stream whose node was down can be reached again.
    """

    def __init__(
        self,
        trigger: StreamTrigger,
        function_name: str,
        client: Client,
        *,
        instance: str,
        lease_ms: int,
        metrics: FunctionMetrics,
        on_return: Callable[[], object],
    ) -> None:
        self.group = trigger.consumer_group
        self.lease_ms = lease_ms
        self.lost = LostEntries(function_name, metrics.entries_lost)
        self.claims = Claims(client, self.group, instance, lease_ms, self.lost)
        self.unanswered = UnansweredReads()
        self._names = self.claims.names
        self._trigger = trigger
        self._function_name = function_name
        self.client = client
        self.unreachable = UnreachableKeys(client, trigger.keys, on_return)
        self._dead_letters_dropped = metrics.dead_letters_dropped
        self._acknowledge = load_script("listeners.streams.scripts", "pending", "acknowledge")
        self._dead_letter = load_script(
            "listeners.streams.scripts", "pending", "dead_letter", uses=(("listeners.dead_letters", "add"),)
        )
        self._remove_consumer = load_script("listeners.streams.scripts", "remove_consumer")

    async def create_group(self, key: str) -> bool:
        """Create the group of a stream at ID 0, so that entries added before the first start are delivered.

        Return whether it was missing.
        """
        try:
            await self.client.command(
                key, "XGROUP", "CREATE", key, self.group, "0", "MKSTREAM",
                doing=f"creating group {self.group!r} of stream {key!r}",
            )  # fmt: skip
        except CommandRefusedError as error:
            if "BUSYGROUP" not in str(error):
                raise
            # Another process may have had the same name. What is pending for it is nothing that was lost here.
            _, _, last, _ = await self.pending(key)
            if last:
                self.unanswered.know(key, EntryId.parse(last))
            return False
        return True

    async def read(self, keys: Sequence[str], count: int) -> list[Entry]:
        """Read up to `count` new entries of each stream, without waiting (XREADGROUP)."""
        sent_at = boot_seconds()
        command = self._read_command(keys, count)
        with self.unanswered.reading(keys):
            reply = await self.client.command(keys[0], *command, doing=f"reading stream {' '.join(keys)!r}")
        return self._read_entries(reply, sent_at)

    async def settle_and_read(
        self, succeeded: Sequence[Entry], keys: Sequence[str], count: int
    ) -> tuple[list[Entry], list[str]]:
        """Acknowledge entries and read up to `count` new ones of each stream, without waiting, in one step (MULTI).

        All streams must be in one slot. If one command is denied, none is executed. Return the new entries, and the
        streams where not all acknowledged entries were pending.
        """
        sent_at = boot_seconds()
        acknowledging = [command for key, group in by_key(succeeded) for command in self._settle_commands(key, group)]
        commands = (*acknowledging, self._read_command(keys, count))
        doing = f"acknowledging entries and reading stream {' '.join(keys)!r}"
        with self.unanswered.reading(keys):
            replies = await self.client.transaction(keys[0], commands, doing=doing)
        gaps = [command[1] for command, reply in zip(acknowledging, replies, strict=False) if _lacks(command, reply)]
        return self._read_entries(replies[-1], sent_at), gaps

    async def claim(self, key: str, overdue: Mapping[Overdue, int]) -> Moved:
        """Claim entries of one stream whose lease is over; see Claims."""
        self.unanswered.know_claims(key, [entry.id for entry in overdue])
        return await self.claims.claim(key, overdue)

    async def with_content(self, key: str, deliveries: Mapping[str, int], sent_at: float) -> list[Entry]:
        """Fetch entries that were claimed by a command sent at `sent_at`, given their delivery counts by ID.

        Those that were deleted or trimmed are acknowledged and reported.
        """
        ids = list(deliveries)
        if not ids:
            return []
        doing = f"fetching entries of stream {key!r}"
        commands = [("XRANGE", key, entry_id, entry_id) for entry_id in ids]
        if len(commands) == 1:
            replies = [await self.client.command(key, *commands[0], doing=doing)]
        else:
            replies = await self.client.transaction(key, commands, doing=doing)
        gone = [entry_id for entry_id, reply in zip(ids, replies, strict=True) if not reply]
        if gone:
            await self.client.command(key, "XACK", key, self.group, *gone, doing=f"acknowledging entries of {key!r}")
            self.lost.add(len(gone))
        entries = self._entries(key, [raw for reply in replies for raw in reply], sent_at)
        for entry in entries:
            entry.deliveries = deliveries[id_of(entry)]
        return entries

    async def pending(self, key: str, *arguments: object) -> list[Any]:
        """Read a range of pending entries, or without arguments their summary (XPENDING)."""
        rows: list[Any] = await self.client.command(
            key, "XPENDING", key, self.group, *arguments, doing=f"listing pending entries of stream {key!r}"
        )
        return rows

    async def count_pending(self, key: str) -> int:
        """Return how many entries of a stream are pending in the group (XPENDING)."""
        number, *_ = await self.pending(key)
        return int(number)

    async def acknowledge(self, key: str, entries: Sequence[Entry]) -> bool:
        """Acknowledge entries of one stream (XACK), and delete them if the trigger requests it (XDEL).

        Return whether all were pending.
        """
        commands, doing = self._settle_commands(key, entries), f"acknowledging entries of stream {key!r}"
        if len(commands) > 1:
            reply, *_ = await self.client.transaction(key, commands, doing=doing)
        else:
            reply = await self.client.command(key, *commands[0], doing=doing)
        return not _lacks(commands[0], reply)

    async def acknowledge_held(self, key: str, entries: Sequence[Entry]) -> None:
        """Acknowledge entries of one stream that may have been claimed by others: only those that were not."""
        for at in range(0, len(entries), ACKNOWLEDGE_PAGE):
            ids = [id_of(entry) for entry in entries[at : at + ACKNOWLEDGE_PAGE]]
            arguments = [self.group, self._names.taken, self._names.alone, self._delete, *ids]
            with contextlib.suppress(GroupMissingError):  # without the group, nothing is pending
                await self.client.run_script(
                    self._acknowledge, [key], arguments, doing=f"acknowledging entries of stream {key!r}"
                )

    async def dead_letter(self, settlement: Settlement, *, gone: bool) -> None:
        """Move an entry to the dead letters. `gone`: it is known to have been deleted from its stream while held."""
        entry = settlement.entry
        if entry.flat_fields is None:  # a suspect that was not called
            found = await self.with_content(entry.key, {id_of(entry): entry.deliveries}, boot_seconds())
            if not found:
                return
            entry.flat_fields = found[0].flat_fields
        fields = [*description_fields(settlement, self._function_name), *entry_fields(entry)]
        held_by = (self._names.taken, self._names.alone)
        # Without the group the entry is no longer pending. The recreated group delivers it again.
        with contextlib.suppress(GroupMissingError):
            dropped = await self.client.run_script(
                self._dead_letter,
                [entry.key, dead_letters_key(entry.key)],
                [self.group, *held_by, id_of(entry), self._delete, int(gone), *fields],
                doing=f"dead-lettering from stream {entry.key!r}",
            )
            self._dead_letters_dropped.inc(dropped)

    async def remove_dead_consumers(self, key: str) -> None:
        """Remove consumers of other instances that hold no entry and have been idle for long."""
        idle_ms = max(DEAD_LEASES * self.lease_ms, int(MIN_DEAD_SECONDS * 1000))
        doing = f"listing consumers of stream {key!r}"
        consumers = await self.client.command(key, "XINFO", "CONSUMERS", key, self.group, doing=doing)
        for flat in consumers:
            consumer = dict(zip(flat[::2], flat[1::2], strict=True))
            name = decode(consumer[b"name"])
            dead = consumer[b"pending"] == 0 and consumer[b"idle"] > idle_ms
            if dead and is_consumer_name(name) and name not in self._names:
                await self._remove(key, name)

    async def retire(self) -> None:
        """Remove the consumers of this instance that hold no entry."""
        await self.client.for_each_key(self._trigger.keys, self._retire_from)

    async def _retire_from(self, key: str) -> None:
        for name in self._names:
            await self._remove(key, name)

    async def _remove(self, key: str, consumer: str) -> None:
        doing = f"removing consumer {consumer} of stream {key!r}"
        await self.client.run_script(self._remove_consumer, [key], [self.group, consumer], doing=doing)

    @property
    def _delete(self) -> int:
        return int(self._trigger.delete_after_process)

    def _read_command(self, keys: Sequence[str], count: int) -> tuple[Any, ...]:
        streams = ("STREAMS", *keys, *(">" for _ in keys))
        return ("XREADGROUP", "GROUP", self.group, self._names.taken, "COUNT", count, *streams)

    def _settle_commands(self, key: str, entries: Sequence[Entry]) -> list[tuple[Any, ...]]:
        ids = [entry.id for entry in entries]
        acknowledge = ("XACK", key, self.group, *ids)
        return [acknowledge, ("XDEL", key, *ids)] if self._trigger.delete_after_process else [acknowledge]

    def _read_entries(self, reply: Iterable[Any] | None, sent_at: float) -> list[Entry]:
        """Return the entries of an XREADGROUP reply."""
        entries: list[Entry] = []
        for raw_key, raws in reply or ():
            entries += self._entries(decode(raw_key), raws, sent_at)
        return entries

    def _entries(self, key: str, raws: Iterable[Any], sent_at: float) -> list[Entry]:
        """Return the entries of one stream's reply: [ID, [name, value, name, value, ...]] for each."""
        ends_at = lease_end(sent_at, self.lease_ms / 1000)
        return [Entry(key, flat_fields=flat, id=entry_id.decode(), lease_ends_at=ends_at) for entry_id, flat in raws]


def _lacks(command: Sequence[Any], reply: int) -> bool:
    """Return whether an XACK has found fewer entries than it names."""
    return bool(command[0] == "XACK" and reply < len(command) - 3)


def id_of(entry: Entry) -> str:
    """Return the entry's ID in its stream."""
    return entry.id or ""
