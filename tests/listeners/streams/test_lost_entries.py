"""Entries that are deleted or trimmed while they are pending."""

import logging

import pytest
import redis.asyncio

from listeners.engine.metrics import FunctionMetrics
from listeners.engine.settlement import Outcome
from tests.listeners.streams.sources import (
    GROUP,
    KEY,
    add,
    dead_letters,
    lapse,
    maintained,
    metrics,
    opened,
    recorded,
    settle,
    take,
    take_suspect,
)
from tests.support.waiting import eventually
from triggerfish.testing.server import Server


def lost(measured: FunctionMetrics) -> float:
    """Return how many lost entries were counted."""
    return float(measured.entries_lost._value.get())


async def test_a_burst_is_reported_once(
    server: Server, client: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Entries trimmed while they wait for a retry are acknowledged and counted, with one line in the log."""
    measured = metrics()
    async with opened(server, measured=measured) as source:
        await add(client, *map(str, range(20)))
        await settle(source, Outcome.RETRIED, *await take(source, 20))
        await client.xtrim(KEY, maxlen=5, approximate=False)
        await add(client, "new")
        handled: list[str | None] = []

        async def all_handled() -> bool:
            entries = await source.take(10, 2**30)
            handled.extend(entry.id for entry in entries)
            await settle(source, Outcome.SUCCEEDED, *entries)
            return len(handled) >= 6

        with caplog.at_level(logging.WARNING, "triggerfish.host"):
            await eventually(all_handled)
            async with maintained(source):
                await eventually(lambda: caplog.records)
        assert await recorded(client) == []
        assert lost(measured) == 15
    assert [record.getMessage().partition(" were ")[0] for record in caplog.records] == ["function: 15 entries"]


async def test_a_waiting_entry_whose_retry_is_not_due(server: Server, client: redis.asyncio.Redis) -> None:
    """It is reported at the latest when its retry is due, and not before a release."""
    measured = metrics()
    async with opened(server, measured=measured) as source, opened(server, "b", measured=measured) as other:
        (entry_id,) = await add(client, "1")
        await settle(source, Outcome.RETRIED, *await take(source), delay_ms=600_000)
        await client.xdel(KEY, entry_id)
        await source.release([])

        async def acknowledged() -> bool:
            await other.take(1, 1)
            return await recorded(client) == []

        async with maintained(other):
            await eventually(acknowledged)
        assert lost(measured) == 1


async def test_an_entry_that_is_called(server: Server, client: redis.asyncio.Redis) -> None:
    """An entry deleted during its call is not lost: it stays leased, and its success or dead letter counts."""
    measured = metrics()
    async with opened(server, measured=measured) as source:
        ids = await add(client, "1", "2", "3", "4")
        succeeds, fails, retried, released = await take(source, 4)
        renewal = source.renewal()
        await client.xdel(KEY, *ids)
        for _ in range(2):
            await renewal.renew([succeeds, fails, retried, released])
            assert source.may_start(succeeds)
            assert source.may_start(fails)
        await settle(source, Outcome.SUCCEEDED, succeeds)
        await settle(source, Outcome.DEAD_LETTERED, fails)
        assert lost(measured) == 0
        assert [letter[b"field:payload"] for letter in await dead_letters(client)] == [b"2"]
        # The others have no content to be called with again.
        await settle(source, Outcome.RETRIED, retried)
        await source.release([released])

        async def acknowledged() -> bool:
            await source.take(1, 1)
            return await recorded(client) == []

        async with maintained(source):
            await eventually(acknowledged)
        assert lost(measured) == 2


async def test_a_suspect_that_is_gone(server: Server, client: redis.asyncio.Redis) -> None:
    """A suspect deleted before or after it is taken is acknowledged and counted, and never called."""
    measured = metrics()
    async with opened(server, "b") as dead, opened(server, measured=measured) as source:
        ids = await add(client, "1", "2")
        await take(dead, 2)
        for entry_id in ids:
            await lapse(client, entry_id)
        async with maintained(source):
            suspect = await take_suspect(source)
            await client.xdel(KEY, *ids)
            renewal = source.renewal()
            await renewal.renew([suspect])
            assert not await source.begin(suspect, counts=True)
            assert lost(measured) == 1

            async def found_gone() -> bool:
                found = await source.take_suspect()
                if found is not None:  # servers before Redis 7.0 do not notice when it is claimed
                    assert not await source.begin(found, counts=False)
                return await recorded(client) == []

            await eventually(found_gone)
        assert lost(measured) == 2


async def test_an_entry_of_another_program_that_is_gone(server: Server, client: redis.asyncio.Redis) -> None:
    """It is acknowledged and counted; those beside it are taken."""
    measured = metrics()
    async with opened(server, measured=measured) as source:
        ids = await add(client, "1", "2", "3")
        await client.execute_command("XREADGROUP", "GROUP", GROUP, "theirs", "STREAMS", KEY, ">")
        for entry_id in ids:
            await lapse(client, entry_id)
        await client.xdel(KEY, ids[1])
        async with maintained(source):
            entries = await take(source, 2)
        assert [entry.id for entry in entries] == [ids[0], ids[2]]
        assert [entry_id for entry_id, _, _ in await recorded(client)] == [ids[0], ids[2]]
        assert lost(measured) == 1
