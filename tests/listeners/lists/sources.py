"""Steps and observations that tests of list sources share."""

import redis.asyncio

from listeners.engine.settlement import Failure, Outcome, Settlement
from listeners.functions.entries import Entry
from listeners.keys import dead_letters_key, elements_key, inflight_key
from listeners.lists.source import ListSource
from tests.support.waiting import eventually

__all__ = [
    "KEY", "MIB", "dead", "end_leases", "in_flight", "payloads", "records", "retried", "succeeded", "suspect", "take",
]  # fmt: skip

KEY = "q"
MIB = 1024 * 1024


async def take(source: ListSource, count: int = 10, max_bytes: int = MIB) -> list[Entry]:
    """Take elements, waiting for the first as the source does."""
    return await source.take(count, max_bytes)


async def suspect(source: ListSource) -> Entry:
    """Take a suspect as the engine does: once take() has seen that there is one."""

    async def taken() -> Entry | None:
        if not source.suspects.is_set():
            assert await take(source) == []
        return await source.take_suspect()

    entry: Entry = await eventually(taken)
    assert entry.suspect
    assert entry.payload is None
    return entry


def payloads(entries: list[Entry]) -> list[bytes]:
    """Return the payloads in order."""
    found = [entry.payload for entry in entries if entry.payload is not None]
    assert len(found) == len(entries)
    return found


def succeeded(entry: Entry) -> Settlement:
    """A call that succeeded."""
    return Settlement(entry, Outcome.SUCCEEDED)


def retried(entry: Entry, delay_ms: int = 0) -> Settlement:
    """A call that failed and is repeated."""
    return Settlement(entry, Outcome.RETRIED, delay_ms, Failure("ValueError: broken"))


def dead(entry: Entry) -> Settlement:
    """An entry to dead-letter."""
    return Settlement(entry, Outcome.DEAD_LETTERED, failure=Failure("ValueError: broken", "app.py:1"))


async def in_flight(client: redis.asyncio.Redis, key: str = KEY) -> dict[bytes, float]:
    """Return the members of elements in flight and their scores."""
    return dict(await client.execute_command("ZRANGE", inflight_key(key), 0, -1, "WITHSCORES", withscores=True))


async def records(client: redis.asyncio.Redis, key: str = KEY) -> list[bytes]:
    """Return the records of elements in flight, sorted."""
    return sorted(await client.execute_command("HVALS", elements_key(key)))


async def end_leases(client: redis.asyncio.Redis, key: str = KEY) -> None:
    """Let all leases and waits of a list end now: their time is set to a moment in the past."""
    members = await in_flight(client, key)
    await client.zadd(inflight_key(key), dict.fromkeys(members, 1))


async def dead_letters(client: redis.asyncio.Redis, key: str = KEY) -> list[dict[bytes, bytes]]:
    """Return the fields of the dead letters, oldest first."""
    letters = await client.execute_command("XRANGE", dead_letters_key(key), "-", "+")
    return [fields for _, fields in letters]
