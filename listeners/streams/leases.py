"""Renews the leases of stream entries in progress."""

import math
from collections.abc import Sequence

from listeners.engine.source import LeaseRenewal
from listeners.functions.entries import Entry, by_key
from listeners.redis.client import Client
from listeners.runtime.clock import boot_seconds, lease_end
from listeners.streams.claims import Claims

__all__ = ["StreamLeases"]


class StreamLeases(LeaseRenewal):
    """Renews by XCLAIM, which resets the idle time of an entry, if one of the instance's consumers still holds it."""

    def __init__(self, client: Client, group: str, instance: str, lease_ms: int) -> None:
        self._client = client
        self._claims = Claims(client, group, instance, lease_ms)
        self._lease_ms = lease_ms

    async def renew(self, entries: Sequence[Entry]) -> None:
        """Extend leases. An entry that is gone from its stream is leased forever, as nothing else can claim it."""
        groups = dict(by_key(entry for entry in entries if entry.lease_ends_at < math.inf))
        await self._client.for_each_key(groups, lambda key: self._renew_stream(key, groups[key]))

    async def _renew_stream(self, key: str, entries: Sequence[Entry]) -> None:
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

    async def close(self) -> None:
        await self._client.aclose()
