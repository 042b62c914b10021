"""Entries of a stream whose lease ended without an outcome."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from listeners.engine.settlement import Outcome
from tests.listeners.streams.sources import (
    GROUP,
    KEY,
    add,
    dead_letters,
    lapse,
    maintained,
    opened,
    recorded,
    settle,
    take,
    take_suspect,
)
from tests.servers.catalogue import REPRESENTATIVE
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases(*REPRESENTATIVE)

TAKEN, ALONE, WAITING = "triggerfish-a", "triggerfish-a:alone", "triggerfish-a:waiting"


@pytest.fixture
async def lapsed_entry(server: Server, client: redis.asyncio.Redis) -> AsyncIterator[str]:
    """The ID of an entry that another instance took, without an outcome."""
    async with opened(server, "b") as other:
        (entry_id,) = await add(client, "1")
        await take(other)
        await lapse(client, entry_id)
        yield entry_id


async def test_a_lapsed_entry_is_a_suspect(server: Server, client: redis.asyncio.Redis) -> None:
    """An entry whose instance told no outcome is never taken with others: it is handed out alone and counts nothing."""
    async with opened(server) as dead, opened(server, "b") as source:
        lapsed, fresh = await add(client, "1", "2")
        await take(dead)
        await lapse(client, lapsed)
        async with maintained(source):
            await asyncio.wait_for(source.suspects.wait(), 30)
            (other,) = await take(source)
            assert other.id == fresh
            suspect = await take_suspect(source)
            assert (suspect.id, suspect.deliveries, suspect.suspect, suspect.died_alone) == (lapsed, 1, True, False)
            assert suspect.flat_fields is None
            assert source.may_start(suspect)
            assert (lapsed, "triggerfish-b", 1) in await recorded(client)
            assert await source.take_suspect() is None
            assert not source.suspects.is_set()
            # It lapses again before its call begins.
            await settle(source, Outcome.LAPSED, suspect)
            await lapse(client, lapsed)
            again = await take_suspect(source)
            assert (again.id, again.deliveries, again.died_alone) == (lapsed, 1, False)


async def test_a_call_that_is_begun_counts(server: Server, client: redis.asyncio.Redis, lapsed_entry: str) -> None:
    """A call that was begun alone counts once, whether it fails, is released, or ends with its process."""
    async with opened(server) as source, maintained(source):
        suspect = await take_suspect(source)
        assert await source.begin(suspect, counts=True)
        assert (suspect.flat_fields, suspect.deliveries) == ([b"payload", b"1"], 1)
        assert await recorded(client) == [(lapsed_entry, ALONE, 2)]
        # Its process dies.
        await settle(source, Outcome.LAPSED, suspect)
        await lapse(client, lapsed_entry)
        suspect = await take_suspect(source)
        assert (suspect.deliveries, suspect.died_alone) == (2, True)
        # It lapses again before its call begins, so the last thing known is still the same.
        await settle(source, Outcome.LAPSED, suspect)
        await lapse(client, lapsed_entry)
        suspect = await take_suspect(source)
        assert (suspect.deliveries, suspect.died_alone) == (2, True)
        assert await source.begin(suspect, counts=True)
        await settle(source, Outcome.RETRIED, suspect)
        assert await recorded(client) == [(lapsed_entry, WAITING, 3)]
        (entry,) = await take(source)
        assert (entry.deliveries, entry.suspect) == (3, False)


async def test_a_begun_call_that_is_released(server: Server, client: redis.asyncio.Redis, lapsed_entry: str) -> None:
    """A call that was begun and is cancelled by a drain does not count."""
    async with opened(server) as source:
        async with maintained(source):
            suspect = await take_suspect(source)
            assert await source.begin(suspect, counts=True)
            suspect.started_at = 1.0
            await source.release([suspect])
        assert await recorded(client) == [(lapsed_entry, WAITING, 1)]


async def test_a_suspect_that_is_released_before_its_call(server: Server, client: redis.asyncio.Redis) -> None:
    """It remains a suspect, available to others at once."""
    async with opened(server) as source, opened(server, "b") as other:
        (entry_id,) = await add(client, "1")
        await take(source)
        await lapse(client, entry_id)
        async with maintained(other):
            suspect = await take_suspect(other)
        await other.release([suspect])
        assert await recorded(client) == [(entry_id, "triggerfish-b", 1)]
        async with opened(server, "c") as third, maintained(third):
            assert (await take_suspect(third)).id == entry_id


@pytest.mark.parametrize("begins", [True, False])
async def test_a_release_between_begin_and_the_call(
    server: Server, client: redis.asyncio.Redis, lapsed_entry: str, begins: bool
) -> None:
    """A suspect that is released with its content, but without a call, remains a suspect with nothing counted."""
    async with opened(server) as source, maintained(source):
        suspect = await take_suspect(source)
        assert await source.begin(suspect, counts=begins)
        await source.release([suspect])
        assert await recorded(client) == [(lapsed_entry, TAKEN, 1)]
        suspect = await take_suspect(source)
        assert await source.begin(suspect, counts=True)
        await settle(source, Outcome.LAPSED, suspect)
        await lapse(client, lapsed_entry)
        suspect = await take_suspect(source)
        assert await source.begin(suspect, counts=begins)
        await source.release([suspect])
        assert await recorded(client) == [(lapsed_entry, ALONE, 2)]


async def test_a_release_after_a_lost_reply(server: Server, client: redis.asyncio.Redis, lapsed_entry: str) -> None:
    """A suspect released although the reply that its call begins was lost is what it was before: nothing counts."""
    async with opened(server) as source, maintained(source):
        suspect = await take_suspect(source)
        assert await source.begin(suspect, counts=True)
        assert await recorded(client) == [(lapsed_entry, ALONE, 2)]
        suspect.flat_fields = None  # as after a lost reply
        await source.release([suspect])
        assert await recorded(client) == [(lapsed_entry, TAKEN, 1)]
        again = await take_suspect(source)
        assert (again.deliveries, again.died_alone) == (1, False)


async def test_a_call_that_does_not_count(server: Server, client: redis.asyncio.Redis, lapsed_entry: str) -> None:
    """begin() without counting fetches the content and changes no count; a failure then counts as usual."""
    async with opened(server) as source:
        async with maintained(source):
            suspect = await take_suspect(source)
        assert await source.begin(suspect, counts=False)
        assert suspect.flat_fields == [b"payload", b"1"]
        assert await recorded(client) == [(lapsed_entry, TAKEN, 1)]
        await settle(source, Outcome.RETRIED, suspect)
        assert await recorded(client) == [(lapsed_entry, WAITING, 2)]


async def test_a_suspect_is_dead_lettered_without_a_call(
    server: Server, client: redis.asyncio.Redis, lapsed_entry: str
) -> None:
    """The dead letter contains the entry, whose content had not been fetched."""
    async with opened(server) as source:
        async with maintained(source):
            suspect = await take_suspect(source)
        await settle(source, Outcome.DEAD_LETTERED, suspect)
        assert await recorded(client) == []
    (letter,) = await dead_letters(client)
    assert letter[b"field:payload"] == b"1"


async def test_a_lost_reply(server: Server, client: redis.asyncio.Redis) -> None:
    """Entries that Redis gave to this instance in a reply that got lost are suspects like any others."""
    async with opened(server) as source:
        (entry_id,) = await add(client, "1")
        await client.execute_command("XREADGROUP", "GROUP", GROUP, TAKEN, "STREAMS", KEY, ">")
        await lapse(client, entry_id)
        async with maintained(source):
            suspect = await take_suspect(source)
        assert (suspect.id, suspect.deliveries) == (entry_id, 1)


async def test_an_entry_in_progress_is_no_suspect(server: Server, client: redis.asyncio.Redis) -> None:
    """The instance that still has an entry does not take it from itself, although its lease has ended."""
    async with opened(server) as source:
        mine, lost = await add(client, "1", "2")
        await take(source)
        await client.execute_command("XREADGROUP", "GROUP", GROUP, TAKEN, "STREAMS", KEY, ">")
        for entry_id in (mine, lost):
            await lapse(client, entry_id)
        async with maintained(source):
            assert (await take_suspect(source)).id == lost
            assert await source.take_suspect() is None
