"""Renews the leases of stream entries: in progress, queued, and waiting for a retry."""

import math
from collections.abc import Callable, Collection, Sequence

from listeners.engine.source import LeaseRenewal
from listeners.functions.entries import Entry, by_key
from listeners.redis.client import Client
from listeners.runtime.clock import boot_seconds, lease_end
from listeners.streams.claims import Claims
from listeners.streams.retries import Retries, Waiting

__all__ = ["StreamLeases"]


class StreamLeases(LeaseRenewal):
    """Renews by XCLAIM, which resets the idle time of an entry, if one of the instance's consumers still holds it.

    `queued` returns the entries that the source has queued. It and `retries` are read from the renewing thread.
    """

    def __init__(
        self,
        client: Client,
        group: str,
        instance: str,
        lease_ms: int,
        *,
        queued: Callable[[], Sequence[Entry]],
        retries: Retries,
    ) -> None:
        self.client = client
        self._claims = Claims(client, group, instance, lease_ms)
        self._lease_ms = lease_ms
        self._queued = queued
        self._retries = retries

    async def renew(self, entries: Collection[Entry]) -> None:
        """Extend leases. An entry that is gone from its stream is leased forever, as nothing else can claim it."""
        # In the order in which entries move on, so that none is missed that moves meanwhile.
        waiting = self._retries.by_key()
        queued = self._queued()
        held = dict.fromkeys([*queued, *list(entries)])
        groups = dict(by_key(entry for entry in held if entry.lease_ends_at < math.inf))

        async def renew_in(key: str) -> None:
            if key in groups:
                await self._renew_held(key, groups[key])
            if key in waiting:
                await self._renew_waiting(key, waiting[key])

        await self.client.for_each_key({**groups, **waiting}, renew_in)

    async def _renew_held(self, key: str, entries: Sequence[Entry]) -> None:
        sent_at = boot_seconds()
        ids: dict[str, int | None] = {entry.id: None for entry in entries if entry.id}
        held_by = (self._claims.names.taken, self._claims.names.alone)
        moved = await self._claims.move(key, ids, held_by=held_by, to=None)
        for entry in entries:
            if entry.id in moved.deleted:
                entry.lease_ends_at = math.inf
            else:
                held = entry.id in moved.ids
                entry.lease_ends_at = lease_end(sent_at, self._lease_ms / 1000) if held else 0.0

    async def _renew_waiting(self, key: str, waiting: Sequence[Waiting]) -> None:
        names = self._claims.names
        ids: dict[str, int | None] = {each.id: None for each in waiting}
        # Those that became due in between are with the other consumer.
        moved = await self._claims.move(key, ids, held_by=(names.waiting, names.taken), to=None)
        for each in waiting:
            if each.id not in moved.ids:
                self._retries.note_gone(each, deleted=each.id in moved.deleted)
