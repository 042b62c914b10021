"""The answer to a read or a claim is lost: the instance adopts the entries, for which nobody else waits."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from listeners.engine.settlement import Outcome
from listeners.errors import SourceUnavailableError
from listeners.functions.entries import Entry
from listeners.streams.source import StreamSource
from tests.listeners.streams.sources import (
    GROUP,
    KEY,
    MAX_BYTES,
    add,
    claim,
    idle_ms,
    lapse,
    maintained,
    metrics,
    opened,
    recorded,
    settle,
    take,
)
from tests.servers.catalogue import REPRESENTATIVE
from tests.support.network.cutting import CuttingLink, cutting_link
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases(*REPRESENTATIVE, "redis-6.0", "redis-7.2", "redis-8.2")


@pytest.fixture
async def link(server: Server) -> AsyncIterator[CuttingLink]:
    """A link to the server."""
    async with cutting_link(server.port) as cutting:
        yield cutting


@pytest.fixture
async def source(link: CuttingLink, client: redis.asyncio.Redis) -> AsyncIterator[StreamSource]:
    """A source behind the link that has taken and settled entries, so that its connections are open."""
    async with opened(link) as behind_link:
        await add(client, "first", "second")
        (first,) = await take(behind_link)
        (second,) = await behind_link.settle_and_take([first], 1, MAX_BYTES)
        await settle(behind_link, Outcome.SUCCEEDED, second)
        yield behind_link


async def lose(link: CuttingLink, source: StreamSource, count: int = 10, *, passing: int = 0) -> None:
    """Read entries without learning of them. `passing`: how many bytes of the answer arrive."""
    await link.cut_after(passing, source._client)
    with pytest.raises(SourceUnavailableError):
        await source.take(count, MAX_BYTES)


def is_for_its_first_call(entry: Entry) -> bool:
    return entry.deliveries == 1 and not entry.suspect


@pytest.mark.parametrize("passing", [0, 1, 30, 100])
async def test_a_lost_answer(
    client: redis.asyncio.Redis, link: CuttingLink, source: StreamSource, passing: int
) -> None:
    """The next read adopts what the lost one has read, before it reads anything else."""
    ids = await add(client, *"abcd")
    await lose(link, source, 3, passing=passing)
    assert await recorded(client) == [(entry_id, "triggerfish-a", 1) for entry_id in ids[:3]]
    await eventually(lambda: _is_idle(client))
    began_at = time.monotonic()
    entries = await source.take(10, MAX_BYTES)
    assert [entry.id for entry in entries] == ids[:3]
    assert [entry.flat_fields for entry in entries] == [[b"payload", payload] for payload in (b"a", b"b", b"c")]
    assert all(map(is_for_its_first_call, entries))
    assert all(map(source.may_start, entries))
    assert max(await idle_ms(client)) <= (time.monotonic() - began_at) * 1000 + 1  # Redis rounds its times
    (last,) = await take(source)
    assert last.id == ids[3]
    await settle(source, Outcome.SUCCEEDED, *entries, last)
    assert await recorded(client) == []


async def _is_idle(client: redis.asyncio.Redis) -> bool:
    return min(await idle_ms(client)) > 100


async def test_an_exchange_whose_answer_is_lost(
    client: redis.asyncio.Redis, link: CuttingLink, source: StreamSource
) -> None:
    """What succeeded is acknowledged again. The next exchange reads nothing, so that the next read adopts first."""
    ids = await add(client, *"ab")
    (entry,) = await take(source)
    await link.cut_after(0, source._client)
    with pytest.raises(SourceUnavailableError):
        await source.settle_and_take([entry], 10, MAX_BYTES)
    ids += await add(client, "c")
    assert await source.settle_and_take([], 10, MAX_BYTES) == []
    await settle(source, Outcome.SUCCEEDED, entry)
    (adopted,) = await source.take(10, MAX_BYTES)
    assert (adopted.id, adopted.deliveries) == (ids[1], 1)
    (other,) = await source.settle_and_take([adopted], 10, MAX_BYTES)
    assert await recorded(client) == [(ids[2], "triggerfish-a", 1)]
    assert other.id == ids[2]


async def test_the_first_read_of_all(server: Server, client: redis.asyncio.Redis) -> None:
    """An instance that has read nothing yet adopts everything that was read, but nothing from before its start."""
    async with cutting_link(server.port) as link, opened(link) as source:
        assert await source.take(2, MAX_BYTES) == []  # its connection is open now
        ids = await add(client, "a", "b")
        await lose(link, source)
        await link.cut_after(0, source._client)  # the answer about what is pending is lost, too
        with pytest.raises(SourceUnavailableError):
            await source.take(10, MAX_BYTES)
        assert [entry.id for entry in await source.take(10, MAX_BYTES)] == ids
        async with cutting_link(server.port) as other_link, opened(other_link) as later:  # under the same name
            assert await later.take(10, MAX_BYTES) == []
            last = await add(client, "c")
            await lose(other_link, later)
            assert [entry.id for entry in await later.take(10, MAX_BYTES)] == last


async def test_a_read_that_arrives_late(
    server: Server, client: redis.asyncio.Redis, link: CuttingLink, source: StreamSource
) -> None:
    """The server executes the command when its connection is long lost. The question is repeated."""
    link.sent, link.swallows = b"", True
    with pytest.raises(SourceUnavailableError):
        await source.take(2, MAX_BYTES)
    link.swallows = False
    late = link.sent
    assert await source.take(2, MAX_BYTES) == []  # the first answer is that there is nothing
    early = await add(client, "a", "b")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(late)
    assert await reader.read(1)
    writer.close()
    other = await add(client, "c")
    (entry,) = await take(source)  # an ID above those of the lost answer
    assert [entry.id] == other
    entries = await take(source, 2)
    assert [each.id for each in entries] == early
    assert all(map(is_for_its_first_call, entries))
    assert await source.take(10, MAX_BYTES) == []
    await settle(source, Outcome.SUCCEEDED, entry, *entries)
    assert await recorded(client) == []


async def test_only_what_nothing_else_has_is_adopted(
    client: redis.asyncio.Redis, link: CuttingLink, source: StreamSource
) -> None:
    """Entries in progress, waiting for a retry or held by others stay as they are, whatever their IDs."""
    await add(client, *"abcd")
    held, retried, settled = await take(source, 3)
    await settle(source, Outcome.RETRIED, retried, delay_ms=600_000)
    await lose(link, source)
    later = await add(client, "e")
    await client.execute_command("XREADGROUP", "GROUP", GROUP, "theirs", "STREAMS", KEY, ">")
    before = await recorded(client)
    (adopted,) = await source.take(10, MAX_BYTES)
    assert adopted.flat_fields == [b"payload", b"d"]
    await settle(source, Outcome.SUCCEEDED, adopted, settled)
    assert await source.take(10, MAX_BYTES) == []
    assert await recorded(client) == [row for row in before if row[0] not in (adopted.id, settled.id)]
    assert [row[:2] for row in before if row[0] in (held.id, *later)] == [
        (held.id, "triggerfish-a"),
        (later[0], "theirs"),
    ]


@pytest.mark.usefixtures("quick_reclaims")
@pytest.mark.parametrize("after_claim", [True, False])
async def test_a_suspect_is_never_adopted(
    client: redis.asyncio.Redis, link: CuttingLink, source: StreamSource, *, after_claim: bool
) -> None:
    """It is pending for the instance like an entry of a lost answer, with a higher ID than what was read last."""
    ids = await add(client, "suspect", "lost")
    await client.execute_command("XREADGROUP", "GROUP", GROUP, "triggerfish-dead", "COUNT", 1, "STREAMS", KEY, ">")
    if not after_claim:
        await lose(link, source)
    await lapse(client, ids[0])
    async with maintained(source):
        await eventually(source.suspects.is_set)
    suspect = await source.take_suspect()
    assert suspect is not None
    await source.release([suspect])
    await claim(client, "triggerfish-a", suspect.id, "RETRYCOUNT", 1)  # as if the release had not arrived
    if after_claim:
        await lose(link, source)
    (entry,) = await source.take(10, MAX_BYTES)
    assert entry.id == ids[1]
    assert await source.take(10, MAX_BYTES) == []


@pytest.mark.usefixtures("quick_reclaims")
@pytest.mark.parametrize("lost", ["claim", "content"])
async def test_a_claim_whose_answer_is_lost(
    client: redis.asyncio.Redis, link: CuttingLink, source: StreamSource, lost: str
) -> None:
    """A released entry is claimed again, with its count: the claim was executed, or only the content is missing."""
    (entry_id,) = await add(client, "a")
    await client.execute_command("XREADGROUP", "GROUP", GROUP, "triggerfish-b:waiting", "STREAMS", KEY, ">")
    await claim(client, "triggerfish-b:waiting", entry_id, "IDLE", 3_600_000, "RETRYCOUNT", 3)
    async with maintained(source):
        await eventually(source._reclaiming.has_ordinary)
    # The script has to be known, as otherwise the answer that is lost is that it is not.
    await source._consumer.claims.claim("other", {next(iter(source._reclaiming._ordinary.values())): 1})
    # A claim is answered with [[ID], []].
    await lose(link, source, passing=0 if lost == "claim" else len(f"*2\r\n*1\r\n$15\r\n{entry_id}\r\n*0\r\n"))
    assert await recorded(client) == [(entry_id, "triggerfish-a", 3)]
    (entry,) = await source.take(10, MAX_BYTES)
    assert (entry.id, entry.deliveries, entry.suspect) == (entry_id, 3, False)
    assert not source._reclaiming.has_ordinary()
    assert await source.take(10, MAX_BYTES) == []


@pytest.mark.usefixtures("quick_reclaims")
async def test_a_claim_of_a_suspect_whose_answer_is_lost(
    client: redis.asyncio.Redis, link: CuttingLink, source: StreamSource
) -> None:
    """It is claimed again as a suspect, once."""
    (entry_id,) = await add(client, "a")
    await client.execute_command("XREADGROUP", "GROUP", GROUP, "triggerfish-dead", "STREAMS", KEY, ">")
    await lapse(client, entry_id)
    async with maintained(source):
        await eventually(source.suspects.is_set)
    await source._consumer.claims.claim("other", {next(iter(source._reclaiming._suspects.values())): 1})
    await link.cut_after(0, source._client)
    with pytest.raises(SourceUnavailableError):
        await source.take_suspect()
    assert await recorded(client) == [(entry_id, "triggerfish-a", 1)]
    suspect = await source.take_suspect()
    assert suspect is not None
    assert (suspect.id, suspect.deliveries, suspect.suspect) == (entry_id, 1, True)
    assert await source.take_suspect() is None
    assert await source.begin(suspect, counts=True)


async def test_many_pending_entries(
    client: redis.asyncio.Redis, link: CuttingLink, source: StreamSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pending entries of others do not matter. Those in progress, read since the first loss, are passed by in pages."""
    monkeypatch.setattr("listeners.redis.outages.lost_answers.REPEATED_AFTER_SECONDS", (3600.0, 3600.0))
    await add(client, *map(str, range(250)))
    await client.execute_command("XREADGROUP", "GROUP", GROUP, "theirs", "COUNT", 100, "STREAMS", KEY, ">")
    await lose(link, source, 10)
    entries = await take(source, 120)
    await lose(link, source, 30)
    entries += await take(source, 30)
    assert len({entry.id for entry in entries}) == 150
    assert all(map(is_for_its_first_call, entries))


async def test_entries_that_are_gone(server: Server, client: redis.asyncio.Redis) -> None:
    """Entries that were deleted after the read are counted as lost, and the others are adopted."""
    measured = metrics()
    async with cutting_link(server.port) as link, opened(link, measured=measured) as source:
        assert await source.take(10, MAX_BYTES) == []  # its connection is open now
        ids = await add(client, *"abc")
        await lose(link, source)
        await client.xdel(KEY, ids[1])
        assert [entry.id for entry in await source.take(10, MAX_BYTES)] == [ids[0], ids[2]]
        assert measured.entries_lost._value.get() == 1
        assert [row[0] for row in await recorded(client)] == [ids[0], ids[2]]


@pytest.mark.parametrize("wrong_type", [True, False])
async def test_redis_loses_what_was_read(
    client: redis.asyncio.Redis, link: CuttingLink, source: StreamSource, *, wrong_type: bool
) -> None:
    """After FLUSHALL there is nothing to adopt, also if another type takes the stream's place. New entries are read."""
    await add(client, "old")
    await lose(link, source)
    await client.flushall()
    if wrong_type:
        await client.set(KEY, "no stream")
        with pytest.raises(Exception, match="WRONGTYPE"):
            await source.take(10, MAX_BYTES)
        await client.delete(KEY)
    ids = await add(client, "new")
    (entry,) = await take(source)
    assert [entry.id] == ids
