"""One server whose data is flushed from time to time.

What Redis held when it was flushed is read in the same transaction, so that only this may be lost. The pub/sub lease
and its epoch are flushed, too, so the lease may have two holders for a moment.
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any

import redis.asyncio

from listeners.keys import dead_letters_key, elements_key
from tests.chaos.hosts.keys import GROUP, KEYS, LISTS
from tests.chaos.records.letters import letters_in
from tests.chaos.scenarios.scenario import Fault, client
from tests.chaos.scenarios.standalone import ADMIN_TIMEOUT_SECONDS, Standalone

__all__ = ["FlushedServer"]


class FlushedServer(Standalone):
    """A standalone server that loses everything at times."""

    exclusive_lease = False

    def __init__(self, rng: random.Random, *, release: str, stop_seconds: tuple[float, float]) -> None:
        super().__init__(rng, release=release, stop_seconds=stop_seconds)
        self.name = f"standalone {release}, flushed"

    @property
    def faults(self) -> Mapping[str, Fault]:
        return {**super().faults, "FLUSHALL": self._flush}

    async def _flush(self) -> None:
        port = await self.direct_port_of("")
        async with client(port, ADMIN_TIMEOUT_SECONDS) as admin, admin.pipeline(transaction=True) as pipeline:
            _read_all(pipeline)
            pipeline.flushall()
            replies = iter(await pipeline.execute(raise_on_error=False))
        for key in KEYS:
            self.flushed.dead_letters += letters_in(key, next(replies))
            self.flushed.entries.update(_of_list(replies) if key in LISTS else _of_stream(replies))
        if isinstance(error := next(replies), Exception):
            raise error


def _read_all(pipeline: "redis.asyncio.client.Pipeline") -> None:
    for key in KEYS:
        pipeline.xrange(dead_letters_key(key))
        if key in LISTS:
            pipeline.lrange(key, 0, -1)
            pipeline.hvals(elements_key(key))
        else:
            pipeline.xrange(key)
            pipeline.xinfo_groups(key)
            pipeline.xpending_range(key, GROUP, "-", "+", 1_000_000)


def _of_list(replies: Iterator[Any]) -> list[str]:
    waiting, records = next(replies), next(replies)
    return [payload.decode() for payload in waiting] + [record.decode().partition(":")[2] for record in records]


def _of_stream(replies: Iterator[Any]) -> list[str]:
    """Return the payloads of the entries that are pending or were not delivered."""
    rows, groups, pending = next(replies), next(replies), next(replies)
    if isinstance(groups, Exception) or isinstance(pending, Exception):  # there is no stream, or no group
        groups, pending = [], []
    unfinished = {row["message_id"] for row in pending}
    delivered = max((_number(group["last-delivered-id"]) for group in groups), default=(0, 0))
    return [
        fields[b"payload"].decode()
        for entry_id, fields in rows
        if entry_id in unfinished or _number(entry_id) > delivered
    ]


def _number(entry_id: bytes) -> tuple[int, ...]:
    return tuple(map(int, entry_id.split(b"-")))
