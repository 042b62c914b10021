"""One consumer of a group: the commands that read, claim and settle entries of streams."""

import contextlib
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from listeners.dead_letters.letters import DEAD_LETTERS_KEPT, dead_letter_fields
from listeners.errors import CommandRefusedError, GroupMissingError
from listeners.functions.entries import Entry, Settlement, by_key
from listeners.functions.triggers import StreamTrigger
from listeners.keys import consumer_name, dead_letters_key, is_consumer_name
from listeners.redis.client import Client
from listeners.redis.entry_id import EntryId
from listeners.redis.scripts import Script
from listeners.redis.server_info import ServerInfo
from listeners.text import decode

__all__ = ["Consumer", "id_of"]

#: How many pending entries are checked in one step.
RECLAIM_PAGE = 100
#: How many entries one run of keep.lua covers; Lua's unpack has a limit.
KEEP_PAGE = 1000


class Consumer:
    """The consumer of one process in a trigger's group. Every method may raise SourceError.

    `instance` is unique to the process. `lease_ms`: how long a consumer holds an entry without a renewal.
    """

    def __init__(
        self, trigger: StreamTrigger, function_name: str, client: Client, instance: str, lease_ms: int
    ) -> None:
        self._trigger = trigger
        self._function_name = function_name
        self._client = client
        self._lease_ms = lease_ms
        self.group = trigger.consumer_group
        self.name = consumer_name(instance)
        self._dead_letter = Script("listeners.streams", "dead_letter")
        self._remove_consumer = Script("listeners.streams", "remove_consumer")
        self._keep = Script("listeners.streams", "keep")
        #: Where the scan of each stream's pending entries continues, before Redis 6.2.
        self._cursors: dict[str, str] = {}

    async def create_groups(self) -> None:
        """Create the groups at ID 0, so that entries added before the first start are delivered."""
        for key in self._trigger.keys:
            try:
                await self._client.command(
                    key, "XGROUP", "CREATE", key, self.group, "0", "MKSTREAM",
                    doing=f"creating group {self.group!r} of stream {key!r}",
                )  # fmt: skip
            except CommandRefusedError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    async def read(self, keys: Sequence[str], count: int, block_ms: int) -> list[Entry]:
        """Read up to `count` new entries of each stream (XREADGROUP). Wait at most `block_ms` for the first."""
        command = self._read_command(keys, count, ("BLOCK", block_ms))
        reply = await self._client.command(keys[0], *command, doing=f"reading stream {' '.join(keys)!r}")
        return _entries(reply)

    async def settle_and_read(self, succeeded: Sequence[Entry], keys: Sequence[str], count: int) -> list[Entry]:
        """Acknowledge entries and read up to `count` new ones of each stream, without waiting, in one step (MULTI).

        All streams must be in one slot. If one command is denied, none is executed.
        """
        acknowledging = [command for key, group in by_key(succeeded) for command in self._settle_commands(key, group)]
        commands = (*acknowledging, self._read_command(keys, count, ()))
        doing = f"acknowledging entries and reading stream {' '.join(keys)!r}"
        return _entries((await self._client.transaction(keys[0], commands, doing=doing))[-1])

    def _read_command(self, keys: Sequence[str], count: int, options: tuple[object, ...]) -> tuple[Any, ...]:
        streams = ("STREAMS", *keys, *(">" for _ in keys))
        return ("XREADGROUP", "GROUP", self.group, self.name, "COUNT", count, *options, *streams)

    async def overdue(self, server: ServerInfo, key: str, room: int, exclude: Collection[str]) -> list[tuple[str, int]]:
        """Return ID and delivery count of up to `room` pending entries whose lease expired, except those to exclude."""
        if server.supports(6, 2):
            rows = await self._pending(key, "IDLE", self._lease_ms, "-", "+", min(room, RECLAIM_PAGE))
        else:
            rows = await self._pending(key, self._cursors.get(key, "-"), "+", RECLAIM_PAGE)
            full = len(rows) == RECLAIM_PAGE
            self._cursors[key] = str(EntryId.parse(rows[-1][0]).next()) if full else "-"
        return [
            (decode(entry_id), count)
            for entry_id, _, idle_ms, count in rows
            if idle_ms >= self._lease_ms and decode(entry_id) not in exclude
        ][:room]

    async def _pending(self, key: str, *arguments: object) -> list[Any]:
        doing = f"listing pending entries of stream {key!r}"
        rows: list[Any] = await self._client.command(key, "XPENDING", key, self.group, *arguments, doing=doing)
        return rows

    async def claim(self, key: str, deliveries: dict[str, int]) -> list[Entry]:
        """Claim entries (XCLAIM), given their delivery counts by ID. Without the group, nothing is pending."""
        reply: list[Any] = []
        with contextlib.suppress(GroupMissingError):
            reply = await self._client.command(
                key, "XCLAIM", key, self.group, self.name, self._lease_ms, *deliveries,
                doing=f"claiming entries of stream {key!r}",
            )  # fmt: skip
        claimed = _entries_of(key, [raw for raw in reply if raw and raw[1]])
        for entry in claimed:
            entry.deliveries = deliveries[id_of(entry)] + 1
        return claimed

    async def keep(self, key: str, ids: list[str], *options: object) -> list[Any]:
        """Claim entries again if this consumer still holds them. Another one may, if the lease has expired."""
        kept: list[Any] = []
        for at in range(0, len(ids), KEEP_PAGE):
            arguments = [self.group, self.name, len(options), *options, *ids[at : at + KEEP_PAGE]]
            with contextlib.suppress(GroupMissingError):  # without the group, nothing is pending
                kept += await self._client.run_script(
                    self._keep, [key], arguments, doing=f"updating claims on entries of stream {key!r}"
                )
        return kept

    async def acknowledge(self, entries: Iterable[Entry]) -> None:
        """Acknowledge entries (XACK), and delete them if the trigger requests it (XDEL)."""
        for key, group in by_key(entries):
            commands, doing = self._settle_commands(key, group), f"acknowledging entries of stream {key!r}"
            if len(commands) > 1:
                await self._client.transaction(key, commands, doing=doing)
            else:
                await self._client.command(key, *commands[0], doing=doing)

    def _settle_commands(self, key: str, entries: Sequence[Entry]) -> list[tuple[Any, ...]]:
        ids = [entry.id for entry in entries]
        acknowledge = ("XACK", key, self.group, *ids)
        return [acknowledge, ("XDEL", key, *ids)] if self._trigger.delete_after_process else [acknowledge]

    async def settle_deleted(self, key: str, ids: set[str]) -> None:
        """Acknowledge pending entries that were deleted or trimmed, as nothing is left to deliver."""
        for entry_id in ids:
            doing = f"checking entry {entry_id} of stream {key!r}"
            if not await self._client.command(key, "XRANGE", key, entry_id, entry_id, doing=doing):
                await self._client.command(key, "XACK", key, self.group, entry_id, doing=doing)

    async def dead_letter(self, settlement: Settlement) -> None:
        """Move an entry to the dead letters."""
        entry = settlement.entry
        delete = int(self._trigger.delete_after_process)
        fields = dead_letter_fields(settlement, self._function_name)
        # Without the group the entry is no longer pending. The recreated group delivers it again.
        with contextlib.suppress(GroupMissingError):
            await self._client.run_script(
                self._dead_letter,
                [entry.key, dead_letters_key(entry.key)],
                [self.group, id_of(entry), delete, DEAD_LETTERS_KEPT, *fields],
                doing=f"dead-lettering from stream {entry.key!r}",
            )

    async def remove_dead_consumers(self, idle_ms: int) -> None:
        """Remove Triggerfish consumers that hold no entry and have been idle for more than `idle_ms`."""
        for key in self._trigger.keys:
            doing = f"listing consumers of stream {key!r}"
            consumers = await self._client.command(key, "XINFO", "CONSUMERS", key, self.group, doing=doing)
            for flat in consumers:
                consumer = dict(zip(flat[::2], flat[1::2], strict=True))
                name = decode(consumer[b"name"])
                dead = consumer[b"pending"] == 0 and consumer[b"idle"] > idle_ms
                if dead and is_consumer_name(name) and name != self.name:
                    await self._remove(key, name)

    async def retire(self) -> None:
        """Remove this consumer from the streams where it holds no entry."""
        for key in self._trigger.keys:
            await self._remove(key, self.name)

    async def _remove(self, key: str, consumer: str) -> None:
        doing = f"removing consumer {consumer} of stream {key!r}"
        await self._client.run_script(self._remove_consumer, [key], [self.group, consumer], doing=doing)


def id_of(entry: Entry) -> str:
    """Return the entry's ID in its stream."""
    return entry.id or ""


def _entries(reply: Any) -> list[Entry]:
    """Return the entries of an XREADGROUP reply."""
    return [entry for key, raws in reply or () for entry in _entries_of(decode(key), raws)]


def _entries_of(key: str, raws: Any) -> list[Entry]:
    """Return the entries of one stream's reply: [ID, [name, value, name, value, ...]] for each."""
    return [Entry(key, None, flat_fields, entry_id.decode()) for entry_id, flat_fields in raws]
